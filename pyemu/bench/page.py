"""The results page: every number in it is one of the JSON."""

import math
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from pyemu.bench import brief

Row = Mapping[str, Any]
Results = Mapping[str, Any]
NOT_YET = "not yet measured"
BEGIN, END = "<!-- pyemu bench: begin -->", "<!-- pyemu bench: end -->"
_TITLES = {
    "ham2": "M7, HAM2 (our Fortran reference)",
    "m7_2004": "M7, 2004 generation",
    "native layers": "our dense layers",
}


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.0f}" if 100.0 <= value < 1e6 else f"{value:.3g}"


def _spread(row: Row) -> str:
    """Median and half the distance of the quartiles [%]."""
    half = 50.0 * (row["upper"] - row["lower"]) / row["median"]
    return f"{_number(row['median'])} ±{half:.0f}%"


def _prose(text: str) -> list[str]:
    return textwrap.wrap(text, 100, break_long_words=False, break_on_hyphens=False)


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    ends = ["---", *["---:"] * (len(headings) - 1)]
    return ["", *("| " + " | ".join(cells) + " |" for cells in (headings, ends, *rows)), ""]


def _title(row: Row) -> str:
    name = _TITLES.get(row["name"], row["name"])
    plain = row["how"] in ("Fortran", "")
    return str(name) if plain else f"{name}, {row['how']}"


def _keys(rows: Iterable[Row]) -> list[str]:
    return list(dict.fromkeys(_title(row) for row in rows))


def _pivot(
    rows: Sequence[Row], column: str, show: Callable[[Row], str] = _spread
) -> tuple[list[str], list[list[str]]]:
    """Give a line for each contender, a column for each value of `column`."""
    values = sorted({row[column] for row in rows})
    at = {(_title(row), row[column]): show(row) for row in rows}
    return [f"{v}" for v in values], [
        [title, *(at.get((title, value), "") for value in values)] for title in _keys(rows)
    ]


def find(rows: Iterable[Row], **wanted: Any) -> Row | None:
    """Find the row with these values."""
    return next((r for r in rows if all(r[k] == v for k, v in wanted.items())), None)


_TOLD = ("Fortran", "torch engine", "from Python")


def headline(results: Results, block: int = 64) -> list[str]:
    """Tabulate whole steps on one core beside M7."""
    section = results["sections"]["steps"]
    best = next(iter(results["machine"]["sets"]))
    rows = [r for r in section["rows"] if r["block"] == block]
    told = [r for r in rows if r["how"] in _TOLD or r["how"].startswith(best)]
    m7 = find(told, name="ham2")
    lines = [
        [
            _title(r),
            _spread(r),
            f"{m7['median'] / r['median']:.2g}" if m7 else "",
            _number(1.0 / r["median"]),
        ]
        for r in sorted(told, key=lambda r: float(r["median"]))
    ]
    lines += [[f"{_TITLES.get(n, n)}", why, "", ""] for n, why in section["missing"].items()]
    headings = ("step", "us per cell", "times as fast as M7 (HAM2)", "million cells per s and core")
    return _table(headings, lines)


def _missing(section: Row) -> list[str]:
    return [f"{name}: {why}." for name, why in section.get("missing", {}).items()]


def _when(section: Row) -> str:
    before, after = section["load"]
    shares = [row["disturbed"] for row in section["rows"] if "disturbed" in row]
    lost = f", {100.0 * sum(shares) / len(shares):.1f} % of turns disturbed" if shares else ""
    return (
        f"Measured {section['date'][:16].replace('T', ' ')} UTC in {section['seconds']:.0f} s, "
        f"{section['rounds']} rounds{lost}; load of the machine {before:.1f} before, "
        f"{after:.1f} after."
    )


