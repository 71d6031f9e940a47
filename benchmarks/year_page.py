"""What the runs of year.py say, as a page and its figures."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
import year_figures

from pyemu.climate import (
    QUANTITIES,
    TARGETS,
    Means,
    budgets,
    compare,
    drift,
    ledger,
    load,
    means,
    nearer,
    title,
)
from pyemu.files import replaced, write_json

if TYPE_CHECKING:
    from year import Case

PAIRS = (
    ("accurate", "m7"),
    ("warm_accurate", "warm_m7"),
    ("double_accurate", "double_m7"),
    ("learned", "m7"),
    ("warm_learned", "warm_m7"),
    ("double_learned", "double_m7"),
    ("converged", "substeps"),
    ("m7", "substeps"),
)
"""An emulator and its teacher; last, M7's single step beside its sub-stepped self."""
EXPECTED = {
    "so4": ("1.5-2.5", "4-5"),
    "bc": ("0.1-0.2", "5-8"),
    "oc": ("1-2", "5-7"),
    "ss": ("5-12", "0.3-1"),
    "du": ("15-25", "3-5"),
}
"""Burdens [Tg] and lifetimes [days] of AeroCom's models (Textor et al. 2006, Gliss et al. 2021)."""


def same_bits(folder: Path, first: str, second: str) -> bool | None:
    """Whether the first month of two runs is the same to the bit; None if either is missing."""
    paths = [folder / name / "001.nc" for name in (first, second)]
    if not all(path.exists() for path in paths):
        return None
    a, b = (xr.open_dataset(path, decode_times=False).load() for path in paths)
    return all(np.array_equal(a[name].values, b[name].values) for name in QUANTITIES)


def evaluate(folder: Path, cases: Sequence["Case"]) -> dict[str, Any]:
    """Everything that the page shows."""
    found: dict[str, Any] = {"runs": {}, "pairs": {}, "nearer": {}}
    kept: dict[str, Means] = {}
    for case in cases:
        data = load(folder, case.name)
        if data is None:
            continue
        spent = [
            json.loads(path.read_text())["seconds"]
            for path in sorted((folder / case.name).glob("[0-9]*.json"))
        ]
        kept[case.name] = means(data)
        known = json.loads((folder / case.name / "case.json").read_text())
        found["runs"][case.name] = ledger(data) | {
            "of": case.months,
            "seconds": sum(spent),
            "sha256": known.get("sha256"),
        }
        if case.name == "m7":
            found["climate"] = budgets(data)
    for other, truth in PAIRS:
        if other in kept and truth in kept:
            found["pairs"][f"{other} - {truth}"] = compare(kept[other], kept[truth])
    if {"m7", "converged", "substeps"} <= set(kept):
        found["nearer"] = nearer(kept["m7"], kept["converged"], kept["substeps"])
    if "decade" in kept and len(kept["decade"]["burden_so4"]) >= 36:
        found["decade"] = drift(kept["decade"])
    if {"near_m7", "near_240"} <= set(kept):
        count = min(len(kept[f"near_{run}"]["burden_so4"]) for run in ("m7", "240"))
        found["reference"] = {
            "months": count,
            "of": {
                name: {
                    run: float(
                        kept[f"near_{run}"][name][:count, 0, 0].mean()
                        / kept["near_240"][name][:count, 0, 0].mean()
                    )
                    - 1.0
                    for run in ("m7", "substeps", "converged")
                    if len(kept.get(f"near_{run}", {}).get(name, ())) >= count
                }
                for name in QUANTITIES
            },
        }
    found["fast_as_accurate"] = same_bits(folder, "fast", "accurate")
    return found


