"""What can make a step of M7, behind one call: the reference, the native engine, torch, nothing.

All of it is judged by `pyemu.evaluate` and `pyemu.rollout` alike.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from pyemu import modelfile, reference
from pyemu.emulator import Engine, load
from pyemu.exchange import to_chain
from pyemu.lessons import SCORED
from pyemu.records import Cells
from pyemu.state import pack, unpack
from pyemu.variables import DIAGNOSTICS, ENVIRONMENT, PROGNOSTICS, names

Array = NDArray[np.float64]
State = Mapping[str, Array]
Step = Callable[[State, float], Mapping[str, NDArray[Any]]]
"""As `pyemu.reference.step`: state and timestep [s] -> prognostics and diagnostics after the step,
with `flag` (ncell,) and `uncertainty` [1] (ncell,) where the step gives them."""
Parts = int | Literal["converged"]

_CHUNK = 16384


@dataclass(frozen=True, kw_only=True)
class Stepped:
    """Cells after a step: 26 prognostics and 4 waters (n, 30), flags (n,).

    `uncertainty` [1] (n,) is the expected error in standard deviations of the tendencies, None
    where the step gives none.
    """

    after: Array
    flags: NDArray[np.int64] | None = None
    uncertainty: Array | None = None


Predict = Callable[[Cells], Stepped]


def teacher(config: reference.Config, substeps: Parts = 1, threads: int = 1) -> Step:
    """M7 itself, in `substeps` parts."""
    return lambda state, timestep: reference.step(
        state, timestep, config=config, substeps=substeps, threads=threads
    )


def native(
    path: str | Path, threads: int = 1, device: str = "cpu", engine: Engine = "native"
) -> Step:
    """Run a model in the native engine, `pyemu.emulator.load`."""
    emulator = load(path, device, engine)
    return lambda state, timestep: emulator.step(state, timestep, threads=threads)


def in_torch(model: modelfile.Model) -> Step:
    """Run a model as the chain in torch, float64."""
    chain = to_chain(model)

    @torch.no_grad()
    def step(state: State, timestep: float) -> Mapping[str, NDArray[Any]]:
        environment, prognostic = (torch.from_numpy(matrix) for matrix in pack(state))
        pieces = [
            chain(air, before, torch.full(before.shape[:1], timestep, dtype=torch.float64))
            for air, before in zip(environment.split(_CHUNK), prognostic.split(_CHUNK), strict=True)
        ]
        after, diagnostic, flag, bound = (
            torch.cat([getattr(piece, name) for piece in pieces]).numpy()
            for name in ("prognostic", "diagnostic", "flag", "uncertainty")
        )
        named = {**unpack(after, PROGNOSTICS), **unpack(diagnostic, DIAGNOSTICS)}
        return {**named, "flag": flag, "uncertainty": bound}

    return step


def on_cells(step: Step) -> Predict:
    """Apply a step to records, one call for each of their timesteps."""

    def predict(cells: Cells) -> Stepped:
        after = np.empty((len(cells), len(SCORED)))
        flags = np.zeros(len(cells), dtype=np.int64)
        expected = np.zeros(len(cells))
        flagged = False
        for timestep in np.unique(cells.timestep):
            some = np.flatnonzero(cells.timestep == timestep)
            stepped = step(state_of(cells, some), float(timestep))
            after[some] = np.stack([stepped[name] for name in SCORED], axis=1)
            flagged = "flag" in stepped
            flags[some] = stepped.get("flag", 0)
            expected[some] = stepped.get("uncertainty", 0.0)
        return Stepped(
            after=after,
            flags=flags if flagged else None,
            uncertainty=expected if expected.any() else None,
        )

    return predict


def state_of(cells: Cells, some: Any = slice(None)) -> dict[str, Array]:
    """State before the step of some cells, by name."""
    state = dict(zip(names(ENVIRONMENT), cells.environment[some].T, strict=True))
    return state | dict(zip(names(PROGNOSTICS), cells.before[some].T, strict=True))
