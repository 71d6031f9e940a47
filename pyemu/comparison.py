"""Table and figures of the host with M7 and with an emulator (`pyemu.online`)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from rich.markup import escape
from rich.table import Table

from pyemu.files import replaced
from pyemu.online import RUNS, OnlineConfig, burdens, numbers, output
from pyemu.style import MODE_COLOURS, SPECIES_COLOURS, STYLE
from pyemu.variables import MODES, SPECIES, masses_of, names

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[np.float64]

_LOOKS = {"m7": {"lw": 3.2, "alpha": 0.35}, "emulator": {"lw": 1.2, "alpha": 1.0}}
"""The emulator as a thin line on a broad one, so that either is seen where they agree."""
_ZONAL = {
    "sulfate [ug kg-1]": names(masses_of("so4")),
    "BC + OC [ug kg-1]": names(masses_of("bc")) + names(masses_of("oc")),
    "NS [cm-3 STP]": ["num_ns"],
    "KS [cm-3 STP]": ["num_ks"],
    "AS [cm-3 STP]": ["num_as"],
}
_STANDARD_DENSITY = 1.292
"""Of air at 273.15 K and 1013.25 hPa [kg m-3]."""


def table(facts: Mapping[str, Any], evaluation: Mapping[str, Any]) -> Table:
    """Lay out `pyemu.online.facts` and the scores of the emulator on the M7 run's records."""
    grid = " x ".join(map(str, facts["grid"]))
    shown = Table(title=f"The host, {facts['days']:g} days, {grid} cells")
    for name, justify in (("what", "left"), ("M7", "right"), ("emulator", "right")):
        shown.add_column(name, justify=justify)  # type: ignore[arg-type]
    shown.add_column("difference", justify="right")
    m7, other = (facts["runs"][name] for name in RUNS)
    for key, label in (
        ("seconds_microphysics", "seconds in microphysics, over threads"),
        ("seconds", "seconds in all"),
    ):
        shown.add_row(label, f"{m7[key]:.2f}", f"{other[key]:.2f}", f"x {other[key] / m7[key]:.2f}")
    for kind, scale, unit, full in (
        ("burden", 1.0, "mg m-2", {s.name: s.long_name for s in SPECIES}),
        ("number", 1e-10, "1e10 m-2", {m.name: m.long_name for m in MODES}),
    ):
        shown.add_section()
        for name, each in facts[kind].items():
            shown.add_row(
                escape(f"{kind}, {full[name]} [{unit}]"),
                *(f"{each[run] * scale:.4g}" for run in RUNS),
                f"{100.0 * each['largest_difference']:.2g} %",
            )
    shown.add_section()
    worst = [max(run["closure"].values()) for run in (m7, other)]
    shown.add_row("worst budget of the run, relative", *(f"{value:.1e}" for value in worst), "")
    shown.add_row("negative values", str(m7["negatives"]), str(other["negatives"]), "")
    shown.add_section()
    shown.add_row("mean tendency R2, M7's own states", "", f"{evaluation['mean_r2']:.5f}", "")
    lowest = f"{evaluation['worst_r2']:.5f}"
    shown.add_row(f"worst: {evaluation['worst_variable']}", "", lowest, "")
    shown.caption = "difference: largest over time, relative to the largest value of M7"
    return shown


def _days(data: xr.Dataset) -> Array:
    """Middle of each mean, days since the start."""
    bounds = data["time_bounds"].values.astype("datetime64[s]").astype(float)
    return np.asarray((bounds.mean(axis=1) - bounds[0, 0]) / 86400.0)


