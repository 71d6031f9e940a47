"""How good a model is: the measures of emulator.md section 7 that one step can show."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pyemu import baselines, metrics, modelfile
from pyemu.exchange import to_chain
from pyemu.feed import whole
from pyemu.lessons import SCORED
from pyemu.records import KINDS, WATERS, Cells, open_records
from pyemu.variables import DIAGNOSTICS, ENVIRONMENT, PROGNOSTICS, SPECIES, index, names

Array = NDArray[np.float64]
Predict = Callable[[Cells], Array]
"""Cells -> 26 prognostics and 4 waters after the step (n, 30)."""

_CHUNK = 16384
_NOTABLE = 0.01
"""Share of a variable's scale above which a tendency of the wrong sign counts [1]."""


@dataclass(frozen=True, kw_only=True)
class Scores:
    """What was measured; R2 of tendencies in physical units and, sign-aware, of their asinh."""

    cells: int
    r2: Mapping[str, float]
    asinh_r2: Mapping[str, float]
    regimes: Mapping[str, float]
    """Mean R2 by regime"""
    closure: Mapping[str, float]
    """Largest relative error by species"""
    water_itself_r2: float
    """Mean R2 with water itself instead of its change, as Harder et al. count"""
    negatives: int
    """Below 0 after the step, neither before it nor in the records: far off its fit's range M7's
    own water is negative"""
    wrong_signs: float
    """Share of the tendencies above 1 % of their variable's scale [1]"""
    flags: tuple[int, ...] = ()
    """Cells by flag, 0 to 3"""

    @property
    def mean(self) -> float:
        """Mean R2."""
        return metrics.mean(self.r2)

    @property
    def asinh(self) -> float:
        """Mean asinh R2."""
        return metrics.mean(self.asinh_r2)

    @property
    def worst(self) -> tuple[str, float]:
        """Name and R2 of the worst variable."""
        return metrics.worst(self.r2)

    def facts(self) -> dict[str, Any]:
        """All of it as JSON takes it: no NaN, which says that a variable does not vary."""
        name, score = self.worst
        return _plain(
            {
                "cells": self.cells,
                "mean_r2": self.mean,
                "worst_r2": score,
                "worst_variable": name,
                "mean_r2_water_itself": self.water_itself_r2,
                "mean_asinh_r2": self.asinh,
                "closure": self.closure,
                "negatives": self.negatives,
                "wrong_signs": self.wrong_signs,
                "flags": list(self.flags),
                "r2": self.r2,
                "asinh_r2": self.asinh_r2,
                "regimes": self.regimes,
            }
        )


def score(cells: Cells, after: Array, flags: NDArray[np.int64] | None = None) -> Scores:
    """Judge a state after the step (n, 30) against the records.

    Raises
    ------
    ValueError
        Records without water after the step.
    """
    truth, before = late(cells), early(cells)
    old, true, new = named(before), named(truth), named(after)
    r2 = metrics.tendency_r2(old, true, new, SCORED)
    asinh_r2 = metrics.tendency_asinh_r2(old, true, new, SCORED)
    regimes = {}
    for place in np.unique(cells.regime) if cells.regime is not None else ():
        some = cells.regime == place
        old, true, new = (named(matrix[some]) for matrix in (before, truth, after))
        regimes[KINDS[place]] = metrics.mean(metrics.tendency_r2(old, true, new, SCORED))
    return Scores(
        cells=len(cells),
        r2=r2,
        asinh_r2=asinh_r2,
        regimes=regimes,
        closure=_closure(cells, named(after)),
        water_itself_r2=metrics.mean(r2 | {n: metrics.r2(true[n], new[n]) for n in WATERS}),
        negatives=int(((after < np.minimum(before, 0.0)) & (truth >= 0.0)).sum()),
        wrong_signs=_wrong_signs(truth - before, after - before),
        flags=() if flags is None else tuple(np.bincount(flags, minlength=4).tolist()),
    )