def _machine(told: Mapping[str, Any]) -> list[str]:
    sets = ", ".join(f"{name} ({n} cells a vector)" for name, n in told["sets"].items())
    caches = ", ".join(f"{name} {size}" for name, size in told["caches"].items())
    versions = ", ".join(
        f"{name} {told[name]}" for name in ("m7emu", "python", "numpy", "torch", "onnxruntime")
    )
    rows = [
        ("processor", f"{told['machine']}, {told['cores']} cores for us; {caches}"),
        ("sets of instructions", sets),
        ("system", told["system"]),
        ("M7 (Fortran)", brief(told["compiler"])),
        ("native engine (C++)", told["engine compiler"] + ", each set's own -m options"),
        ("versions", versions),
    ]
    return _table(("machine", told["date"][:10]), rows)


def _steps(section: Row, _: Results) -> list[str]:
    headings, lines = _pivot(section["rows"], "block")
    return [
        *_prose(
            "Microseconds per cell, one core, in calls of so many cells: median and half the "
            "distance of the quartiles, of contenders that take turns. M7 and the native "
            "engine are timed around the calls inside Fortran and C, in the same manner: the "
            "state is copied in beforehand, diagnostic outputs go to the same arrays in each "
            "call, no call of Python counts. The torch engine (one call a round) and Harder's "
            "network (untrained: its numbers do not matter here; scaling included, physics "
            "not) are called from Python, which counts. Each turn begins with a run that is not "
            "timed, so that the code is in the caches. `single`: the host's state is in "
            f"single precision. In a round {section['count']} cells are stepped, or the call's "
            "if those are more: the state lies in L2 and L3."
        ),
        *_table(("cells a call", *headings), lines),
        *_missing(section),
        _when(section),
    ]


def _trunk(section: Row, _: Results) -> list[str]:
    rows = list(section["rows"])
    for row in section["rows"]:
        call = find(rows, name="ONNX Runtime's call", block=row["block"])
        if row["name"] == "ONNX Runtime" and call:
            less = {k: max(row[k] - call["median"], 0.0) for k in ("median", "lower", "upper")}
            if less["median"] > 0.0:
                rows.append({**row, **less, "how": "less its empty call"})
    headings, lines = _pivot(rows, "block")
    floors = ", ".join(f"{_number(_floor(section, name))} ({name})" for name in section["rates"])
    return [
        *_prose(
            "The network 32-128-128-128-28 with ReLU, single precision, alone: microseconds "
            f"per cell on one core. Its {section['multiply_adds']} multiply-adds take, at the "
            f"measured peak of the set, {floors}. Ours is called from C; libtorch from C++ as "
            "FTorch does it (a TorchScript file, tensors made of the host's arrays, the "
            "result copied back); ONNX Runtime from Python with bound arrays: what it takes "
            "to be called for a network that does nothing is shown, and taken off in a line "
            "of its own, which does it more than justice. Ours reads cells in Fortran's "
            "order, all cells of an input together, the others all inputs of a cell together: "
            "for them a Fortran host would have to transpose, which is not counted."
        ),
        *_table(("cells a call", *headings), lines),
        *_missing(section),
        _when(section),
    ]


def _floor(section: Row, name: str) -> float:
    """Time of a network's multiply-adds at the peak [us]."""
    rate = section["rates"][name]["rate"]["multiply-adds, single"]
    return float(section["multiply_adds"] / rate * 1e6)


def _sizes(section: Row, _: Results) -> list[str]:
    rows = [r for r in section["rows"] if r["name"] != "ONNX Runtime's call"]
    headings, lines = _pivot(rows, "width")
    adds = [f"{section['multiply_adds'][w]}" for w in headings]
    block = rows[0]["block"]
    return [
        *_prose(
            "Three hidden layers of a width, 32 inputs and 28 outputs, alone, in calls of "
            f"{block} cells: microseconds per cell on one core."
        ),
        *_table(("width", *headings), [["multiply-adds", *adds], *lines]),
        *_missing(section),
        _when(section),
    ]


def _threads(section: Row, results: Results) -> list[str]:
    headings, lines = _pivot(section["rows"], "threads")
    cores = results["machine"]["cores"]
    return [
        *_prose(
            "Microseconds per cell of the whole machine when so many threads of the caller "
            f"share the calls of 64 cells; all {cores} cores are the last column. The engine "
            "starts no threads of its own."
        ),
        *_table(("threads", *headings), lines),
        _when(section),
    ]


