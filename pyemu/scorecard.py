"""Scores told to people: tables, and predicted against true tendencies as densities."""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from pyemu.evaluate import Group, Scores, early, late
from pyemu.files import replaced
from pyemu.lessons import SCORED
from pyemu.metrics import SMALL, mean
from pyemu.records import WATERS, Cells
from pyemu.variables import MASSES, NUMBERS, SPECIES, masses_of, names

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import QuadMesh

Array = NDArray[np.float64]

TARGETS = {
    "m7": {
        "mean tendency R2": ">= 0.998",
        "worst variable": ">= 0.99",
        "mean asinh R2": ">= 0.995",
        "closure": "<= 1e-14",
        "negatives": "0",
        "wrong signs": "<= 0.1 %",
        "90 % coverage": "0.88-0.92",
        "2 x dt/2 against dt": "0 above",
    },
    "converged": {
        "mean tendency R2": ">= 0.98",
        "worst variable": ">= 0.9",
        "mean asinh R2": ">= 0.985",
        "closure": "<= 1e-14",
        "negatives": "0",
        "wrong signs": "<= 0.1 %",
        "90 % coverage": "0.88-0.92",
        "2 x dt/2 against dt": "0 above",
    },
}
"""By teacher, of emulator.md, section 7."""
PANELS = {
    "H2SO4 and sulfate": ("h2so4", *names(masses_of("so4"))),
    "black carbon": names(masses_of("bc")),
    "organic carbon": names(masses_of("oc")),
    "sea salt and dust": (*names(masses_of("ss")), *names(masses_of("du"))),
    "numbers": names(NUMBERS),
    "water": WATERS,
}
_CAPTION = (
    "R2 of tendencies in physical units, in brackets of their asinh; of groups of cells the mean "
    "R2, in brackets the worst variable's; * Harder et al.'s measures, water itself for its change"
)
_FINE = 0.99
_LACKS = (1e-7, 1e2)
_REACH = 30.0
_TICKS = (-10.0, -0.1, 0.0, 0.1, 10.0)
assert {v for panel in PANELS.values() for v in panel} == {*SCORED}
assert len(MASSES) == sum(len(masses_of(s)) for s in names(SPECIES))


def table(scores: Mapping[str, Scores], title: str, teacher: str = "m7") -> Table:
    """Lay out scores, one column each, the first being the model's."""
    first = next(iter(scores.values()))
    shown = Table(title=title, caption=f"{first.cells} cells; {_CAPTION}")
    shown.add_column("measure")
    for name in scores:
        shown.add_column(name, justify="right")
    shown.add_column("target", justify="right")
    each = list(scores.values())

    def add(name: str, values: Iterable[str], goal: str | None = None) -> None:
        shown.add_row(name, *values, TARGETS[teacher].get(goal or name, ""))

    add("mean tendency R2", (_number(s.mean) for s in each))
    add("worst variable", (f"{_number(s.worst[1])} {s.worst[0]}" for s in each))
    add("mean asinh R2", (_number(s.asinh) for s in each))
    add("negatives", (str(s.negatives) for s in each))
    add("wrong signs", (f"{100.0 * s.wrong_signs:.3f} %" for s in each))
    add("flagged 1, 2, 3", (" ".join(map(str, s.flags[1:])) or "-" for s in each))
    if any(s.consistency for s in each):
        add("2 x dt/2 against dt", (_halves(s) for s in each))
    if any(s.calibration for s in each):
        told = [s.calibration for s in each]
        for label, key in (
            ("90 % coverage", "coverage"),
            ("skill of u over a constant", "skill"),
            ("ranks of u and error", "ranks"),
        ):
            add(label, (_short(getattr(c, key)) if c else "-" for c in told))
    shown.add_section()
    for species in names(SPECIES):
        add(f"closure {species.upper()}", (f"{s.closure[species]:.1e}" for s in each), "closure")
    shown.add_section()
    for label, key in (
        ("* R2", "r2"),
        ("* R2 of logarithms, no sign", "log_r2"),
        ("* RMSE, standardised", "rmse"),
        ("* mass RMSE / mean", "mass_rmse"),
        ("* negative fraction", "negative_fraction"),
        ("* negative mean / mean", "negative_mean"),
    ):
        add(label, (_short(getattr(s.harder, key)) for s in each))
    for species in first.harder.mass_bias:
        biases = (_short(s.harder.mass_bias.get(species, math.nan)) for s in each)
        add(f"* mass bias {species.upper()} / mean", biases)
    for kind, some in first.groups.items():
        shown.add_section()
        for name, group in some.items():
            add(
                f"{_label(kind, name)} ({group.cells})",
                (_group(s.groups[kind][name]) for s in each),
            )
    shown.add_section()
    for name in SCORED:
        add(name, (f"{_number(s.r2[name])} ({_short(s.asinh_r2[name])})" for s in each))
    return shown


