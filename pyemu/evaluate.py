"""How good a model is: the measures of emulator.md section 7 that one step can show."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyemu import harder, metrics, modelfile, reference, steps
from pyemu.feed import whole
from pyemu.files import finite
from pyemu.lessons import SCORED
from pyemu.reading import SWITCHES
from pyemu.records import KINDS, Cells, load, open_records
from pyemu.sampling import Sample, parts_of_step, sample
from pyemu.uncertainty import Calibration, calibration
from pyemu.variables import ENVIRONMENT, PROGNOSTICS, SPECIES, index, names

Array = NDArray[np.float64]

LEVELS = {
    "boundary_layer": 850e2,
    "lower_troposphere": 700e2,
    "middle_troposphere": 400e2,
    "upper_troposphere": 150e2,
    "stratosphere": 0.0,
}
"""Pressure [Pa] at the top of the layers that stand for model levels."""
_TIMESTEPS = 6
"""So many different timesteps are judged each for itself; more of them, in bands."""
_BANDS = (0.0, 300.0, 900.0, 1800.0, math.inf)
_CHOICES = tuple(name for name in SWITCHES if name != "substeps")
MANY = 240
"""Sub-steps that stand for the converged teacher."""
_NOTABLE = 0.01
"""Share of a variable's scale above which a tendency of the wrong sign counts [1]."""
_WITHIN, _CLOSE = 1.05, 1e-4
_CONVERGED = 30
"""So many sub-steps and more count as the converged teacher; see benchmarks/convergence.md."""


@dataclass(frozen=True, kw_only=True)
class Group:
    """R2 over some of the cells: mean, worst, and mean asinh."""

    cells: int
    mean_r2: float
    worst_r2: float
    worst_variable: str
    mean_asinh_r2: float


@dataclass(frozen=True, kw_only=True)
class Scores:
    """What was measured; R2 of tendencies in physical units and, sign-aware, of their asinh."""

    cells: int
    r2: Mapping[str, float]
    asinh_r2: Mapping[str, float]
    groups: Mapping[str, Mapping[str, Group]]
    """By `regimes`, `levels`, `timesteps`, `conditions`, where the cells differ in them"""
    closure: Mapping[str, float]
    """Largest relative error by species"""
    harder: harder.Measures
    negatives: int
    """Below 0 after the step, neither before it nor in the records: far off its fit's range M7's
    own water is negative"""
    wrong_signs: float
    """Share of the tendencies above 1 % of their variable's scale [1]"""
    flags: tuple[int, ...] = ()
    """Cells by flag, 0 to 3"""
    calibration: Calibration | None = None
    """Where the model gives an uncertainty"""
    consistency: Mapping[str, float] = field(default_factory=dict)
    """Two half steps against one by variable, see `consistency`"""
    own_consistency: Mapping[str, float] = field(default_factory=dict)
    """The teacher's"""

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

    @property
    def inconsistent(self) -> int | None:
        """Variables in which two half steps differ from one by more than the teacher's, and 5 %."""
        if not self.consistency:
            return None
        own = self.own_consistency
        return sum(gap > _WITHIN * own[n] + _CLOSE for n, gap in self.consistency.items())

    def facts(self) -> dict[str, Any]:
        """All of it as JSON takes it: no NaN, which says that a variable does not vary."""
        name, score = self.worst
        return dict(
            finite(
                {
                    "cells": self.cells,
                    "mean_r2": self.mean,
                    "worst_r2": score,
                    "worst_variable": name,
                    "mean_asinh_r2": self.asinh,
                    "closure": self.closure,
                    "negatives": self.negatives,
                    "wrong_signs": self.wrong_signs,
                    "flags": list(self.flags),
                    "harder": asdict(self.harder),
                    "calibration": asdict(self.calibration) if self.calibration else None,
                    "consistency": self.consistency,
                    "own_consistency": self.own_consistency,
                    "inconsistent": self.inconsistent,
                    "r2": self.r2,
                    "asinh_r2": self.asinh_r2,
                    **{
                        kind: {name: asdict(group) for name, group in some.items()}
                        for kind, some in self.groups.items()
                    },
                }
            )
        )


