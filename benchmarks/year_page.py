"""What the runs of year.py say: differences by quantity, region, season and month, and the page."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pyemu.files import replaced, write_json
from pyemu.style import MODE_COLOURS, SPECIES_COLOURS, STYLE
from pyemu.variables import MODES, SPECIES, names

if TYPE_CHECKING:
    from year import Case

Array = NDArray[np.float64]
Means = dict[str, Array]
"""By quantity: (months, regions, bands); of burdens and events without bands only the first."""

REGIONS = {
    "globe": (-90, 90),
    "60-90S": (-90, -60),
    "30-60S": (-60, -30),
    "30S-30N": (-30, 30),
    "30-60N": (30, 60),
    "60-90N": (60, 90),
}
BANDS = {
    "column": (0.0, 1.0),
    "boundary layer": (0.85, 1.0),
    "free troposphere": (0.4, 0.85),
    "upper troposphere": (0.1, 0.4),
}
"""Pressure over 1013.25 hPa."""
SEASONS = {"DJF": (11, 0, 1), "MAM": (2, 3, 4), "JJA": (5, 6, 7), "SON": (8, 9, 10)}
LITTLE = 0.01
"""Share of the global mean below which a region or season is not judged."""
TARGETS = {f"burden_{name}": 0.01 for name in names(SPECIES)} | {
    f"num_{name}": 0.03 for name in names(MODES)
}
TARGETS |= {"number_above_50nm": 0.02}
"""Of annual means; months may differ by twice that (issue 6)."""
OTHERS = ("number_above_100nm", "condensation_sink", "formation_rate", "nucleation_event")
QUANTITIES = (*TARGETS, *OTHERS)
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
EARTH = 4.0 * math.pi * 6.371e6**2


def load(folder: Path, name: str) -> xr.Dataset | None:
    """All months of a run that there are, from the first on; None without any."""
    here, month = folder / name, 1
    while (here / f"{month:03d}.nc").exists():
        month += 1
    if month == 1:
        return None
    with xr.open_mfdataset(
        [here / f"{each:03d}.nc" for each in range(1, month)],
        combine="nested",
        concat_dim="time",
        data_vars="minimal",
        coords="minimal",
        compat="override",
        decode_times=False,
    ) as data:
        return data.load()


def means(data: xr.Dataset) -> Means:
    """Monthly means over regions and bands: per area of columns, per mass of air otherwise."""
    pressure = data["surface_pressure"].values[0]
    thickness = np.diff(data["hyai"].values)[:, None, None] + (
        np.diff(data["hybi"].values)[:, None, None] * pressure
    )
    area = np.abs(np.diff(np.sin(np.deg2rad(data["lat_bounds"].values)), axis=1))
    area = area * np.ones_like(pressure)
    latitude, level = data["lat"].values, data["lev"].values
    found: Means = {}
    for name in (*QUANTITIES, "burden_so2", "burden_h2so4"):
        field = data[name].values.astype(float)
        flat = field.ndim == 3
        means = np.full((field.shape[0], len(REGIONS), 1 if flat else len(BANDS)), np.nan)
        for (r, (south, north)), (b, (top, bottom)) in product(
            enumerate(REGIONS.values()), enumerate(BANDS.values())
        ):
            rows = (latitude > south) & (latitude < north)
            if flat and b == 0:
                weight = area[rows]
                means[:, r, 0] = (field[:, rows] * weight).sum((1, 2)) / weight.sum()
            elif not flat:
                layers = (level > top) & (level < bottom)
                weight = (area * thickness)[layers][:, rows]
                part = field[:, layers][:, :, rows]
                means[:, r, b] = (part * weight).sum((1, 2, 3)) / weight.sum()
        found[name] = means
    return found


def relative(other: Array, truth: Array, scale: float) -> Array:
    """Difference over the truth; NaN where the truth is next to nothing."""
    there = np.abs(truth) > LITTLE * scale
    return np.where(there, (other - truth) / np.where(there, truth, 1.0), np.nan)


def seasonal(months: Array) -> Array:
    """Means of the seasons of a whole year: (4, regions, bands)."""
    return np.array([months[list(chosen)].mean(axis=0) for chosen in SEASONS.values()])


def compare(other: Means, truth: Means) -> dict[str, dict[str, Any]]:
    """Differences of two runs over the months that both have, by quantity.

    Returns
    -------
    dict
        `annual`, `month` (the largest), `trend` and its `doubt` (two standard errors) [a-1] of global
        means; `region` (the largest of all seasons, regions and bands) and `where`; relative.
    """
    found = {}
    for name in QUANTITIES:
        count = min(len(other[name]), len(truth[name]), 12)
        o, t = other[name][:count], truth[name][:count]
        scale = float(np.abs(t[:, 0, 0]).mean())
        by_month = relative(o[:, 0, 0], t[:, 0, 0], scale)
        facts: dict[str, Any] = {
            "annual": float(o[:, 0, 0].mean() / t[:, 0, 0].mean() - 1.0),
            "month": float(by_month[np.nanargmax(np.abs(by_month))]),
            "months": by_month.tolist(),
        }
        if count == 12:
            facts["trend"], facts["doubt"] = trend(by_month, 12.0)
            gaps = relative(seasonal(o), seasonal(t), scale)
            worst = np.unravel_index(np.nanargmax(np.abs(gaps)), gaps.shape)
            facts["region"] = float(gaps[worst])
            s, r, b = (int(place) for place in worst)
            band = "" if gaps.shape[2] == 1 else f", {list(BANDS)[b]}"
            facts["where"] = f"{list(SEASONS)[s]}, {list(REGIONS)[r]}{band}"
        found[name] = facts
    return found


def trend(values: Array, per_year: float) -> tuple[float, float]:
    """Slope of a least-squares line [a-1], and two standard errors of it."""
    if len(values) < 3:
        return math.nan, math.nan
    time = np.arange(len(values)) / per_year
    slope, start = np.polyfit(time, values, 1)
    rest = values - start - slope * time
    error = math.sqrt((rest**2).sum() / (len(values) - 2) / ((time - time.mean()) ** 2).sum())
    return float(slope), 2.0 * error


def nearer(first: Means, second: Means, truth: Means) -> dict[str, dict[str, float]]:
    """How far two runs are from a third, by quantity: annual global means, and the share of all
    months, regions and bands in which the second is the nearer one.
    """
    found = {}
    for name in QUANTITIES:
        count = min(len(each[name]) for each in (first, second, truth))
        a, b, t = (each[name][:count] for each in (first, second, truth))
        scale = float(np.abs(t[:, 0, 0]).mean())
        gaps = [np.abs(relative(each, t, scale)) for each in (a, b)]
        judged = np.isfinite(gaps[0])
        found[name] = {
            "first": float(a[:, 0, 0].mean() / t[:, 0, 0].mean() - 1.0),
            "second": float(b[:, 0, 0].mean() / t[:, 0, 0].mean() - 1.0),
            "share": float((gaps[1] < gaps[0])[judged].mean()),
            "median_first": float(np.median(gaps[0][judged])),
            "median_second": float(np.median(gaps[1][judged])),
        }
    return found


def texts(data: xr.Dataset, name: str) -> list[str]:
    """Names held in a character variable."""
    return [
        b"".join(np.atleast_1d(row)).decode().strip() for row in np.asarray(data[name].values)
    ]


def ledger(data: xr.Dataset) -> dict[str, Any]:
    """Closure of the budgets and what each process lost, over what sources gave, at the end."""
    processes = texts(data, "process_name")
    total = data["ledger"].values[-1]
    given = np.abs(total[processes.index("emission")])
    inner = ("transport", "mixing", "convection", "chemistry", "microphysics", "borrowing")
    found: dict[str, Any] = {
        "months": int(data.sizes["time"]),
        "closure": float(np.abs(data["ledger_closure"].values).max()),
        "negatives": int(data["negatives"].values[-1]),
        "processes": {
            name: float((np.abs(total[processes.index(name)]) / given).max()) for name in inner
        },
    }
    if "cells" in data:
        tally = dict(zip(texts(data, "tally_name"), data["cells"].values[-1], strict=True))
        found["extrapolating"] = float(tally["extrapolating"] / sum(list(tally.values())[:4]))
        found["outside"] = float((tally["outside"] + tally["invalid"]) / sum(
            list(tally.values())[:4]
        ))
    return found


def climate(data: xr.Dataset) -> dict[str, dict[str, float]]:
    """Burdens [Tg], sources [Tg a-1] and lifetimes [days] of the months that there are."""
    processes, budgets = texts(data, "process_name"), texts(data, "budget_name")
    years = data.sizes["time"] / 12.0
    found = {}
    sulfate = 96.0631 / 32.065
    for name in names(SPECIES):
        budget = budgets.index("sulfur" if name == "so4" else name)
        entry = data["ledger"].values[-1, :, budget] * EARTH * 1e-9
        weights = np.abs(np.diff(np.sin(np.deg2rad(data["lat_bounds"].values)), axis=1))[:, 0]
        field = data[f"burden_{name}"].values.mean(axis=(0, 2))
        burden = float((field * weights).sum() / weights.sum() * EARTH * 1e-9)
        out = {key: -entry[processes.index(key)] for key in (
            "sedimentation", "dry_deposition", "wet_deposition")}
        source = entry[processes.index("emission")] / years
        if name == "so4":
            # Sulfur includes its gases: the lifetime of sulfate is not in the ledger.
            found[name] = {"burden": burden, "source": source * sulfate}
            continue
        found[name] = {
            "burden": burden,
            "source": source,
            "lifetime": 365.0 * burden / (sum(out.values()) / years),
            "wet": out["wet_deposition"] / sum(out.values()),
        }
    return found


def decade(found: Means) -> dict[str, Any]:
    """Annual means of a run of years over that of the second, and the trend from there on."""
    years = len(found["burden_so4"]) // 12
    kept = {}
    for name in QUANTITIES:
        annual = found[name][: 12 * years, 0, 0].reshape(years, 12).mean(axis=1)
        series = annual / annual[min(1, years - 1)] - 1.0
        slope, doubt = trend(series[1:], 1.0)
        kept[name] = {"years": series.tolist(), "trend": slope, "doubt": doubt}
    return {"count": years, "of": kept}


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
        spent = [json.loads(path.read_text())["seconds"] for path in sorted(
            (folder / case.name).glob("[0-9]*.json"))]
        kept[case.name] = means(data)
        known = json.loads((folder / case.name / "case.json").read_text())
        found["runs"][case.name] = ledger(data) | {
            "of": case.months,
            "seconds": sum(spent),
            "sha256": known.get("sha256"),
        }
        if case.name == "m7":
            found["climate"] = climate(data)
    for other, truth in PAIRS:
        if other in kept and truth in kept:
            found["pairs"][f"{other} - {truth}"] = compare(kept[other], kept[truth])
    if {"m7", "converged", "substeps"} <= set(kept):
        found["nearer"] = nearer(kept["m7"], kept["converged"], kept["substeps"])
    if "decade" in kept and len(kept["decade"]["burden_so4"]) >= 36:
        found["decade"] = decade(kept["decade"])
    if {"days_m7", "days_240"} <= set(kept):
        found["reference"] = {
            name: {
                short: float(kept[f"days_{short}"][name][0, 0, 0] / kept["days_240"][name][0, 0, 0])
                - 1.0
                for short in ("m7", "substeps", "converged")
                if f"days_{short}" in kept
            }
            for name in QUANTITIES
        }
    found["fast_as_accurate"] = same_bits(folder, "fast", "accurate")
    return found


def title(name: str) -> str:
    """Words for a quantity."""
    kind, _, what = name.partition("_")
    if kind == "burden":
        return f"burden of {what.upper()}"
    if kind == "num":
        return f"number of {what.upper()}"
    return {
        "number_above_50nm": "number above 50 nm",
        "number_above_100nm": "number above 100 nm",
        "condensation_sink": "condensation sink",
        "formation_rate": "formation of NS",
        "nucleation_event": "nucleation events",
    }[name]


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
    """The page as Markdown."""
    parts = [HEAD.format(grid=" x ".join(map(str, grid)))]
    rows = []
    for case in cases:
        run = found["runs"].get(case.name)
        what = f"`{case.model}`" if case.model else f"M7, {case.substeps} sub-step" + (
            "s" if case.substeps > 1 else "")
        what += f", {case.warming:+g} K" if case.warming else ""
        what += f", emissions x {case.emissions:g}" if case.emissions != 1.0 else ""
        if run is None:
            rows.append((f"`{case.name}`", what, f"**0 of {case.months}**", *["-"] * 5))
            continue
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
    parts.append(table(("run", "slot", "months", "closure", "worst process", "negatives",
                        "flagged 1 / 2-3 [%]", "s a month"), rows))
    parts.append(
        "`closure`: largest of all budgets and months, change of burden that sources and sinks do\n"
        "not account for over what came in; `worst process`: what transport, mixing, convection,\n"
        "chemistry, microphysics or borrowing lost of a budget in all, over its source; seconds of\n"
        "processor, on a machine that others used.\n"
    )
    if found["fast_as_accurate"] is not None:
        same = "the same to the bit" if found["fast_as_accurate"] else "not the same to the bit"
        parts.append(f"`fast` and `accurate`: {same} after a month, in all that is judged here.\n")
    if "climate" in found:
        parts.append("## The climate of the host with M7\n")
        parts.append(table(
            ("", "burden [Tg]", "AeroCom", "source [Tg a-1]", "lifetime [d]", "AeroCom", "wet [%]"),
            [(
                name.upper(), f"{one['burden']:.3g}", EXPECTED[name][0], f"{one['source']:.4g}",
                f"{one['lifetime']:.2g}" if "lifetime" in one else "-", EXPECTED[name][1],
                f"{100 * one['wet']:.0f}" if "wet" in one else "-",
            ) for name, one in found["climate"].items()],
        ))
        parts.append("Source of SO4: all sulfur, as sulfate, of which two fifths are deposited as\n"
                     "SO2.\n")
    for pair, facts in found["pairs"].items():
        other, truth = pair.split(" - ")
        parts.append(f"## `{other}` beside `{truth}`\n")
        parts.append(pair_table(facts))
    if found["nearer"]:
        parts.append("## Which is nearer to the sub-stepped M7\n")
        parts.append(table(
            ("[%]", "M7, one step: annual", "`converged`: annual", "nearer", "times",
             "`converged` nearer in", "median of M7", "of `converged`"),
            [(
                title(name), percent(one["first"]), percent(one["second"]),
                "`converged`" if abs(one["second"]) < abs(one["first"]) else "**M7**",
                f"{abs(one['first']) / max(abs(one['second']), 1e-12):.3g}",
                f"{100 * one['share']:.0f}", f"{100 * one['median_first']:.2g}",
                f"{100 * one['median_second']:.2g}",
            ) for name, one in found["nearer"].items()],
        ))
        parts.append("`nearer in` and medians: over all months, regions and bands.\n")
    if "reference" in found:
        parts.append("## How far the sub-stepped M7 is from 240 sub-steps\n")
        shown = list(found["reference"]["burden_so4"])
        parts.append("Four days from the same start, means beside those of M7 in 240 sub-steps.\n")
        parts.append(table(("[%]", *(f"`{short}`" for short in shown)), [
            (title(name), *(percent(one[short]) for short in shown))
            for name, one in found["reference"].items()
        ]))
    if "decade" in found:
        years = found["decade"]["count"]
        parts.append(f"## {years} years with `accurate` alone\n")
        parts.append(table(("[%] of the second year", "last year", "trend a-1 from the second on"), [
            (title(name), percent(one["years"][-1]),
             f"{percent(one['trend'])} ± {percent(one['doubt'])[1:]}")
            for name, one in found["decade"]["of"].items()
        ]))
    return "\n".join(parts)


HEAD = """# A year of the host, online

Written by `python benchmarks/year.py`, which makes every run from nothing, in months that restart
from one another, and goes on after a kill. {grid} cells, steps of 1800 s. After a year of spin-up
with M7 from the host's analytic start, all runs begin with its last state (`decade` too). Winds and
weather are prescribed, so runs differ by the microphysics alone, and what differs stays. Means of
columns are per area, of number by mode per mass of air, of the rest over air mass; a nucleation
event is a cell and timestep in which NS rises by more than 0.01 cm-3 s-1; radii are dry.

"""


def write(folder: Path, cases: Sequence["Case"], target: Path) -> None:
    """Write year.md, year.json and the figures of what there is."""
    found = evaluate(folder, cases)
    write_json(target / "year.json", found)
    with replaced(target / "year.md") as temporary:
        temporary.write_text(page(found, cases, cases[0].grid))
