"""Contenders that take turns under a clock, M7 and the native engine among them.

What is timed of these two are calls that compiled code makes: a loop in Fortran for M7
(`m7_python.benchmark`), one in C for the engine (`bridge/clock`). No call of Python counts.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pyemu import states
from pyemu._bridge.clock import ffi, lib
from pyemu._m7 import m7_python
from pyemu.emulator import path_of
from pyemu.reference import Config
from pyemu.state import Matrix, pack

Watch = Callable[[Sequence[Any]], Iterable[Any]]
Precision = Literal["double", "single"]
TIMESTEP = 1800.0


@dataclass(frozen=True, kw_only=True)
class Contender:
    """What takes turns with others: `seconds` times `cells` cells in calls of `block`.

    It does so several `times`, as a turn of few cells would be too short. `how` tells what it runs
    on, such as a set of instructions; `turns` bounds the rounds that it takes part in, for slow
    ones. `elsewhere` says that another process does the work.
    """

    name: str
    block: int
    cells: int
    seconds: Callable[[], float]
    times: int = 1
    how: str = ""
    threads: int = 1
    turns: int = 1_000_000
    elsewhere: bool = False


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Time of a contender [us per cell]: median, quartiles and best of its rounds.

    `disturbed` is the share of them in which the system gave the core to others.
    """

    name: str
    how: str
    threads: int
    block: int
    cells: int
    median: float
    lower: float
    upper: float
    best: float
    disturbed: float


def race(
    contenders: Sequence[Contender], rounds: int, watch: Watch = iter, warm: int = 1, seed: int = 1
) -> list[Cost]:
    """Let all take turns, in another order each round; the first `warm` rounds do not count.

    A turn begins with a run that is not timed but of slow contenders: in a host, too, one call
    follows another, and what it runs is in the caches.
    A turn in which the core was given to others, as the process' own time tells, is tried again.
    """
    taken: list[list[float]] = [[] for _ in contenders]
    disturbed = [0] * len(contenders)
    generator = np.random.default_rng(seed)
    for number in watch(range(warm + rounds)):
        for place in generator.permutation(len(contenders)):
            one = contenders[place]
            if number < warm:
                one.seconds()
            elif number < warm + one.turns:
                if one.turns >= rounds:
                    one.seconds()
                seconds, lost = _turn(one)
                taken[place].append(seconds / (one.cells * one.times) * 1e6)
                disturbed[place] += lost
    each = zip(contenders, taken, disturbed, strict=True)
    return [_cost(one, times, lost / len(times)) for one, times, lost in each]


_TRIES, _LOST, _LOST_BY_THREADS = 3, 0.01, 0.05
"""Turns are repeated so often if more than this share of their time was not ours, or that of
several threads, which never end at once."""


def _turn(one: Contender) -> tuple[float, bool]:
    """Time one turn [s]; also whether the least disturbed of its tries was disturbed."""
    tries: list[tuple[float, float]] = []
    while len(tries) < _TRIES:
        wall, own = time.perf_counter(), time.process_time()
        seconds = one.seconds()
        wall, own = time.perf_counter() - wall, time.process_time() - own
        tries.append((1.0 - own / (wall + seconds * (one.threads - 1)), seconds))
        allowed = _LOST if one.threads == 1 else _LOST_BY_THREADS
        if tries[-1][0] < allowed or one.elsewhere:
            return seconds, False
    return min(tries)[1], True


def _cost(one: Contender, times: Sequence[float], disturbed: float) -> Cost:
    lower, median, upper = (float(q) for q in np.quantile(times, (0.25, 0.5, 0.75)))
    return Cost(
        name=one.name,
        how=one.how,
        threads=one.threads,
        block=one.block,
        cells=one.cells,
        median=median,
        lower=lower,
        upper=upper,
        best=min(times),
        disturbed=disturbed,
    )