def score(cells: Cells, stepped: steps.Stepped, error: modelfile.SelfError | None = None) -> Scores:
    """Judge a state after the step against the records; `error` tells what uncertainties mean.

    Raises
    ------
    ValueError
        Records without water after the step.
    """
    after, flags = stepped.after, stepped.flags
    truth, before = late(cells), early(cells)
    old, true, new = named(before), named(truth), named(after)
    expected = stepped.uncertainty
    return Scores(
        cells=len(cells),
        r2=metrics.tendency_r2(old, true, new, SCORED),
        asinh_r2=metrics.tendency_asinh_r2(old, true, new, SCORED),
        groups={
            kind: {name: _group(before, truth, after, some) for name, some in masks.items()}
            for kind, masks in groups(cells).items()
        },
        closure=_closure(cells, named(after)),
        harder=harder.measures(old, true, new),
        negatives=int(((after < np.minimum(before, 0.0)) & (truth >= 0.0)).sum()),
        wrong_signs=_wrong_signs(truth - before, after - before),
        flags=() if flags is None else tuple(np.bincount(flags, minlength=4).tolist()),
        calibration=None
        if expected is None
        else calibration(truth - before, after - before, expected, _scale(error)),
    )


def _scale(error: modelfile.SelfError | None) -> Array | None:
    return None if error is None else np.array([error.scale[name] for name in SCORED])


def persistence(cells: Cells) -> steps.Stepped:
    """Predict that nothing happens."""
    return steps.Stepped(after=early(cells))


def consistency(step: steps.Step, cells: Cells) -> dict[str, float]:
    """Compare two steps of half the timestep with one.

    Returns
    -------
    dict
        By variable, the root mean square difference over the standard deviation of the recorded
        tendency [1]; 0 would be a step that knows no timestep. M7's own is far from that.
    """
    predict = steps.on_cells(step)
    one = predict(cells).after
    part = _replaced(cells, cells.before, cells.timestep / 2.0)
    middle = predict(part).after[:, : len(PROGNOSTICS)]
    two = predict(_replaced(cells, middle, cells.timestep / 2.0)).after
    scale = (late(cells) - early(cells)).std(axis=0)
    gap = np.sqrt(np.mean((two - one) ** 2, axis=0))
    return {n: float(g / s) for n, g, s in zip(SCORED, gap, scale, strict=True) if s > 0.0}


def groups(cells: Cells) -> dict[str, dict[str, NDArray[np.bool_]]]:
    """Parts of the cells that are judged for themselves, as masks (n,); empty ones are left out."""
    air = dict(zip(names(ENVIRONMENT), cells.environment.T, strict=True))
    found: dict[str, dict[str, NDArray[np.bool_]]] = {}
    if cells.regime is not None:
        found["regimes"] = {KINDS[k]: cells.regime == k for k in np.unique(cells.regime)}
    layers, below = {}, math.inf
    for name, top in LEVELS.items():
        layers[name] = (air["pressure"] >= top) & (air["pressure"] < below)
        below = top
    found["levels"] = layers
    each = np.unique(cells.timestep)
    if len(each) <= _TIMESTEPS:
        found["timesteps"] = {f"{t:g}": cells.timestep == t for t in each}
    else:
        found["timesteps"] = {
            f"{low:g} to {high:g}": (cells.timestep >= low) & (cells.timestep < high)
            for low, high in pairwise(_BANDS)
        }
    cloudy, day = air["cloud_fraction"] > 0.0, air["h2so4_production"] > 0.0
    found["conditions"] = {
        "cloudy": cloudy,
        "clear, day": day & ~cloudy,
        "clear, night": ~day & ~cloudy,
    }
    return {
        kind: {name: mask for name, mask in masks.items() if mask.any()}
        for kind, masks in found.items()
    }


