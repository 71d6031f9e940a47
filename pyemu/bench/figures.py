"""The figures of the results page, light and printable."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from pyemu.files import replaced
from pyemu.style import STYLE

Row = Mapping[str, Any]
Results = Mapping[str, Any]
_COLOURS = {
    "ham2": "#2b2b2b",
    "m7_2004": "#8a8a8a",
    "accurate": "#1f5fa8",
    "learned": "#4f9d69",
    "converged": "#d1495b",
    "native layers": "#1f5fa8",
    "ONNX Runtime": "#e0a100",
    "libtorch": "#7b2d8b",
    "Harder in torch": "#7b2d8b",
    "Harder in ONNX Runtime": "#e0a100",
}
_DASHES = {"avx2": "--", "portable": ":", "torch engine": "-."}


def _line(axes: Axes, rows: Sequence[Row], x: str, label: str, dash: str = "-") -> None:
    given = sorted(rows, key=lambda row: float(row[x]))
    places = [row[x] for row in given]
    colour = _COLOURS.get(given[0]["name"], "#6f4518")
    look: dict[str, Any] = {"color": colour, "lw": 1.4, "marker": "o", "ms": 3.0}
    axes.plot(places, [row["median"] for row in given], dash, label=label, **look)
    low, high = [row["lower"] for row in given], [row["upper"] for row in given]
    axes.fill_between(places, low, high, color=colour, alpha=0.2, lw=0)


def _lines(axes: Axes, rows: Sequence[Row], x: str, wanted: Callable[[Row], bool]) -> None:
    kinds = dict.fromkeys((row["name"], row["how"]) for row in rows if wanted(row))
    for name, how in kinds:
        those = [row for row in rows if (row["name"], row["how"]) == (name, how)]
        label = name if how in ("Fortran", "from Python", "from C++") else f"{name}, {how}"
        _line(axes, those, x, label, _DASHES.get(how, "-"))


def _finish(axes: Axes, title: str, below: str, ticks: Sequence[float]) -> None:
    axes.set_title(title)
    axes.set_xlabel(below)
    axes.set_ylabel("microseconds per cell")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.xaxis.set_minor_formatter(NullFormatter())
    low, high = axes.get_ylim()
    steps = (1.0,) if high > 300.0 * low else (1.0, 2.0, 5.0)
    axes.yaxis.set_major_locator(LogLocator(subs=steps, numticks=20))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.grid(which="major", lw=0.3)
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))


def _values(rows: Sequence[Row], column: str) -> list[float]:
    return sorted({row[column] for row in rows})


def _steps(axes: Axes, section: Row, best: str) -> None:
    rows = section["rows"]
    shown = ("Fortran", best, "torch engine", "from Python")
    _lines(
        axes,
        rows,
        "block",
        lambda r: r["how"] in shown or (r["name"] == "accurate" and "single" not in r["how"]),
    )
    _finish(axes, "Whole steps, one core", "cells a call", _values(rows, "block"))


def _trunk(axes: Axes, section: Row, best: str) -> None:
    rows = section["rows"]
    _lines(axes, rows, "block", lambda r: r["name"] != "ONNX Runtime's call")
    rate = section["rates"][best]["rate"]["multiply-adds, single"]
    floor = section["multiply_adds"] / rate * 1e6
    axes.axhline(floor, color="#1f5fa8", lw=0.7, ls=(0, (1, 2)), label=f"floor, {best}")
    title = "The network 32-128-128-128-28 alone, one core"
    _finish(axes, title, "cells a call", _values(rows, "block"))


def _sizes(axes: Axes, section: Row, _: str) -> None:
    rows = [r for r in section["rows"] if r["name"] != "ONNX Runtime's call"]
    _lines(axes, rows, "width", lambda _: True)
    _finish(axes, "Three hidden layers alone, one core", "width", _values(rows, "width"))


def _threads(axes: Axes, section: Row, _: str) -> None:
    rows = section["rows"]
    _lines(axes, rows, "threads", lambda _: True)
    _finish(
        axes, "Whole steps, calls of 64, threads of the caller", "threads", _values(rows, "threads")
    )


def _cells(axes: Axes, section: Row, _: str) -> None:
    rows = section["rows"]
    _lines(axes, rows, "cells", lambda _: True)
    title = "Whole steps, one core, the state in ever slower memory"
    _finish(axes, title, "cells in turn", _values(rows, "cells"))


def _parts(axes: Axes, section: Row, _: str) -> None:
    rows = section["rows"][::-1]
    places = range(len(rows))
    axes.barh(places, [row["cost"] for row in rows], color="#9fb9d6", label="measured")
    axes.barh(places, [row["floor"] for row in rows], 0.4, color="#1f5fa8", label="floor")
    axes.set_yticks(places, [f"{row['model']}: {row['name']}" for row in rows], fontsize=7)
    axes.set_xlabel("nanoseconds per cell")
    axes.set_title(f"Parts of the step, {section['rates']['name']}")
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))


_DRAWN: Mapping[str, Callable[[Axes, Row, str], None]] = {
    "steps": _steps,
    "trunk": _trunk,
    "sizes": _sizes,
    "cells": _cells,
    "threads": _threads,
    "parts": _parts,
}


def draw(results: Results, path: Path) -> None:
    """Draw the sections that are there into a PNG."""
    names = [name for name in _DRAWN if name in results["sections"]]
    best = next(iter(results["machine"]["sets"]))
    with mpl.rc_context(STYLE):  # type: ignore[arg-type]
        rows = -(-len(names) // 2)
        heights = [1.5 if "parts" in names[2 * row : 2 * row + 2] else 1.0 for row in range(rows)]
        figure = Figure(figsize=(14.0, 3.9 * sum(heights)), layout="constrained")
        grid = figure.subplots(rows, 2, squeeze=False, height_ratios=heights)
        for axes, name in zip(grid.flat, names, strict=False):
            _DRAWN[name](axes, results["sections"][name], best)
        for axes in list(grid.flat)[len(names) :]:
            axes.remove()
        with replaced(path) as temporary:
            figure.savefig(temporary, dpi=130, facecolor="white")