def _cells(section: Row, _: Results) -> list[str]:
    rows = section["rows"]
    headings, times = _pivot(rows, "cells")
    m7 = {r["cells"]: r["median"] for r in rows if r["how"] == "Fortran"}
    engine = [r for r in rows if r["how"] != "Fortran"]
    ratios = _pivot(engine, "cells", lambda r: f"{m7[r['cells']] / r['median']:.2g}")[1]
    faster = [[f"{line[0]}: times as fast", *line[1:]] for line in ratios]
    return [
        *_prose(
            "Microseconds per cell, one core, calls of 64: so many cells are stepped before "
            "the first comes again, 272 bytes each, so that the state lies in ever slower "
            "memory."
        ),
        *_table(("cells in turn", *headings), times + faster),
        _when(section),
    ]


def _parts(section: Row, _: Results) -> list[str]:
    given = section["rates"]
    rates = ", ".join(f"{name} {rate / 1e9:.3g}" for name, rate in given["rate"].items())
    lines = []
    for model in dict.fromkeys(row["model"] for row in section["rows"]):
        rows = [row for row in section["rows"] if row["model"] == model]
        for row in rows:
            counts = row["operations"]
            fused = [
                max(counts[f"multiply, {p}"], counts[f"add, {p}"]) for p in ("single", "double")
            ]
            divided = [counts[f"divide, {p}"] + counts[f"root, {p}"] for p in ("single", "double")]
            lines.append(
                [
                    f"{model}: {row['name']}",
                    _number(row["cost"]),
                    *(" + ".join(f"{n:.0f}" for n in pair) for pair in (fused, divided)),
                    *(f"{row[kind]:.2g}" for kind in ("multiply_adds", "divisions", "memory")),
                    f"{100.0 * row['floor'] / row['cost']:.0f} %",
                ]
            )
        cost, floor = (sum(row[kind] for row in rows) for kind in ("cost", "floor"))
        lines.append(
            [f"**{model}: step**", _number(cost), *[""] * 5, f"**{100.0 * floor / cost:.0f} %**"]
        )
    headings = (
        "part",
        "ns per cell",
        "multiply-adds, single + double",
        "divisions and roots",
        "their floor [ns]",
        "floor of divisions",
        "floor of bytes",
        "of the roofline",
    )
    return [
        *_prose(
            f"Native engine, {given['name']}, calls of 64, one core. Times are by clocks "
            "between the parts, scaled to the step without clocks; operations are counted "
            "while the step runs in the portable set, which may skip a little more than wider "
            "vectors can. The floor of a part is the longest of three: its multiply-adds "
            "(multiplications or additions, whichever are more), its divisions and square "
            "roots, its bytes, each at the best rate measured on this core just before "
            f"(billions per s: {rates}; {given['bandwidth'] / 1e9:.3g} GB/s in and out of "
            "where the state lies). Comparisons, selections, conversions and whole numbers "
            "have no floor here: they, and operations that wait for each other, take the "
            "rest."
        ),
        *_table(headings, lines),
        _when(section),
    ]


def interpolated(line: Sequence[tuple[float, float]], error: float) -> float | None:
    """Cost at which M7 in sub-steps, (cost, error) each, has an error; None where it never has."""
    for (cost0, error0), (cost1, error1) in pairwise(line):
        if error1 <= error <= error0:
            part = (math.log(error0) - math.log(error)) / (math.log(error0) - math.log(error1))
            return math.exp(math.log(cost0) + part * (math.log(cost1) - math.log(cost0)))
    return None


