"""The host's output as climate: means by region, height, season; how two runs differ; budgets."""

import math
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pyemu.variables import MODES, SPECIES, names

Array = NDArray[np.float64]
Means = dict[str, Array]
"""By quantity: (months, regions, bands), in the order of REGIONS and BANDS; of burdens one band."""

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
EARTH = 4.0 * math.pi * 6.371e6**2
"""[m2]"""


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
    for name in QUANTITIES:
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
        Relative: of global means `annual`, `month` (the largest), `trend` and its `doubt` (two
        standard errors) [a-1]; `region` (the largest of all seasons, regions, bands) and `where`.
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
    """How far two runs are from a third, by quantity.

    Annual global means, and the share of all months, regions and bands in which the second run is
    the nearer one.
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
    return [b"".join(np.atleast_1d(row)).decode().strip() for row in np.asarray(data[name].values)]


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
        found["outside"] = float(
            (tally["outside"] + tally["invalid"]) / sum(list(tally.values())[:4])
        )
    return found


def budgets(data: xr.Dataset) -> dict[str, dict[str, float]]:
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
        out = {
            key: -entry[processes.index(key)]
            for key in ("sedimentation", "dry_deposition", "wet_deposition")
        }
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


def drift(found: Means) -> dict[str, Any]:
    """Annual means of a run of years over that of the second, and the trend from there on."""
    years = len(found["burden_so4"]) // 12
    kept = {}
    for name in QUANTITIES:
        annual = found[name][: 12 * years, 0, 0].reshape(years, 12).mean(axis=1)
        series = annual / annual[min(1, years - 1)] - 1.0
        slope, doubt = trend(series[1:], 1.0)
        kept[name] = {"years": series.tolist(), "trend": slope, "doubt": doubt}
    return {"count": years, "of": kept}


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