def sets_table(sets: Mapping[str, Mapping[str, Scores]]) -> Table:
    """Lay out scores on several sets of records, a row each; a column for each that is judged."""
    shown = Table(
        title="Out of distribution", caption="mean R2 of tendencies, in brackets the worst one's"
    )
    shown.add_column("air")
    for name in next(iter(sets.values())):
        shown.add_column(name, justify="right")
    for name, scores in sets.items():
        shown.add_row(
            name.replace("_", " "),
            *(f"{_number(s.mean)} ({_short(s.worst[1])} {s.worst[0]})" for s in scores.values()),
        )
    return shown


def figure(cells: Cells, after: Array, path: Path, title: str) -> None:
    """Draw predicted against true tendencies, a panel for each group of variables, into a PNG.

    In units of each variable's standard deviation, on asinh axes; cells where nothing happens
    are left out.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    truth, change = late(cells) - early(cells), after - early(cells)
    with mpl.rc_context({"font.size": 9.0, "axes.titlesize": 11.0, "axes.titleweight": "bold"}):
        drawn = Figure(figsize=(12.0, 8.4), layout="constrained")
        drawn.suptitle(title, fontsize=14, fontweight="bold")
        grid = drawn.subplots(2, 3, sharex=True, sharey=True)
        images = []
        for (name, group), axes in zip(PANELS.items(), grid.flat, strict=True):
            places = [SCORED.index(v) for v in group]
            scale = truth[:, places].std(axis=0)
            varies = scale > 0.0
            unit = np.where(varies, scale, 1.0)
            pair = ((x[:, places] / unit)[:, varies].ravel() for x in (truth, change))
            images.append(_density(axes, *pair))
            axes.set_title(name)
        for axes in grid[-1]:
            axes.set_xlabel("true tendency / its standard deviation")
        for axes in grid[:, 0]:
            axes.set_ylabel("predicted")
        drawn.colorbar(images[0], ax=grid, label="cells and variables", shrink=0.6)
        with replaced(path) as temporary:
            drawn.savefig(temporary, dpi=130)


def groups_figure(scores: Mapping[str, Scores], path: Path, title: str) -> None:
    """Draw what R2 lacks to 1, mean and worst variable, by group of cells, into a PNG."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    first = next(iter(scores.values()))
    rows = [(kind, name) for kind, some in first.groups.items() for name in some]
    with mpl.rc_context({"font.size": 9.0}):
        drawn = Figure(figsize=(10.0, 1.6 + 0.24 * len(rows)), layout="constrained")
        drawn.suptitle(title, fontsize=13, fontweight="bold")
        axes = drawn.subplots()
        for place, (name, one) in enumerate(scores.items()):
            told = [one.groups[kind][group] for kind, group in rows]
            colour = f"C{place}"
            lacks = np.clip([[1.0 - g.mean_r2, 1.0 - g.worst_r2] for g in told], *_LACKS)
            axes.plot(lacks[:, 0], range(len(rows)), "o", color=colour, label=name)
            axes.plot(lacks[:, 1], range(len(rows)), "x", color=colour, alpha=0.6)
        axes.set_xscale("log")
        axes.set_yticks(range(len(rows)), [_label(*row) for row in rows])
        axes.invert_yaxis()
        axes.axvline(1.0, color="0.6", lw=0.8)
        axes.grid(axis="both", lw=0.3)
        axes.set_xlabel(
            "1 - R2 of tendencies: mean (dots), worst variable (crosses); at the edge: beyond"
        )
        axes.legend(loc="best", ncols=2)
        with replaced(path) as temporary:
            drawn.savefig(temporary, dpi=130)


def _density(axes: "Axes", truth: Array, change: Array) -> "QuadMesh":
    from matplotlib.colors import LogNorm

    moves = (truth != 0.0) | (change != 0.0)
    edge = math.asinh(_REACH / SMALL)
    x, y = (np.clip(np.arcsinh(v[moves] / SMALL), -edge, edge) for v in (truth, change))
    bins = np.linspace(-edge, edge, 141)
    counts = np.histogram2d(x, y, bins=bins)[0].T
    image = axes.pcolormesh(bins, bins, np.ma.masked_equal(counts, 0.0), norm=LogNorm(1.0, 1e4))
    axes.plot([-edge, edge], [-edge, edge], color="#d1495b", lw=0.8, ls=(0, (4, 3)))
    ticks = [math.asinh(tick / SMALL) for tick in _TICKS]
    labels = [f"{tick:g}" for tick in _TICKS]
    axes.set_xticks(ticks, labels)
    axes.set_yticks(ticks, labels)
    axes.set_aspect("equal")
    return image


def _label(kind: str, name: str) -> str:
    return name.replace("_", " ") + (" s" if kind == "timesteps" else "")


def _number(score: float) -> str:
    if math.isnan(score):
        return "-"
    return f"{score:.6f}" if score > _FINE else f"{score:.3f}" if score > -10.0 else f"{score:.0e}"


def _short(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3g}"


def _group(group: Group) -> str:
    return f"{_number(group.mean_r2)} ({_short(group.worst_r2)})"


def _halves(scores: Scores) -> str:
    """Mean difference over variables, and the teacher's; in how many variables it is larger."""
    if not scores.consistency:
        return "-"
    own, more = mean(scores.own_consistency), scores.inconsistent
    return f"{mean(scores.consistency):.4f}, M7 {own:.4f}; {more} above"
