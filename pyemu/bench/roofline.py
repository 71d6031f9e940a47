"""Each part of the native engine's step against its own floor.

Time is measured by clocks between the parts, operations are counted by lanes that count
(`bridge/clock`). The floor of a part is the longest of what its operations take at the best rates
that this core was measured to have, each kind in a unit of its own: multiplications or additions,
whichever are more, as they fuse to multiply-adds; divisions and square roots; bytes of the state.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pyemu._bridge.clock import ffi, lib
from pyemu.bench.clock import Cells, Contender, Watch, native, race, sets
from pyemu.emulator import path_of
from pyemu.state import Matrix

OPERATIONS = ("multiply", "add", "divide", "root", "other")
PRECISIONS = ("single", "double")
_RATES = ("multiply-adds", "divisions", "square roots")
_BYTES = {"reading": 34 * 8, "writing": 0}
"""Of the state, that a part moves in; others change it where it lies, and outputs stay in cache."""


@dataclass(frozen=True, kw_only=True)
class Rates:
    """What one core can do per second with a set of instructions, measured.

    `rate` by kind and precision, such as "divisions, double"; `bandwidth` of the memory that the
    state lies in [bytes s-1].
    """

    name: str
    rate: dict[str, float]
    bandwidth: float


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part of a model's step [ns per cell]; operations per cell by kind and precision."""

    model: str
    name: str
    cost: float
    operations: dict[str, float]
    multiply_adds: float
    divisions: float
    memory: float

    @property
    def floor(self) -> float:
        """What it must take at least [ns per cell]."""
        return max(self.multiply_adds, self.divisions, self.memory)


def names() -> list[str]:
    """Names of the parts, in the order of a step."""
    found: list[str] = []
    while (name := lib.clock_part(len(found))) != ffi.NULL:
        found.append(ffi.string(name).decode())
    return found


def rates(set_name: str, count: int = 8192, repeats: int = 25) -> Rates:
    """Measure what a core can do, at best; bandwidth on memory of so many cells' states."""
    place = sets().index(set_name)
    found = {
        f"{kind}, {precision}": float(lib.clock_rate(place, 2 * i + j))
        for i, kind in enumerate(_RATES)
        for j, precision in enumerate(PRECISIONS)
    }
    memory = np.ones(count * 34 * 2, np.float32)
    pointer = ffi.cast("float *", memory.ctypes.data)
    best = max(lib.clock_bandwidth(place, pointer, len(memory)) for _ in range(repeats))
    return Rates(name=set_name, rate=found, bandwidth=float(best))


def parts(
    models: Sequence[str],
    given: Rates,
    rounds: int = 21,
    count: int = 8192,
    block: int = 64,
    watch: Watch = iter,
) -> list[Part]:
    """Time and count the parts of models' steps; times add up to the step without clocks."""
    cells = Cells(count, block)
    contenders, shares = [], {}
    for model in models:
        shares[model] = _Shares(model, given.name, cells)
        contenders += [native(model, cells, given.name), shares[model].contender()]
    costs = race(contenders, rounds, watch)
    found = []
    for model, whole in zip(models, costs[::2], strict=True):
        share = shares[model].median()
        counts = _count(model, cells)
        for name, part, count_of in zip(names(), share, counts, strict=True):
            if part > 0.0 and (count_of.sum() > 0.0 or name in _BYTES):
                found.append(_part(model, name, 1e3 * whole.median * part, count_of, given))
    return found


class _Shares:
    """Shares of the parts in the time of a step, round by round."""

    def __init__(self, model: str, set_name: str, cells: Cells) -> None:
        self.path = str(path_of(model)).encode()
        self.model, self.cells = model, cells
        self.place = sets().index(set_name)
        self.rounds: list[Matrix] = []

    def contender(self) -> Contender:
        return Contender(
            name=self.model,
            how="clocks inside",
            block=self.cells.block,
            cells=self.cells.count,
            seconds=self.seconds,
        )

    def seconds(self) -> float:
        taken = np.zeros(len(names()))
        pointer = ffi.cast("double *", taken.ctypes.data)
        if not lib.clock_parts(self.path, self.place, *self.cells.given(), pointer):
            raise ValueError(f"{self.model}: the native engine does not open it")
        self.rounds.append(taken / taken.sum())
        return float(taken.sum())

    def median(self) -> Matrix:
        middle = np.median(self.rounds, axis=0)
        return np.asarray(middle / middle.sum())


def _count(model: str, cells: Cells) -> Matrix:
    """Operations per cell (parts, precisions, operations)."""
    counted = np.zeros((len(names()), len(PRECISIONS), len(OPERATIONS)))
    pointer = ffi.cast("double *", counted.ctypes.data)
    if not lib.clock_count(str(path_of(model)).encode(), *cells.given(), pointer):
        raise ValueError(f"{model}: the native engine does not open it")
    return counted


def _part(model: str, name: str, cost: float, counts: Matrix, given: Rates) -> Part:
    """Put a part beside its floors; `counts` (precisions, operations)."""
    fused = divided = 0.0
    for precision, (multiply, add, divide, root, _) in zip(PRECISIONS, counts, strict=True):
        fused += max(multiply, add) / given.rate[f"multiply-adds, {precision}"]
        divided += divide / given.rate[f"divisions, {precision}"]
        divided += root / given.rate[f"square roots, {precision}"]
    return Part(
        model=model,
        name=name,
        cost=cost,
        operations={
            f"{operation}, {precision}": float(counts[i, j])
            for i, precision in enumerate(PRECISIONS)
            for j, operation in enumerate(OPERATIONS)
        },
        multiply_adds=1e9 * fused,
        divisions=1e9 * divided,
        memory=1e9 * _BYTES.get(name, 0) / given.bandwidth,
    )