def torch_engine(model: modelfile.Model) -> Callable[[Cells], tuple[Array, NDArray[np.int64]]]:
    """Run the chain in torch, float64: state after the step, and flags (n,)."""
    chain = to_chain(model)
    places = [index(name, DIAGNOSTICS) for name in WATERS]

    @torch.no_grad()
    def step(cells: Cells) -> tuple[Array, NDArray[np.int64]]:
        parts, flags = [], []
        for first in range(0, len(cells), _CHUNK):
            some = slice(first, first + _CHUNK)
            given = (cells.environment[some], cells.before[some], cells.timestep[some])
            out = chain(*(torch.from_numpy(np.ascontiguousarray(x)) for x in given))
            parts.append(torch.cat([out.prognostic, out.diagnostic[:, places]], dim=1).numpy())
            flags.append(out.flag.numpy())
        return np.concatenate(parts), np.concatenate(flags).astype(np.int64)

    return step


def native_engine(path: Path) -> Callable[[Cells], tuple[Array, NDArray[np.int64]]]:
    """Run the native engine, `pyemu.emulator`: state after the step, and flags (n,)."""
    from pyemu.emulator import load

    emulator = load(path)

    def step(cells: Cells) -> tuple[Array, NDArray[np.int64]]:
        after = np.empty((len(cells), len(SCORED)))
        flags = np.empty(len(cells), dtype=np.int64)
        for timestep in np.unique(cells.timestep):
            some = np.flatnonzero(cells.timestep == timestep)
            state = dict(zip(names(ENVIRONMENT), cells.environment[some].T, strict=True))
            state |= dict(zip(names(PROGNOSTICS), cells.before[some].T, strict=True))
            stepped = emulator.step(state, float(timestep))
            after[some] = np.stack([stepped[name] for name in SCORED], axis=1)
            flags[some] = stepped["flag"]
        return after, flags

    return step


def some_cells(paths: Sequence[Path], chosen: str | None, count: int | None) -> Cells:
    """Load records through the map `chosen`, at most `count` cells evenly spread."""
    share = whole(open_records(paths, chosen))
    return share.spread(count or len(share))


def harder_scores(
    paths: Sequence[Path], given: Cells, test: Cells, epochs: int, watch: baselines.Watch
) -> dict[str, Scores]:
    """Score both of Harder et al.'s networks on `test`, trained on `given` from `paths`."""
    hashes = [modelfile.digest(path) for path in paths]
    found = {}
    for kind in baselines.KINDS:
        config = baselines.HarderConfig(kind=kind, epochs=epochs)
        trained = baselines.harder(config, given, hashes, paths[0].absolute().parent, watch)
        found[f"Harder {kind}"] = score(test, baselines.predict(trained, test))
    return found


def early(cells: Cells) -> Array:
    """State before the step, water counting from 0 where the records have none (n, 30)."""
    if cells.water_after is None:
        raise ValueError("the records have no water after the step, which is judged, too")
    water = np.zeros_like(cells.water_after) if cells.water is None else cells.water
    return np.concatenate([cells.before, water], axis=1)


def late(cells: Cells) -> Array:
    """State after the step (n, 30)."""
    if cells.water_after is None:
        raise ValueError("the records have no water after the step, which is judged, too")
    return np.concatenate([cells.after, cells.water_after], axis=1)


def named(matrix: Array) -> dict[str, Array]:
    """Columns by name."""
    return dict(zip(SCORED, matrix.T, strict=True))


def _closure(cells: Cells, after: Mapping[str, Array]) -> dict[str, float]:
    """Largest relative error of each species' budget."""
    worst = dict.fromkeys(names(SPECIES), 0.0)
    before = dict(zip(names(PROGNOSTICS), cells.before.T, strict=True))
    before["h2so4_production"] = cells.environment[:, index("h2so4_production", ENVIRONMENT)]
    for timestep in np.unique(cells.timestep):
        some = cells.timestep == timestep
        errors = metrics.closure(
            {name: column[some] for name, column in before.items()},
            {name: after[name][some] for name in names(PROGNOSTICS)},
            float(timestep),
        )
        worst = {s: max(worst[s], float(error.max())) for s, error in errors.items()}
    return worst


def _wrong_signs(truth: Array, change: Array) -> float:
    """Share of the notable true tendencies whose sign the other has not."""
    notable = np.abs(truth) > _NOTABLE * truth.std(axis=0)
    wrong = notable & (np.sign(truth) != np.sign(change))
    return float(wrong.sum() / max(int(notable.sum()), 1))


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Put None where a number is not finite, which JSON does not know."""
    return {
        name: _plain(value)
        if isinstance(value, Mapping)
        else None
        if isinstance(value, float) and not math.isfinite(value)
        else value
        for name, value in values.items()
    }
