"""Scores told to people: one table, and predicted against true tendencies as densities."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from pyemu.evaluate import Scores, early, late
from pyemu.files import replaced
from pyemu.lessons import SCORED
from pyemu.metrics import SMALL
from pyemu.records import WATERS, Cells
from pyemu.variables import MASSES, NUMBERS, SPECIES, masses_of, names

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import QuadMesh

Array = NDArray[np.float64]

TARGETS = {
    "mean tendency R2": ">= 0.998",
    "worst variable": ">= 0.99",
    "mean asinh R2": ">= 0.995",
    "negatives": "0",
    "wrong signs": "<= 0.1 %",
}
"""Of emulator.md, section 7."""
PANELS = {
    "H2SO4 and sulfate": ("h2so4", *names(masses_of("so4"))),
    "black carbon": names(masses_of("bc")),
    "organic carbon": names(masses_of("oc")),
    "sea salt and dust": (*names(masses_of("ss")), *names(masses_of("du"))),
    "numbers": names(NUMBERS),
    "water": WATERS,
}
_CAPTION = "R2 of tendencies in physical units, in brackets of their asinh; regimes: mean R2"
_REACH = 30.0
_TICKS = (-10.0, -0.1, 0.0, 0.1, 10.0)
assert {v for panel in PANELS.values() for v in panel} == {*SCORED}
assert len(MASSES) == sum(len(masses_of(s)) for s in names(SPECIES))


def table(scores: Mapping[str, Scores], title: str) -> Table:
    """Lay out scores, one column each, the first being the model's."""
    first = next(iter(scores.values()))
    shown = Table(title=title, caption=f"{first.cells} cells; {_CAPTION}")
    shown.add_column("measure")
    for name in scores:
        shown.add_column(name, justify="right")
    shown.add_column("target", justify="right")

    def add(name: str, values: list[str], end: bool = False) -> None:
        shown.add_row(name, *values, TARGETS.get(name, ""), end_section=end)

    each = list(scores.values())
    add("mean tendency R2", [_number(s.mean) for s in each])
    add("worst variable", [f"{_number(s.worst[1])} {s.worst[0]}" for s in each])
    add("mean asinh R2", [_number(s.asinh) for s in each])
    add("mean, water itself", [_number(s.water_itself_r2) for s in each])
    add("negatives", [str(s.negatives) for s in each])
    add("wrong signs", [f"{100.0 * s.wrong_signs:.3f} %" for s in each])
    add("flagged 1, 2, 3", [" ".join(map(str, s.flags[1:])) for s in each], end=True)
    for species in names(SPECIES):
        end = species == names(SPECIES)[-1]
        add(f"closure {species.upper()}", [f"{s.closure[species]:.1e}" for s in each], end)
    for regime in first.regimes:
        end = regime == list(first.regimes)[-1]
        add(regime.replace("_", " "), [_number(s.regimes[regime]) for s in each], end)
    for name in SCORED:
        both = [f"{_number(s.r2[name])} ({_number(s.asinh_r2[name])})" for s in each]
        add(name, both)
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


def _number(score: float) -> str:
    if math.isnan(score):
        return "-"
    return f"{score:.6f}" if score > -10.0 else f"{score:.1e}"