def sets() -> list[str]:
    """Name the sets of instructions that the engine has for this processor, best first."""
    found: list[str] = []
    while (name := lib.clock_set(len(found))) != ffi.NULL:
        found.append(ffi.string(name).decode())
    return found


def lanes(set_name: str) -> int:
    """Cells that a vector of a set holds in single precision."""
    return int(lib.clock_lanes(sets().index(set_name)))


def compiler() -> str:
    """Name what compiled the engine."""
    return str(ffi.string(lib.clock_compiler()).decode())


@cache
def _sample(count: int, seed: int) -> tuple[Matrix, Matrix]:
    return pack(states.sample(count, seed, "all_modes"))


class Cells:
    """Cells as a host holds them for calls of `block` columns, and room to step them in.

    `pyemu.states.sample(count, seed, "all_modes")`: all modes populated, a third of it cloudy.
    """

    def __init__(
        self, count: int, block: int, precision: Precision = "double", seed: int = 1
    ) -> None:
        if count % block:
            raise ValueError(f"{count} cells are not whole calls of {block}")
        self.count, self.block = count, block
        self.type = "float" if precision == "single" else "double"
        self.matrices = _sample(count, seed)
        self.environment, self.start = (self._blocks(m) for m in self.matrices)
        self.prognostic = np.empty_like(self.start)

    def _blocks(self, matrix: Matrix) -> NDArray[Any]:
        parts = matrix.reshape(-1, self.block, matrix.shape[1]).transpose(0, 2, 1)
        return np.ascontiguousarray(parts, dtype="f4" if self.type == "float" else "f8")

    def pointer(self, array: NDArray[Any]) -> Any:
        """Give the address of an array to C."""
        return ffi.cast(f"{self.type} *", array.ctypes.data)

    def given(self) -> tuple[Any, ...]:
        """Reset the state; what C takes of it."""
        np.copyto(self.prognostic, self.start)
        arrays = self.pointer(self.environment), self.pointer(self.prognostic)
        return *arrays, self.block, self.count // self.block, TIMESTEP


def native(
    model: str | Path, cells: Cells, set_name: str | None = None, threads: int = 1, **given: Any
) -> Contender:
    """Let the native engine step a model, a name or a file, with a set of instructions [best]."""
    set_name = set_name or sets()[0]
    opened = lib.clock_open(str(path_of(model)).encode(), sets().index(set_name))
    if opened == ffi.NULL:
        raise ValueError(f"{model}: the native engine does not open it")
    handle = ffi.gc(opened, lib.clock_close)
    step = lib.clock_step_float if cells.type == "float" else lib.clock_step

    def seconds() -> float:
        taken = float(step(handle, *cells.given(), threads))
        if taken < 0.0:
            raise ValueError(f"{model}: the native engine refuses the benchmark")
        return taken

    return _contender(cells, str(model), seconds, set_name, threads, **given)


def reference(
    config: Config, name: str, cells: Cells, threads: int = 1, substeps: int = 1, **given: Any
) -> Contender:
    """Let M7 in Fortran step."""
    built, taken = config.build(substeps=substeps), np.zeros(1)

    def seconds() -> float:
        status = m7_python.benchmark(
            built, cells.count, cells.block, TIMESTEP, threads, *cells.matrices, taken
        )
        if status:
            raise ValueError(f"M7 refuses the benchmark (status {status})")
        return float(taken[0])

    return _contender(cells, name, seconds, "Fortran", threads, **given)


_LEAST = 8192
"""Cells of a turn: fewer are stepped several times, each time from the start."""


def _contender(
    cells: Cells, name: str, seconds: Callable[[], float], how: str, threads: int, **given: Any
) -> Contender:
    times = -(-_LEAST // cells.count)
    return Contender(
        name=Path(name).stem,
        how=how if cells.type == "double" else f"{how}, single",
        block=cells.block,
        cells=cells.count,
        times=times,
        seconds=lambda: sum(seconds() for _ in range(times)),
        threads=threads,
        **given,
    )
