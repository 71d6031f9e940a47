"""Making records: boxes and space-filling states through the reference, resumable.

Each part depends on the plan and its own number alone, and is renamed into place when it is whole;
the file is put together from all parts. A run that was killed goes on where it was, and the file
is the same, bit for bit; hence no date in its history.
"""

import json
import math
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from pyemu import reference, states
from pyemu.files import check_target, replaced, write_json
from pyemu.records import KINDS, WATERS, write_records
from pyemu.scenarios import SCENARIOS
from pyemu.trajectories import trajectories
from pyemu.variables import DIAGNOSTICS, ENVIRONMENT, PROGNOSTICS, SPLIT, names, unknown

Array = NDArray[np.float64]
Part = Literal["train", "validation", "test"]
Watch = Callable[[Sequence[Any]], Iterable[Any]]

BOXES = "boxes"
MOMENTS = 32
"""States taken of each box."""
_BOXES_MAX = 16
"""Boxes of a kind in a part of the file."""
_DRIVE = 8
"""Sub-steps that move boxes along where the teacher is the converged M7."""
_TIMESTEPS = (60.0, 3600.0)


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What to sample.

    Parameters
    ----------
    count
        Cells.
    seed, part
        Seeds of the three parts, and of different numbers, have nothing in common.
    kinds
        Shares of the cells: "boxes" (all of `pyemu.scenarios`), or names of `records.KINDS`, one
        named twice counts twice. Those with a scenario are boxes, others single states.
    timesteps
        [s], taken in turn; `between` draws from the smallest to the largest, log-uniform.
    config, substeps
        The teacher: switches, and sub-steps or "converged".
    labels
        Keep what each process moved.
    """

    count: int
    seed: int = 1
    part: Part = "train"
    kinds: tuple[str, ...] = (BOXES, "space_filling")
    timesteps: tuple[float, ...] = (900.0,)
    between: bool = False
    config: reference.Config = field(default_factory=reference.Config)
    substeps: int | Literal["converged"] = 1
    labels: bool = False

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError(f"count = {self.count}; allowed is [1, inf)")
        if self.seed < 0:
            raise ValueError(f"seed = {self.seed}; allowed is [0, inf)")
        if self.part not in get_args(Part):
            raise ValueError(unknown(self.part, get_args(Part)))
        for kind in self.kinds:
            if kind not in (*KINDS, BOXES):
                raise ValueError(unknown(kind, (*KINDS, BOXES)))
        low, high = _TIMESTEPS
        for timestep in self.timesteps:
            if not low <= timestep <= high:
                raise ValueError(f"timestep = {timestep:g}; allowed is [{low:g}, {high:g}] s")
        if not (self.kinds and self.timesteps):
            raise ValueError("at least one kind and one timestep are needed")

    @property
    def boxes(self) -> int:
        """Boxes of a kind in a part of the file."""
        return min(_BOXES_MAX, math.ceil(self.count / (len(self.shares) * MOMENTS)))

    @property
    def shares(self) -> tuple[str, ...]:
        """Kinds with "boxes" spelt out, boxes first."""
        told = [n for k in self.kinds for n in (SCENARIOS if k == BOXES else (k,))]
        return tuple(sorted(told, key=lambda name: name not in SCENARIOS))

    @property
    def parts(self) -> int:
        """Parts of the file."""
        return math.ceil(self.count / (len(self.shares) * self.boxes * MOMENTS))

    @property
    def columns(self) -> tuple[str, ...]:
        """Variables of the records."""
        late = [f"{name}_after" for name in names(PROGNOSTICS + DIAGNOSTICS)]
        labels = names(SPLIT) if self.labels else ()
        inputs = names(ENVIRONMENT + PROGNOSTICS)
        return ("timestep", "trajectory", "regime", *inputs, *WATERS, *late, *labels)


def sample(plan: Sample, path: Path, *, threads: int = 0, watch: Watch = iter) -> dict[str, object]:
    """Write records to `path`, going on from what a killed run of the same plan left beside it.

    Returns what was made, as JSON takes it.

    Raises
    ------
    ValueError
        The path cannot be written to, or beside it lie parts of another plan.
    """
    check_target(path)
    folder = path.absolute().parent / f".{path.name}.parts"
    told = json.loads(json.dumps(asdict(plan), default=str))
    index = folder / "index.json"
    folder.mkdir(exist_ok=True)
    if index.exists() and json.loads(index.read_text()) != told:
        raise ValueError(f"{folder} holds parts of another run; repeat its options or delete it")
    if not index.exists():
        write_json(index, told)
    for number in watch(range(plan.parts)):
        if not _place(folder, number).exists():
            with replaced(_place(folder, number)) as temporary:
                np.save(temporary, part(plan, number, threads))
    whole = folder / path.name
    parts = [np.load(_place(folder, n), mmap_mode="r") for n in range(plan.parts)]
    column = _Column(plan, parts)
    write_records(whole, plan.count, column.kept, column, _attributes(plan))
    whole.replace(path)
    shutil.rmtree(folder)
    return {
        "records": str(path),
        **told,
    }


def part(plan: Sample, number: int, threads: int = 1) -> Array:
    """Make one part of the records: (cells, columns) in random order, column by column."""
    seeds = np.random.SeedSequence([plan.seed, get_args(Part).index(plan.part), number])
    generator = np.random.default_rng(seeds)
    timestep = _timestep(plan, number, generator)
    regimes = [name for name in plan.shares if name in SCENARIOS]
    drive = plan.substeps if isinstance(plan.substeps, int) else _DRIVE
    drawn: list[dict[str, Array]] = []
    if regimes:
        drawn.append(
            trajectories(
                regimes, plan.boxes, MOMENTS, timestep, generator, plan.config, drive, threads
            )
        )
    ride = len(regimes) * plan.boxes
    trajectory = np.tile(np.arange(ride), MOMENTS if ride else 0)
    regime = np.tile(np.repeat([KINDS.index(n) for n in regimes], plan.boxes), MOMENTS)
    for kind in plan.shares[len(regimes) :]:
        cells = plan.boxes * MOMENTS
        drawn.append(states.sample(cells, int(generator.integers(2**31)), kind))
        trajectory = np.append(trajectory, ride + np.arange(cells))
        regime = np.append(regime, np.full(cells, KINDS.index(kind)))
        ride += cells
    before = {name: np.concatenate([state[name] for state in drawn]) for name in drawn[0]}
    still = replace(
        plan.config,
        condensation=False,
        coagulation=False,
        nucleation="none",
        organic_nucleation="none",
    )
    quiet = before | {"h2so4_production": np.zeros(len(regime))}
    water = reference.step(quiet, timestep, config=still, threads=threads)
    after = reference.step(
        before,
        timestep,
        config=plan.config,
        substeps=plan.substeps,
        split=plan.labels,
        threads=threads,
    )
    values: dict[str, Any] = {**before, "trajectory": (number << 24) + trajectory, "regime": regime}
    values |= {name: water[name] for name in WATERS}
    values |= {f"{name}_after": after[name] for name in names(PROGNOSTICS + DIAGNOSTICS)}
    values |= {name: after[name] for name in names(SPLIT) if plan.labels}
    values["timestep"] = np.full(len(regime), timestep)
    order = generator.permutation(len(regime))
    matrix = np.empty((len(regime), len(plan.columns)), order="F")
    for place, name in enumerate(plan.columns):
        matrix[:, place] = values[name][order]
    return matrix


class _Column:
    """Values of a variable over all parts."""

    def __init__(self, plan: Sample, parts: Sequence[Array]) -> None:
        self._places = {name: place for place, name in enumerate(plan.columns)}
        self._parts, self._count = parts, plan.count
        one = not plan.between and len(plan.timesteps) == 1
        self.kept = [name for name in plan.columns if not (one and name == "timestep")]

    def __call__(self, name: str) -> Array:
        place = self._places[name]
        return np.concatenate([part[:, place] for part in self._parts])[: self._count]


def _place(folder: Path, number: int) -> Path:
    return folder / f"part_{number:06d}.npy"


def _timestep(plan: Sample, number: int, generator: np.random.Generator) -> float:
    if not plan.between:
        return plan.timesteps[number % len(plan.timesteps)]
    low, high = min(plan.timesteps), max(plan.timesteps)
    return float(low * (high / low) ** generator.random())


def parts_of_step(text: str) -> int | Literal["converged"]:
    """Read the option `substeps`."""
    if text == "converged":
        return "converged"
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"substeps = {text}; allowed is a number from 1, or converged")
    return int(text)


def _attributes(plan: Sample) -> dict[str, str | float]:
    one = not plan.between and len(plan.timesteps) == 1
    return {
        "title": f"M7 before and after a step, {plan.part}",
        "source": "pyemu sample, M7 reference",
        "history": f"pyemu {version('m7emu')}, seed {plan.seed}, kinds {' '.join(plan.kinds)}",
        "profile": plan.config.profile,
        "water": plan.config.water,
        "nucleation": plan.config.nucleation,
        "organic_nucleation": plan.config.organic_nucleation,
        "substeps": str(plan.substeps),
        **({"timestep": plan.timesteps[0]} if one else {}),
    }
