"""Making records: boxes and space-filling states through the reference, resumable.

Each part depends on the plan and its own number alone, and is renamed into place when it is whole;
the file is put together from all parts. A run that was killed goes on where it was, and the file
is the same, bit for bit; hence no date in its history.
"""

import json
import math
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from pyemu import hosttrajectories, reference, states
from pyemu.emulator import load
from pyemu.files import check_target, replaced, write_json
from pyemu.hosttrajectories import MONTHS, HostRun
from pyemu.modelfile import digest
from pyemu.records import HOST, KINDS, SPUN_UP, WATERS, write_records
from pyemu.scenarios import FORCINGS, PRESENT, SCENARIOS
from pyemu.trajectories import Boxes, Step, trajectories
from pyemu.variables import DIAGNOSTICS, ENVIRONMENT, PROGNOSTICS, SPLIT, names, unknown

Array = NDArray[np.float64]
Part = Literal["train", "validation", "test"]
Parts = int | Literal["converged"]
"""Equal parts of a timestep."""
States = tuple[dict[str, Array], NDArray[np.int64], NDArray[np.int64]]
"""Environment and prognostics, trajectory and regime of each cell."""
Watch = Callable[[Sequence[Any]], Iterable[Any]]

BOXES = "boxes"
MOMENTS = 32
"""States taken of each box."""
_BOXES_MAX = 16
"""Boxes of a kind in a part of the file."""
_TIMESTEPS = (60.0, 3600.0)
_DAYS = 30.0


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
        named twice counts twice. Those with a scenario are boxes, others single states; "host",
        which stands alone, is what the host passes through in the part's months.
    timesteps
        [s], taken in turn; `between` draws from the smallest to the largest, log-uniform.
    config, substeps
        The teacher: switches, and sub-steps or "converged".
    drive
        Sub-steps that move boxes and the host along, or "converged"; None: as the teacher.
    emulator
        A model file that moves them along instead, so that the teacher is asked for the step at
        the states that an emulator visits (DAgger, Ross et al. 2011). Boxes are then others than
        those of the same seed without it.
    days
        In which the states of a box are taken after its spin-up, and length of a host's run.
    forcing
        Of boxes, a name of `pyemu.scenarios.FORCINGS`; the boxes are those of the same seed.
    labels
        Keep what each process moved.
    grid
        Of the host.
    """

    count: int
    seed: int = 1
    part: Part = "train"
    kinds: tuple[str, ...] = (BOXES, "space_filling")
    timesteps: tuple[float, ...] = (900.0,)
    between: bool = False
    config: reference.Config = field(default_factory=reference.Config)
    substeps: Parts = 1
    drive: Parts | None = None
    emulator: Path | None = None
    days: float = 1.0
    forcing: str = PRESENT
    labels: bool = False
    grid: tuple[int, int, int] = (48, 24, 19)

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
        if self.forcing not in FORCINGS:
            raise ValueError(unknown(self.forcing, FORCINGS))
        if not 0.0 < self.days <= _DAYS:
            raise ValueError(f"days = {self.days}; allowed is (0, {_DAYS:g}]")
        self._check_drivers()

    def _check_drivers(self) -> None:
        """Refuse what only boxes or only the host can do, where there are none."""
        boxes = [kind for kind in self.shares if kind in SCENARIOS]
        if self.hosted and len(self.kinds) > 1:
            raise ValueError("kind host stands alone; sample other kinds into another file")
        if self.forcing != PRESENT and len(boxes) < len(self.shares):
            raise ValueError(f"forcing '{self.forcing}' is for kinds with a scenario: --kind boxes")
        if self.emulator is not None:
            if not (boxes or self.hosted):
                raise ValueError("an emulator moves boxes or the host: --kind boxes, --kind host")
            if self.drive is not None:
                raise ValueError("boxes are moved by an emulator or by `drive`, not by both")
            if not self.emulator.is_file():
                raise ValueError(f"{self.emulator}: there is no such model file")

    @property
    def hosted(self) -> bool:
        """Whether the states are the host's."""
        return HOST in self.kinds

    @property
    def boxes(self) -> int:
        """Boxes of a kind in a part of the file; few enough that each timestep has a part."""
        turns = 1 if self.between else len(self.timesteps)
        return min(_BOXES_MAX, math.ceil(self.count / (len(self.shares) * MOMENTS * turns)))

    @property
    def shares(self) -> tuple[str, ...]:
        """Kinds with "boxes" spelt out, boxes first."""
        told = [n for k in self.kinds for n in (SCENARIOS if k == BOXES else (k,))]
        return tuple(sorted(told, key=lambda name: name not in SCENARIOS))

    @property
    def parts(self) -> int:
        """Parts of the file."""
        if self.hosted:
            return min(len(MONTHS[self.part]) * len(self.timesteps), self.count)
        return math.ceil(self.count / (len(self.shares) * self.boxes * MOMENTS))

    @property
    def visitor(self) -> str | None:
        """Hash of the emulator that moves the boxes."""
        return digest(self.emulator) if self.emulator else None

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
    told = json.loads(json.dumps(asdict(plan) | {"visitor": plan.visitor}, default=str))
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
    seeds = [plan.seed, get_args(Part).index(plan.part), number]
    seeds += [int(plan.visitor[-8:], 16)] if plan.visitor else []
    generator = np.random.default_rng(np.random.SeedSequence(seeds))
    timestep = _timestep(plan, number, generator)
    before, trajectory, regime = (_of_host if plan.hosted else _of_boxes)(
        plan, number, timestep, generator, threads
    )
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