def _accuracy(section: Row, results: Results) -> list[str]:
    errors = {
        point["name"]: point["scores"]["1800.0"]["mean"] for point in results.get("frontier") or []
    }
    rows = [r for r in section["rows"] if r["name"] in errors]
    line = [(r["median"], 1.0 - errors[r["name"]]) for r in rows if r["name"].startswith("ham2 x ")]
    lines = []
    for row in rows:
        error = 1.0 - errors[row["name"]]
        same = None if row["name"].startswith("ham2 x ") else interpolated(line, error)
        lines.append(
            [
                _title(row),
                _spread(row),
                f"{error:.2g}",
                _number(same),
                f"{same / row['median']:.2g}" if same else "",
            ]
        )
    return [
        *_prose(
            "Cost on one core in calls of 64 of M7 in sub-steps (`ham2 x 15`: in 15) and of "
            "the models, and their error: 1 - mean R2 of the tendencies of 1800 s against M7 "
            "in 480 sub-steps, from [frontier.json](frontier.json) (`pyemu bench "
            "--frontier`). Beside a model what M7 costs in as many sub-steps as have its "
            "error, between those measured."
        ),
        *_table(("step", "us per cell", "error", "M7 of that error", "times as fast"), lines),
        _when(section),
    ]


def _energy(section: Row, _: Results) -> list[str]:
    if not section["rows"]:
        return ["Energy: not reported by this machine."]
    lines = [
        [_TITLES.get(r["name"], r["name"]), f"{r['microjoules']:.3g}"] for r in section["rows"]
    ]
    return [
        *_prose("All cores at work, by the processor's own meter (RAPL, packages)."),
        *_table(("step", "microjoules per cell"), lines),
        _when(section),
    ]


def _gpu(found: Mapping[str, Any] | None) -> list[str]:
    """Show what benchmarks/gpu.sh wrote: tables of rows, by whatever columns they have."""
    if not found:
        kinds = ("device-resident, float64", "device-resident, float32", "with transfers, float64")
        return _table(("CUDA engine", "cells per s"), [[kind, NOT_YET] for kind in kinds])
    rows = found.get("rows", [])
    columns = list(dict.fromkeys(key for row in rows for key in row))
    told = ", ".join(f"{k} {v}" for k, v in found.items() if isinstance(v, str | int | float))
    cells = [
        [_number(c) if isinstance(c, float) else str(c) for c in (row.get(k, "") for k in columns)]
        for row in rows
    ]
    return [told, *_table(columns, cells)]


_CHAPTERS: Mapping[str, tuple[str, Callable[[Row, Results], list[str]]]] = {
    "steps": ("Whole steps", _steps),
    "trunk": ("A network alone", _trunk),
    "sizes": ("Cost over the size of a network", _sizes),
    "threads": ("Cost over threads", _threads),
    "cells": ("Cost over cells", _cells),
    "parts": ("Parts of the step beside their floors", _parts),
    "accuracy": ("Cost at equal accuracy", _accuracy),
    "energy": ("Energy", _energy),
}


def markdown(results: Results, figures: Sequence[str] = ()) -> str:
    """Write the page.

    Parameters
    ----------
    results
        What `sections.measure` returns; also "frontier", points of frontier.json, and "gpu", what
        gpu.sh wrote, where they are there.
    figures
        Names of the figures beside the page.
    """
    lines = ["# Results", ""]
    lines += _prose(
        "Written by `pyemu bench`, which measures all of it anew; `pyemu bench --sections "
        "steps,trunk` renews these sections and keeps the others. A section is a run of its own, "
        "within which ratios hold; the speed of the machine drifts from run to run."
    )
    lines += _machine(results["machine"])
    if "steps" in results["sections"]:
        lines += ["## In short", "", "One core, calls of 64 cells.", *headline(results)]
    lines += [line for name in figures for line in (f"![]({name})", "")]
    for name, (title, chapter) in _CHAPTERS.items():
        section = results["sections"].get(name)
        told = [f"{title}: {NOT_YET}."] if section is None else chapter(section, results)
        lines += [f"## {title}", "", *told, ""]
    lines += ["## On a GPU", "", *_gpu(results.get("gpu"))]
    text = "\n".join(lines)
    while "\n\n\n" in text:
        text = text.replace("\n\n\n", "\n\n")
    return text.rstrip() + "\n"


def inserted(text: str, lines: Sequence[str]) -> str:
    """Put lines between the marks BEGIN and END of a text, which stays as it is without them."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    return "\n".join([before + begin, *lines, end + after]) if begin and end else text
