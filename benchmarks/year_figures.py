"""Figures of a year of the host (year.py)."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pyemu.climate import OTHERS, QUANTITIES, TARGETS, title
from pyemu.files import replaced
from pyemu.style import MODE_COLOURS, SPECIES_COLOURS, STYLE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = {f"burden_{name}": colour for name, colour in SPECIES_COLOURS.items()} | {
    f"num_{name}": colour for name, colour in MODE_COLOURS.items()
}
COLOURS |= dict(
    zip(
        ("number_above_50nm", *OTHERS),
        ("#00798c", "#66c2c9", "#111111", "#e0a100", "#8a6d00"),
        strict=True,
    )
)
GROUPS = {
    "burdens": tuple(name for name in QUANTITIES if name.startswith("burden")),
    "numbers by mode": tuple(name for name in QUANTITIES if name.startswith("num_")),
    "what climate feels": ("number_above_50nm", *OTHERS),
}
FLOOR = 1e-9
"""Differences below it are drawn there."""


def draw_months(found: Mapping[str, Any], path: Path) -> None:
    """Draw the differences of global means by month, a row of panels a pair of runs of today."""
    shown = [pair for pair in found["pairs"] if "_" not in pair]
    if not shown:
        return
    with figure((11.0, 1.0 + 2.1 * len(shown)), path) as drawn:
        grid = drawn.subplots(len(shown), len(GROUPS), sharex=True, sharey=True, squeeze=False)
        for row, pair in zip(grid, shown, strict=True):
            for axes, (group, members) in zip(row, GROUPS.items(), strict=True):
                for name in members:
                    gap = np.abs(np.array(found["pairs"][pair][name]["months"], dtype=float))
                    gap = np.maximum(100.0 * gap, 100.0 * FLOOR)
                    label = title(name).removeprefix("burden of ").removeprefix("number of ")
                    axes.semilogy(np.arange(len(gap)) + 1, gap, color=COLOURS[name], label=label)
                wanted = {TARGETS[name] for name in members if name in TARGETS}
                for target in wanted:
                    axes.axhline(200.0 * target, color="0.5", lw=0.8, ls="--")
                axes.set_title(f"{pair.replace(' - ', ' beside ')}: {group}", fontsize=8)
                axes.set_xticks(range(1, 13))
            row[0].set_ylabel("difference [%]")
        for axes, columns in zip(grid[-1], (3, 4, 2), strict=True):
            axes.set_xlabel("month")
            axes.legend(ncols=columns, loc="upper center", bbox_to_anchor=(0.5, -0.3), fontsize=7)


def draw_nearer(found: Mapping[str, Any], path: Path) -> None:
    """Draw how far M7's single step and `converged` are from M7 in many sub-steps."""
    if not (found["nearer"] and "reference" in found):
        return
    year = {
        name: {"M7, one step": one["first"], "converged": one["second"]}
        for name, one in found["nearer"].items()
    }
    colours = {"M7, one step": "#d1495b", "sub-stepped M7": "0.55", "converged": "#1f5fa8"}
    short = {"m7": "M7, one step", "substeps": "sub-stepped M7", "converged": "converged"}
    days = {
        name: {short[run]: value for run, value in one.items()}
        for name, one in found["reference"]["of"].items()
    }
    with figure((10.0, 4.6), path) as drawn:
        grid = drawn.subplots(1, 2, sharey=True)
        for axes, told, what in (
            (grid[0], year, "the year, beside the sub-stepped M7"),
            (grid[1], days, "coarser grid, beside M7 in 240 sub-steps"),
        ):
            for place, one in enumerate(reversed(told.values())):
                gaps = {run: max(100.0 * abs(gap), 1e-4) for run, gap in one.items()}
                axes.plot([min(gaps.values()), max(gaps.values())], [place] * 2, color="0.85", lw=2)
                for run, gap in gaps.items():
                    label = run if place == 0 else None
                    axes.plot(gap, place, "o", color=colours[run], label=label)
            axes.set_xscale("log")
            axes.set_title(what[0].upper() + what[1:])
            axes.set_xlabel("difference of global means [%]")
        grid[0].set_yticks(range(len(year)), [title(name) for name in reversed(year)])
        grid[1].legend(loc="lower left")


def draw_decade(found: Mapping[str, Any], path: Path) -> None:
    """Draw the annual means of the emulator alone."""
    if "decade" not in found:
        return
    with figure((11.0, 3.4), path) as drawn:
        for axes, (group, members) in zip(drawn.subplots(1, 3), GROUPS.items(), strict=True):
            for name in members:
                years = 100.0 * np.array(found["decade"]["of"][name]["years"])
                label = title(name).removeprefix("burden of ").removeprefix("number of ")
                axes.plot(
                    np.arange(len(years)) + 1, years, "o-", ms=3, color=COLOURS[name], label=label
                )
            axes.set_title(group)
            axes.set_xlabel("year")
            axes.set_ylabel("annual mean over that of year 2 [%]")
            axes.legend(ncols=1 if group == "what climate feels" else 3, fontsize=7)


@contextmanager
def figure(size: tuple[float, float], path: Path) -> "Iterator[Figure]":
    """Give a figure, which is written as PNG."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(STYLE):  # type: ignore[arg-type]
        drawn = Figure(figsize=size, layout="constrained")
        yield drawn
        with replaced(path) as temporary:
            drawn.savefig(temporary, dpi=110)
