"""What a step of M7 and of emulators costs, and how far one step is from the converged M7."""

import math
import platform
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.table import Table

from pyemu import metrics, states
from pyemu._m7 import m7_python
from pyemu.bench.clock import Cells, Cost, Watch, native, race, reference
from pyemu.reference import Config, Profile, step
from pyemu.variables import ENVIRONMENT, PROGNOSTICS, SOLUBLE, names

BLOCKS = (16, 64, 512, 4096)
PROFILES: tuple[Profile, ...] = ("ham2", "m7_2004")
TIMESTEPS = (450.0, 900.0, 1800.0, 3600.0)
SUBSTEPS = (1, 2, 4, 15, 60)
MANY = 240
"""Sub-steps of the first yardstick; the second is `substeps="converged"`."""


@dataclass(frozen=True, kw_only=True)
class Distance:
    """Scores [1] of the tendencies of `timestep` [s] in `substeps` parts, against a yardstick."""

    timestep: float
    truth: str
    substeps: int
    mean: float
    worst: float
    worst_variable: str
    asinh: float


def cost(
    count: int = 8192,
    rounds: int = 15,
    seed: int = 1,
    blocks: Sequence[int] = BLOCKS,
    models: Sequence[str] = (),
    substeps: Sequence[int] = (),
    watch: Watch = iter,
) -> list[Cost]:
    """Time M7, inside Fortran, and emulators, inside C, on one core; all of them take turns.

    Parameters
    ----------
    count, seed
        Cells: `pyemu.states.sample(count, seed, "all_modes")`, `count` rounded up to whole blocks.
    rounds
        Turns of each profile and block size; one more before them is not counted.
    blocks
        Columns that a host passes at a time.
    models
        Emulators, names or files.
    substeps
        M7 of HAM2 in so many parts each, too, called `ham2 x <parts>`.
    watch
        Wraps the rounds, to show progress.
    """
    whole = math.lcm(*blocks)
    cells = {block: Cells(-(-count // whole) * whole, block, seed=seed) for block in blocks}
    each = [(one, cells[one]) for one in blocks]
    contenders = [reference(Config(profile=p), p, c) for p in PROFILES for _, c in each]
    contenders += [
        reference(Config(), f"ham2 x {n}", c, substeps=n) for n in substeps for _, c in each
    ]
    contenders += [native(model, c) for model in models for _, c in each]
    return race(contenders, rounds, watch)


def convergence(
    count: int = 8000,
    seed: int = 1,
    timesteps: Sequence[float] = TIMESTEPS,
    many: int = MANY,
    threads: int = 0,
    watch: Watch = iter,
) -> list[Distance]:
    """Score few sub-steps against `many` and against "converged", on `states.spun_up`.

    Scores are over the 26 prognostics and the water of the soluble modes; see `pyemu.metrics`.
    """
    state = states.spun_up(count, seed)
    before = {name: state[name] for name in names(ENVIRONMENT + PROGNOSTICS)}
    judged = (*names(PROGNOSTICS), *(f"water_{mode.name}" for mode in SOLUBLE))
    rows = []
    for timestep in watch(timesteps):
        yardsticks = {
            str(parts): step(before, timestep, substeps=parts, threads=threads)
            for parts in (many, "converged")
        }
        for parts in SUBSTEPS:
            after = step(before, timestep, substeps=parts, threads=threads)
            for name, truth in yardsticks.items():
                plain = metrics.tendency_r2(state, truth, after, judged)
                asinh = metrics.tendency_asinh_r2(state, truth, after, judged)
                variable, score = metrics.worst(plain)
                rows.append(
                    Distance(
                        timestep=timestep,
                        truth=name,
                        substeps=parts,
                        mean=metrics.mean(plain),
                        worst=score,
                        worst_variable=variable,
                        asinh=metrics.mean(asinh),
                    )
                )
    return rows


def cost_table(rows: Iterable[Cost]) -> Table:
    """Lay out what a step costs."""
    table = Table(
        title="One step on one core, microseconds per cell",
        caption="states with all modes, a third of them cloudy: pyemu.states, all_modes",
    )
    for heading in ("step", "block", "median", "quartiles", "best", "of ham2"):
        table.add_column(heading, justify="left" if heading == "step" else "right")
    rows = list(rows)
    yardstick = {row.block: row.median for row in rows if row.name == "ham2"}
    for row in rows:
        spread = f"{row.lower:.3f} - {row.upper:.3f}"
        ratio = f"{row.median / yardstick[row.block]:.2f}"
        table.add_row(
            row.name, str(row.block), f"{row.median:.3f}", spread, f"{row.best:.3f}", ratio
        )
    return table


_HEADINGS = ("timestep [s]", "against", "sub-steps", "mean R2", "worst R2", "worst", "asinh R2")


def _cells(row: Distance) -> tuple[str, ...]:
    scores = (f"{row.mean:.3f}", f"{row.worst:.3f}", row.worst_variable, f"{row.asinh:.3f}")
    return (f"{row.timestep:g}", row.truth, str(row.substeps), *scores)


def convergence_table(rows: Iterable[Distance]) -> Table:
    """Lay out how far few sub-steps are from many."""
    table = Table(title="Tendencies of M7 in few sub-steps against the converged M7")
    for heading in _HEADINGS:
        table.add_column(heading, justify="left" if heading in ("against", "worst") else "right")
    for row in rows:
        table.add_row(*_cells(row))
    return table


def convergence_markdown(rows: Iterable[Distance], count: int, seed: int) -> str:
    """Write the same as a Markdown page."""
    lines = [
        "# How far M7's single step is from the converged M7",
        "",
        f"Written by `pyemu bench --convergence --cells {count} --seed {seed}`: profile `ham2`,",
        f"{count} spun-up cloud-free states with production (`pyemu.states.spun_up`), tendencies",
        "of the 26 prognostics and 4 waters over one step, R2 in physical units (mean and worst",
        f"variable) and sign-aware asinh R2 (mean), against {MANY} sub-steps and against",
        '`substeps="converged"`.',
        "",
        "| " + " | ".join(_HEADINGS) + " |",
        "|" + "---|" * len(_HEADINGS),
    ]
    lines += ["| " + " | ".join(_cells(row)) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def provenance() -> dict[str, str]:
    """Tell machine, compiler and date."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": _processor(),
        "system": platform.platform(),
        "compiler": m7_python.compiler().strip(),
    }


def brief(compiler: str) -> str:
    """Shorten a compiler and its options to what decides about speed and bits."""
    name, _, options = compiler.partition(" -")
    idle = ("-fPIC", "-fdiagnostics", "-fpre-include", "-ffree")
    told = [o for o in f"-{options}".split() if o.startswith(("-O", "-march=", "-f"))]
    return " ".join([name, *(o for o in told if not o.startswith(idle))])


def _processor() -> str:
    """Name of the processor, from /proc/cpuinfo where there is one."""
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