def percent(value: float | None) -> str:
    """Of a share, with sign and three digits."""
    if value is None or not math.isfinite(value):
        return "-"
    return "0" if value == 0.0 else f"{100.0 * value:+.2g}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def pair_table(pair: Mapping[str, Mapping[str, Any]]) -> str:
    """Table of a pair, in percent."""
    rows = []
    for name, facts in pair.items():
        wanted = TARGETS.get(name)
        met = "-"
        if wanted is not None:
            held = abs(facts["annual"]) <= wanted and abs(facts["month"]) <= 2.0 * wanted
            met = f"{100 * wanted:.0f}: {'met' if held else '**missed**'}"
        rows.append(
            (
                title(name),
                percent(facts["annual"]),
                percent(facts["month"]),
                f"{percent(facts['region'])} ({facts['where']})" if "region" in facts else "-",
                f"{percent(facts['trend'])} ± {percent(facts['doubt'])[1:]}"
                if "trend" in facts
                else "-",
                met,
            )
        )
    return table(
        ("[%]", "annual", "worst month", "worst season and region", "trend a-1", "target"), rows
    )


def page(found: Mapping[str, Any], cases: Sequence["Case"], grid: Sequence[int]) -> str:
    """Write the page as Markdown."""
    parts = [HEAD.format(grid=" x ".join(map(str, grid)))]
    rows = []
    for case in cases:
        run = found["runs"].get(case.name)
        what = (
            f"`{case.model}`"
            if case.model
            else f"M7, {case.substeps} sub-step" + ("s" if case.substeps > 1 else "")
        )
        what += f", {case.warming:+g} K" if case.warming else ""
        what += f", emissions x {case.emissions:g}" if case.emissions != 1.0 else ""
        if run is None:
            rows.append((f"`{case.name}`", what, f"**0 of {case.months}**", *["-"] * 5))
            continue
        if run["sha256"]:
            what += f" ({run['sha256'][:8]})"
        months = f"{run['months']} of {case.months}"
        rows.append(
            (
                f"`{case.name}`",
                what,
                months if run["months"] == case.months else f"**{months}**",
                f"{run['closure']:.1e}",
                f"{max(run['processes'].values()):.1e}",
                str(run["negatives"]),
                f"{100 * run['extrapolating']:.2g} / {100 * run['outside']:.2g}"
                if "outside" in run
                else "-",
                f"{run['seconds'] / run['months']:.1f}",
            )
        )
    parts.append(
        table(
            (
                "run",
                "slot",
                "months",
                "closure",
                "worst process",
                "negatives",
                "flagged 1 / 2-3 [%]",
                "s a month",
            ),
            rows,
        )
    )
    parts.append(
        "`closure`: largest of all budgets and months, change of burden that sources and sinks\n"
        "do not account for over what came in; `worst process`: what transport, mixing,\n"
        "convection, chemistry, microphysics or borrowing lost of a budget in all, over its\n"
        "source; in brackets, the SHA-256 of the model file; flags: cells that extrapolate, and\n"
        "those outside or invalid; seconds of processor, on a machine that others used.\n"
    )
    if found["fast_as_accurate"] is not None:
        same = "the same to the bit" if found["fast_as_accurate"] else "not the same to the bit"
        parts.append(f"`fast` and `accurate`: {same} after a month, in all that is judged here.\n")
    if "climate" in found:
        parts.append("## The climate of the host with M7\n")
        parts.append(
            table(
                (
                    "",
                    "burden [Tg]",
                    "AeroCom",
                    "source [Tg a-1]",
                    "lifetime [d]",
                    "AeroCom",
                    "wet [%]",
                ),
                [
                    (
                        name.upper(),
                        f"{one['burden']:.3g}",
                        EXPECTED[name][0],
                        f"{one['source']:.4g}",
                        f"{one['lifetime']:.2g}" if "lifetime" in one else "-",
                        EXPECTED[name][1],
                        f"{100 * one['wet']:.0f}" if "wet" in one else "-",
                    )
                    for name, one in found["climate"].items()
                ],
            )
        )
        parts.append(
            "Source of SO4: all sulfur, as sulfate, of which two fifths are deposited as\nSO2.\n"
        )
    for pair, facts in found["pairs"].items():
        other, truth = pair.split(" - ")
        parts.append(f"## `{other}` beside `{truth}`\n")
        parts.append(pair_table(facts))
    if found["pairs"]:
        parts.append("![Differences by month](year_months.png)\n\nDashed: targets for months.\n")
    if found["nearer"]:
        parts.append("## Which is nearer to the sub-stepped M7\n")
        parts.append(
            table(
                (
                    "[%]",
                    "M7, one step: annual",
                    "`converged`: annual",
                    "nearer",
                    "times",
                    "`converged` nearer in",
                    "median of M7",
                    "of `converged`",
                ),
                [
                    (
                        title(name),
                        percent(one["first"]),
                        percent(one["second"]),
                        "`converged`" if abs(one["second"]) < abs(one["first"]) else "**M7**",
                        f"{abs(one['first']) / max(abs(one['second']), 1e-12):.3g}",
                        f"{100 * one['share']:.0f}",
                        f"{100 * one['median_first']:.2g}",
                        f"{100 * one['median_second']:.2g}",
                    )
                    for name, one in found["nearer"].items()
                ],
            )
        )
        parts.append(
            "`nearer in` and medians: over all months, regions and bands. How far the sub-stepped\n"
            "run itself is from 240 sub-steps is told below.\n"
        )
        parts.append("![Distance from the sub-stepped M7](year_nearer.png)\n")
    if "reference" in found:
        parts.append("## How far the sub-stepped M7 is from 240 sub-steps\n")
        shown = list(found["reference"]["of"]["burden_so4"])
        parts.append(
            f"{found['reference']['months']} months from the same start, on the coarser grid of "
            "`decade`, beside M7 in 240 sub-steps.\n"
        )
        parts.append(
            table(
                ("[%]", *(f"`{short}`" for short in shown)),
                [
                    (title(name), *(percent(one[short]) for short in shown))
                    for name, one in found["reference"]["of"].items()
                ],
            )
        )
    if "decade" in found:
        years = found["decade"]["count"]
        parts.append(f"## {years} years with `accurate` alone\n")
        parts.append(
            table(
                ("[%] of the second year", "last year", "trend a-1 from the second on"),
                [
                    (
                        title(name),
                        percent(one["years"][-1]),
                        f"{percent(one['trend'])} ± {percent(one['doubt'])[1:]}",
                    )
                    for name, one in found["decade"]["of"].items()
                ],
            )
        )
        parts.append("![Ten years](year_decade.png)\n")
    return "\n".join(parts)


