"""Error against cost: M7 in more and more sub-steps as a line, every emulator as a point.

The yardstick of error is M7 in `TRUTH` sub-steps; cost is measured in the same run, on one core.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from pyemu import bench, metrics, reference, states, steps
from pyemu.emulator import path_of
from pyemu.files import replaced
from pyemu.lessons import SCORED
from pyemu.modelfile import read
from pyemu.rollout import INTEGRALS, RolloutConfig, rollout
from pyemu.variables import ENVIRONMENT, PROGNOSTICS, names

Array = NDArray[np.float64]
Watch = Callable[[Sequence[Any]], Iterable[Any]]

SUBSTEPS = (1, 2, 4, 15, 30, 60, 240)
TIMESTEPS = (450.0, 900.0, 1800.0)
TRUTH = 480
BLOCK = 64
"""Cells of a call in which cost is measured."""


@dataclass(frozen=True, kw_only=True)
class Score:
    """Tendencies of a step against the converged M7: R2 and asinh R2."""

    mean: float
    worst: float
    worst_variable: str
    asinh: float


@dataclass(frozen=True, kw_only=True)
class Point:
    """M7 in `substeps` parts, or an emulator and its teacher: cost [us per cell], and errors.

    `scores` are by timestep [s]; `rollout` are median errors of integrals, and the largest of a
    mass, over boxes and time [1], and `diverged` the boxes that left the converged M7.
    """

    name: str
    teacher: str
    substeps: int | None
    cost: float
    scores: Mapping[float, Score]
    rollout: Mapping[str, float]
    diverged: int | None


def frontier(
    models: Sequence[str],
    count: int = 8000,
    seed: int = 1,
    rounds: int = 9,
    days: float = 30.0,
    boxes: int = 300,
    substeps: Sequence[int] = SUBSTEPS,
    timesteps: Sequence[float] = TIMESTEPS,
    truth: int = TRUTH,
    threads: int = 1,
    watch: Watch = iter,
) -> list[Point]:
    """Measure cost and error of M7 in sub-steps and of emulators.

    Parameters
    ----------
    models
        Names or files.
    count, seed
        States of `pyemu.states.spun_up`, on which a step is judged.
    rounds
        Of timing.
    days, boxes
        Of the rollouts at the last of `timesteps`, 0 days for none.
    threads
        For all but the timing.
    """
    config = reference.Config()
    runs = {f"ham2 x {n}": steps.teacher(config, n, threads) for n in substeps}
    runs |= {name: steps.native(path_of(name), threads) for name in models}
    costs = {
        row.name: row.median
        for row in bench.cost(
            4096, rounds, seed=seed, blocks=(BLOCK,), models=models, substeps=substeps
        )
    }
    state = states.spun_up(count, seed, threads)
    scores: dict[str, dict[float, Score]] = {name: {} for name in runs}
    for timestep in watch(timesteps):
        for name, score in _scores(state, timestep, runs, steps.teacher(config, truth, threads)):
            scores[name][timestep] = score
    rolled = {}
    if days > 0.0:
        plan = RolloutConfig(days=days, boxes=boxes, timestep=timesteps[-1], seed=seed)
        rolled = rollout(plan, steps.teacher(config, truth, threads), runs, watch)
    points: list[Point] = []
    for name in runs:
        run = rolled.get(name)
        told = {q: run.median(q) for q in INTEGRALS} | {"mass": run.mass} if run else {}
        points.append(
            Point(
                name=Path(name).stem,
                teacher=read(path_of(name)).teacher if name in models else "",
                substeps=None if name in models else substeps[len(points)],
                cost=costs[name],
                scores=scores[name],
                rollout=told,
                diverged=int(run.diverged.sum()) if run else None,
            )
        )
    return points


def _scores(
    state: Mapping[str, Array], timestep: float, runs: Mapping[str, steps.Step], truth: steps.Step
) -> Iterable[tuple[str, Score]]:
    before = {name: state[name] for name in names(ENVIRONMENT + PROGNOSTICS)}
    true = truth(before, timestep)
    for name, step in runs.items():
        after = step(before, timestep)
        plain = metrics.tendency_r2(state, true, after, SCORED)
        variable, worst = metrics.worst(plain)
        asinh = metrics.mean(metrics.tendency_asinh_r2(state, true, after, SCORED))
        yield (
            name,
            Score(mean=metrics.mean(plain), worst=worst, worst_variable=variable, asinh=asinh),
        )


def _rows(points: Iterable[Point]) -> Iterable[tuple[str, ...]]:
    for point in points:
        for timestep, score in point.scores.items():
            last = timestep == max(point.scores)
            error = [f"{100.0 * e:.3g}" for e in point.rollout.values()] if last else []
            diverged = [str(point.diverged)] if last and point.diverged is not None else []
            yield (
                point.name,
                point.teacher,
                f"{point.cost:.3f}",
                f"{timestep:g}",
                f"{score.mean:.4f}",
                f"{score.worst:.3f} {score.worst_variable}",
                f"{score.asinh:.4f}",
                *(error or [""] * (len(INTEGRALS) + 1)),
                *(diverged or [""]),
            )


_HEADINGS = (
    "step",
    "teacher",
    "us/cell",
    "timestep [s]",
    "mean R2",
    "worst R2",
    "asinh R2",
    *(f"{name} [%]" for name in INTEGRALS),
    "mass [%]",
    "diverged",
)


def table(points: Iterable[Point]) -> Table:
    """Lay out cost and error."""
    shown = Table(
        title=f"Against M7 in {TRUTH} sub-steps",
        caption="R2 of tendencies; rollouts: median errors, of masses the largest, boxes diverged",
    )
    for heading in _HEADINGS:
        shown.add_column(heading, justify="left" if heading in _HEADINGS[:2] else "right")
    for row in _rows(points):
        shown.add_row(*row)
    return shown


def markdown(points: Iterable[Point], told: Mapping[str, str], command: str) -> str:
    """Write the same as a Markdown page, below the figure."""
    lines = [
        "# Error against the converged M7, over cost",
        "",
        "![error over cost](frontier.png)",
        "",
        f"Written by `{command}` on {told['date'][:10]}, {told['machine']}: cost on one core in",
        f"calls of {BLOCK} cells; tendencies of the 26 prognostics and 4 waters on",
        f"`pyemu.states.spun_up` against M7 in {TRUTH} sub-steps; rollouts in boxes with",
        "emissions, daily cycle and mixing (`pyemu.rollout`): median errors over boxes and time,",
        "of masses by mode and species the largest, and boxes that diverge. `ham2 x 4` is M7 in 4",
        "sub-steps.",
        "",
        "| " + " | ".join(_HEADINGS) + " |",
        "|" + "---|" * len(_HEADINGS),
    ]
    lines += ["| " + " | ".join(row) + " |" for row in _rows(points)]
    return "\n".join(lines) + "\n"


def figure(points: Sequence[Point], path: Path) -> None:
    """Draw error over cost into a PNG: M7's line over sub-steps, emulators as points."""
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    line = [point for point in points if point.substeps is not None]
    others = [point for point in points if point.substeps is None]
    timesteps = list(points[0].scores)
    panels: dict[str, Callable[[Point, float], float]] = {
        "1 - mean R2 of tendencies": lambda p, t: 1.0 - p.scores[t].mean,
        "1 - R2 of the worst variable": lambda p, t: 1.0 - p.scores[t].worst,
        "1 - mean asinh R2": lambda p, t: 1.0 - p.scores[t].asinh,
    }
    if points[0].rollout:
        panels["Rollouts: largest median error of an integral"] = lambda p, _: max(
            p.rollout[q] for q in INTEGRALS
        )
    markers = dict(zip((p.name for p in others), "oDsP^vX*<>" * 9, strict=False))
    with mpl.rc_context({"font.size": 9.5, "axes.titleweight": "bold"}):
        drawn = Figure(figsize=(11.5, 8.6), layout="constrained")
        drawn.suptitle(
            f"Error against M7 in {TRUTH} sub-steps, over cost", fontsize=14, fontweight="bold"
        )
        grid = drawn.subplots(2, 2, sharex=True)
        for axes, (title, error) in zip(grid.flat, panels.items(), strict=False):
            shown = timesteps[-1:] if title.startswith("Rollouts") else timesteps
            for timestep in shown:
                colour = f"C{timesteps.index(timestep)}"
                given = [error(point, timestep) for point in line]
                axes.plot([p.cost for p in line], given, ".-", color=colour, lw=1.4)
                for p in others:
                    place = ([p.cost], [error(p, timestep)])
                    axes.plot(*place, markers[p.name], color=colour, mec="black", mew=0.7, ms=8.5)
            for p, y in zip(line, given, strict=True):  # the last timestep's
                axes.annotate(
                    str(p.substeps), (p.cost, y), (3, 3), textcoords="offset points", fontsize=8
                )
            axes.set_title(title)
            axes.set_xscale("log")
            axes.set_yscale("log")
            axes.grid(which="major", lw=0.3)
        for axes in grid[-1]:
            axes.set_xlabel("microseconds per cell and step, one core")
        legend = [Line2D([], [], color=f"C{i}", label=f"{t:g} s") for i, t in enumerate(timesteps)]
        legend += [
            Line2D([], [], color="0.4", ls="", marker=m, mec="black", label=name)
            for name, m in markers.items()
        ]
        legend.append(Line2D([], [], color="0.4", marker=".", label="M7, its sub-steps beside"))
        grid[0, 1].legend(handles=legend, loc="best", fontsize=8.5)
        for axes in list(grid.flat)[len(panels) :]:
            axes.remove()
        with replaced(path) as temporary:
            drawn.savefig(temporary, dpi=130)
