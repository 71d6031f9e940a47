"""Rollouts told to people: a table, and errors over time."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from rich.table import Table

from pyemu.files import replaced
from pyemu.rollout import BURDENS, INTEGRALS, Rollout, RolloutConfig
from pyemu.style import SPECIES_COLOURS, STYLE
from pyemu.variables import MASSES, MODES, SPECIES, names

_TARGETED = {*INTEGRALS, *names(MASSES)}


def table(config: RolloutConfig, runs: Mapping[str, Rollout], teacher: str) -> Table:
    """Lay out errors of runs, a column each."""
    first = next(iter(runs.values()))
    shown = Table(
        title=f"{len(first.regimes)} boxes, {config.days:g} days against {teacher}",
        caption="relative error: median over boxes and time, in brackets the worst box's over time;"
        " radii are dry",
    )
    shown.add_column("quantity")
    for name in runs:
        shown.add_column(name, justify="right")
    shown.add_column("target", justify="right")
    for place, quantity in enumerate(first.error):
        if place in (len(INTEGRALS), len(INTEGRALS) + len(BURDENS)):
            shown.add_section()
        told = (
            f"{_percent(r.median(quantity))} ({_percent(r.worst_box(quantity))})"
            for r in runs.values()
        )
        shown.add_row(quantity, *told, "<= 2 %" if quantity in _TARGETED else "")
    shown.add_section()
    shown.add_row("boxes that diverge", *(str(int(r.diverged.sum())) for r in runs.values()), "0")
    flags = (" ".join(map(str, r.flags[1:])) for r in runs.values())
    shown.add_row("steps flagged 1, 2, 3", *flags, "")
    return shown


def figure(config: RolloutConfig, runs: Mapping[str, Rollout], path: Path, title: str) -> None:
    """Draw errors over time into a PNG: a row of panels for each run, one scale for all.

    Integrals with the middle four fifths of the boxes, masses by species and numbers by mode.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    numbers = {f"num_{m.name}": m.name.upper() for m in MODES}
    with mpl.rc_context(STYLE):  # type: ignore[arg-type]
        drawn = Figure(figsize=(13.0, 1.2 + 3.4 * len(runs)), layout="constrained")
        drawn.suptitle(f"{title}: {config.days:g} days in boxes", fontsize=14, fontweight="bold")
        grid = drawn.subplots(len(runs), 3, squeeze=False, sharex=True, sharey=True)
        for (name, run), row in zip(runs.items(), grid, strict=True):
            for place, quantity in enumerate(INTEGRALS):
                low, middle, high = _percentiles(run, quantity)
                row[0].fill_between(run.days, low, high, color=f"C{place}", alpha=0.15, lw=0)
                row[0].plot(run.days, middle, color=f"C{place}", label=quantity)
            for species in names(SPECIES):
                middle = _percentiles(run, f"total {species}")[1]
                row[1].plot(run.days, middle, color=SPECIES_COLOURS[species], label=species.upper())
            for place, (quantity, label) in enumerate(numbers.items()):
                row[2].plot(
                    run.days, _percentiles(run, quantity)[1], color=f"C{place}", label=label
                )
            row[0].set_ylabel(f"{name}\nrelative error")
            for axes, what in zip(
                row, ("integrals", "mass by species", "number by mode"), strict=True
            ):
                axes.set_yscale("log")
                axes.axhline(0.02, color="0.5", lw=0.8, ls=(0, (4, 3)))
                axes.set_title(what)
        for axes in grid[-1]:
            axes.set_xlabel("days")
        for axes in grid[0]:
            axes.legend(loc="best", ncols=2, fontsize=8)
        with replaced(path) as temporary:
            drawn.savefig(temporary, dpi=120)


def _percentiles(run: Rollout, quantity: str) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """10th, 50th and 90th percentile over boxes (3, times), on a logarithmic axis above 1e-7."""
    error = run.error[quantity]
    there = ~np.isnan(error).all(axis=0)
    return np.maximum(np.nanquantile(error[:, there], (0.1, 0.5, 0.9), axis=1), 1e-7)


def _percent(error: float) -> str:
    return f"{100.0 * error:.3g} %"