HEAD = """# A year of the host, online

Written by `python benchmarks/year.py`, which makes every run from nothing, in months that restart
from one another, and goes on after a kill. {grid} cells, steps of 1800 s. All runs of a year begin
with the last state of a year of spin-up with M7, `decade` with the host's analytic start, on a
coarser grid. Winds and weather are prescribed, so runs differ by the microphysics alone. Means of
burdens are per area, of numbers and all else over the mass of air; a nucleation event is a cell and
timestep in which NS rises by more than 0.01 cm-3 s-1; radii are dry. Targets are those of issue 6:
annual means, and twice that for months. The worst season and region is that of all seasons, five
belts of latitude and, but for burdens, three layers (above 0.85, 0.4 and 0.1 of the pressure at the
ground) that hold at least 1 % of the global mean; trends are lines through the months' differences,
with two standard errors.
"""


def write(folder: Path, cases: Sequence["Case"], target: Path) -> None:
    """Write year.md, year.json and the figures of what there is."""
    found = evaluate(folder, cases)
    write_json(target / "year.json", found)
    year_figures.draw_months(found, target / "year_months.png")
    year_figures.draw_nearer(found, target / "year_nearer.png")
    year_figures.draw_decade(found, target / "year_decade.png")
    with replaced(target / "year.md") as temporary:
        temporary.write_text(page(found, cases, cases[0].grid))