def _of_boxes(
    plan: Sample, number: int, timestep: float, generator: np.random.Generator, threads: int
) -> States:
    """States of a part, their trajectories and regimes: boxes first, then single states."""
    del number
    regimes = [name for name in plan.shares if name in SCENARIOS]
    drawn: list[dict[str, Array]] = []
    if regimes:
        boxes = Boxes(regimes, plan.boxes, timestep, generator, FORCINGS[plan.forcing])
        drive = _drive(plan, threads)
        drawn.append(trajectories(boxes, MOMENTS, plan.days, generator, drive))
    ride = len(regimes) * plan.boxes
    trajectory = np.tile(np.arange(ride), MOMENTS if ride else 0)
    regime = np.tile(np.repeat([KINDS.index(n) for n in regimes], plan.boxes), MOMENTS)
    inputs = names(ENVIRONMENT + PROGNOSTICS)
    for kind in plan.shares[len(regimes) :]:
        cells, seed = plan.boxes * MOMENTS, int(generator.integers(2**31))
        some = (
            states.spun_up(cells, seed, threads)
            if kind == SPUN_UP
            else states.sample(cells, seed, kind)
        )
        drawn.append({name: some[name] for name in inputs})
        trajectory = np.append(trajectory, ride + np.arange(cells))
        regime = np.append(regime, np.full(cells, KINDS.index(kind)))
        ride += cells
    before = {name: np.concatenate([state[name] for state in drawn]) for name in inputs}
    return before, trajectory, regime


def _of_host(
    plan: Sample, number: int, timestep: float, generator: np.random.Generator, threads: int
) -> States:
    """States of a part: a month of the host."""
    months = MONTHS[plan.part]
    physics: dict[str, str | int] = {
        "profile": plan.config.profile,
        "water": plan.config.water,
        "nucleation": plan.config.nucleation,
    }
    if plan.emulator:
        physics |= {"microphysics": "emulator", "emulator_file": str(plan.emulator.resolve())}
    else:
        substeps = plan.drive or plan.substeps
        physics["substeps"] = 0 if substeps == "converged" else substeps
    month = months[number // len(plan.timesteps) % len(months)]
    run = HostRun(month=month, days=plan.days, timestep=timestep, physics=physics, grid=plan.grid)
    cells = math.ceil(plan.count / plan.parts)
    before = hosttrajectories.states(run, cells, generator, threads)
    regime = np.full(cells, KINDS.index(HOST))
    return before, np.full(cells, month), regime


def _drive(plan: Sample, threads: int) -> Step:
    """Choose what moves boxes along."""
    if plan.emulator:
        emulator = load(plan.emulator)
        return lambda state, timestep: emulator.step(state, timestep, threads=threads)
    substeps = plan.drive or plan.substeps

    def drive(state: Mapping[str, Array], timestep: float) -> Mapping[str, Array]:
        return reference.step(
            state, timestep, config=plan.config, substeps=substeps, threads=threads
        )

    return drive


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


def parts_of_step(text: str) -> Parts:
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
        "forcing": plan.forcing,
        "visited_by": plan.visitor or f"M7 in {plan.drive or plan.substeps} parts",
        **({"timestep": plan.timesteps[0]} if one else {}),
    }