def some_cells(paths: Sequence[Path], chosen: str | None, count: int | None) -> Cells:
    """Load records through the map `chosen`, at most `count` cells evenly spread."""
    share = whole(open_records(paths, chosen))
    return share.spread(count or len(share))


def teacher_of(model: modelfile.Model) -> tuple[reference.Config, steps.Parts]:
    """Tell which M7 a model stands for: its switches, and its sub-steps.

    Raises
    ------
    ValueError
        A choice that the reference does not have, or whose table is not at hand.
    """
    told: dict[str, Any] = {name: model.settings[name] for name in _CHOICES}
    told |= {
        f.name: model.settings[f.name]
        for f in fields(reference.Config)
        if isinstance(f.default, bool) and f.name in model.settings
    }
    told |= {
        name: dict(zip(names(SPECIES), model.settings[key], strict=True))
        for name, key in (("densities", "density"), ("kappas", "kappa"))
    }
    return reference.Config(**told), 1 if model.teacher == "m7" else MANY


def check_teacher(model: modelfile.Model, attributes: Mapping[str, Any]) -> None:
    """Refuse records of another M7 than the one that the model was taught by.

    Raises
    ------
    ValueError
        Another teacher (`m7`, one step; `converged`, from 30 sub-steps on), or another switch.
    """
    substeps = parts_of_step(str(attributes.get("substeps", "1")))
    if substeps == 1:
        made = "m7"
    elif substeps == "converged" or substeps >= _CONVERGED:
        made = "converged"
    else:
        made = f"M7 in {substeps} sub-steps"
    other = [] if made == model.teacher else [f"teacher {model.teacher}, not {made}"]
    for name in _CHOICES:
        if name in attributes:
            told = (model.settings[name], attributes[name])
            other += [f"{name} {told[0]}, not {told[1]}"] if told[0] != told[1] else []
    if other:
        raise ValueError(
            f"the records are of another M7 than {model.title} was taught by: {'; '.join(other)}"
            " (--any-teacher compares all the same)"
        )


def shifted(
    forcing: str,
    teacher: tuple[reference.Config, steps.Parts],
    timesteps: NDArray[np.float64],
    count: int,
    seed: int = 101,
    threads: int = 0,
) -> Cells:
    """Sample boxes of another climate (`pyemu.scenarios.FORCINGS`).

    Parameters
    ----------
    teacher
        As of `teacher_of`.
    timesteps
        [s], any number; of more than six, the range counts.
    """
    each = tuple(map(float, np.clip(np.unique(timesteps), 60.0, 3600.0)))
    several = len(each) > _TIMESTEPS
    plan = Sample(
        count=count,
        seed=seed,
        part="test",
        kinds=("boxes",),
        timesteps=(each[0], each[-1]) if several else each,
        between=several,
        config=teacher[0],
        substeps=teacher[1],
        forcing=forcing,
    )
    with TemporaryDirectory(prefix="m7emu-") as folder:
        path = Path(folder) / f"{forcing}.nc"
        sample(plan, path, threads=threads)
        return load(open_records(path))


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


def thinned(cells: Cells, count: int) -> Cells:
    """At most `count` cells, evenly spread."""
    some = slice(None, None, max(1, -(-len(cells) // count)))
    kept: dict[str, Any] = {
        name: None if values is None else values[some] for name, values in vars(cells).items()
    }
    return Cells(**kept)


def _group(before: Array, truth: Array, after: Array, some: NDArray[np.bool_]) -> Group:
    old, true, new = (named(matrix[some]) for matrix in (before, truth, after))
    r2 = metrics.tendency_r2(old, true, new, SCORED)
    name, score = metrics.worst(r2)
    return Group(
        cells=int(some.sum()),
        mean_r2=metrics.mean(r2),
        worst_r2=score,
        worst_variable=name,
        mean_asinh_r2=metrics.mean(metrics.tendency_asinh_r2(old, true, new, SCORED)),
    )


def _replaced(cells: Cells, before: Array, timestep: Array) -> Cells:
    return Cells(environment=cells.environment, before=before, after=cells.after, timestep=timestep)


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