def series_figure(config: OnlineConfig, path: Path) -> None:
    """Draw burdens and numbers of both runs over time, and their differences, into a PNG."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with (
        mpl.rc_context(STYLE),  # type: ignore[arg-type]
        xr.open_dataset(output(config, "m7")) as m7,
        xr.open_dataset(output(config, "emulator")) as emulator,
    ):
        drawn = Figure(figsize=(11.0, 7.2), layout="constrained")
        drawn.suptitle(
            f"The host with M7 (broad) and with the emulator (thin), {config.days:g} days",
            fontsize=14,
            fontweight="bold",
        )
        grid = drawn.subplots(2, 2, sharex=True, gridspec_kw={"height_ratios": (1.6, 1.0)})
        for column, (series, colours, title) in enumerate(
            (
                (burdens, SPECIES_COLOURS, "Global mean burden [mg m$^{-2}$]"),
                (numbers, MODE_COLOURS, "Global mean number in the column [m$^{-2}$]"),
            )
        ):
            truth, other = series(m7), series(emulator)
            for name, colour in colours.items():
                for line, look in ((truth[name], _LOOKS["m7"]), (other[name], _LOOKS["emulator"])):
                    label = name.upper() if look is _LOOKS["emulator"] else None
                    grid[0, column].semilogy(_days(m7), line, color=colour, label=label, **look)
                gap = 100.0 * (other[name] - truth[name]) / np.abs(truth[name]).max()
                grid[1, column].plot(_days(m7), gap, color=colour, lw=1.2)
            grid[0, column].set_title(title)
            grid[0, column].legend(ncols=7, loc="upper center", bbox_to_anchor=(0.5, -0.01))
            grid[1, column].set_title("Emulator minus M7, of M7's largest [%]")
            grid[1, column].axhline(0.0, color="0.6", lw=0.8, zorder=0)
            grid[1, column].set_xlabel("days")
        with replaced(path) as temporary:
            drawn.savefig(temporary, dpi=130)


def _zonal(data: xr.Dataset, variables: Sequence[str]) -> xr.DataArray:
    """Zonal mean of the last day: ug kg-1 of masses, cm-3 at standard conditions of numbers."""
    field = sum(data[name] for name in variables)
    scale = _STANDARD_DENSITY * 1e-6 if variables[0].startswith("num") else 1e9
    assert isinstance(field, xr.DataArray)
    return field.isel(time=slice(-4, None)).mean(("time", "lon")) * scale


def zonal_figure(config: OnlineConfig, path: Path) -> None:
    """Draw zonal means of both runs side by side, and their ratio, into a PNG."""
    import matplotlib as mpl
    from matplotlib.colors import LogNorm
    from matplotlib.figure import Figure

    with (
        mpl.rc_context(STYLE),  # type: ignore[arg-type]
        xr.open_dataset(output(config, "m7")) as m7,
        xr.open_dataset(output(config, "emulator")) as emulator,
    ):
        pressure = m7["pressure"].isel(time=-1).mean(("lat", "lon")).values / 100.0
        latitude = m7["lat"].values
        drawn = Figure(figsize=(11.5, 12.5), layout="constrained")
        drawn.suptitle("Zonal means of the last day", fontsize=14, fontweight="bold")
        grid = drawn.subplots(len(_ZONAL), 3, sharex=True, sharey=True)
        for axes, (title, variables) in zip(grid, _ZONAL.items(), strict=True):
            truth, other = (_zonal(data, variables).values for data in (m7, emulator))
            top = float(truth.max())
            norm = LogNorm(top * 1e-4, top)
            for place, field, run in ((0, truth, "M7"), (1, other, "emulator")):
                shown = np.maximum(field, top * 1e-4)
                image = axes[place].pcolormesh(latitude, pressure, shown, norm=norm, cmap="viridis")
                axes[place].set_title(f"{title}, {run}")
            drawn.colorbar(image, ax=axes[:2], aspect=15)
            there = truth > top * 1e-4
            share = np.where(there, other / np.where(there, truth, 1.0) - 1.0, np.nan)
            reach = max(float(np.nanmax(np.abs(share))), 1e-6)
            image = axes[2].pcolormesh(
                latitude,
                pressure,
                100.0 * share,
                cmap="RdBu_r",
                vmin=-100 * reach,
                vmax=100 * reach,
            )
            axes[2].set_title("emulator / M7 - 1 [%]")
            drawn.colorbar(image, ax=axes[2], aspect=15)
            _heights(axes[0])
        for axes in grid[-1]:
            axes.set_xlabel("latitude [degrees north]")
        with replaced(path) as temporary:
            drawn.savefig(temporary, dpi=110)


def _heights(axes: "Axes") -> None:
    axes.set_yscale("log")
    axes.set_ylim(1000.0, 10.0)
    axes.set_yticks(
        [1000, 500, 200, 100, 50, 20, 10], ["1000", "500", "200", "100", "50", "20", "10"]
    )
    axes.set_ylabel("pressure [hPa]")
    axes.set_xticks([-90, -60, -30, 0, 30, 60, 90])
