"""A box of air told to people: a table, and a figure."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from rich.table import Table

from pyemu.box import SULFATE_PER_MICROGRAM, burden
from pyemu.files import replaced
from pyemu.style import MODE_COLOURS, SPECIES_COLOURS, STYLE
from pyemu.variables import MODES, SPECIES, Mode

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[np.float64]

_SMALLEST = 1e-4
"""Number that is worth showing [cm-3]."""


def size_distribution(number: Array, radius: Array, mode: Mode, at: Array) -> Array:
    """dN/dlnr of a log-normal mode [cm-3], (n, k), of numbers and median radii (n,) at radii (k,).

    Zero where there is no particle or no radius.
    """
    there = (number > 0.0) & (radius > 0.0)
    middle = np.where(there, radius, 1.0)[:, np.newaxis]
    height = np.where(there, number, 0.0)[:, np.newaxis] / (np.sqrt(2.0 * np.pi) * mode.ln_sigma)
    return np.asarray(height * np.exp(-0.5 * (np.log(at / middle) / mode.ln_sigma) ** 2))


def box_table(facts: Mapping[str, Any]) -> Table:
    """Lay out a box's summary (`pyemu.box.summary`) as a table."""
    table = Table(title=f"Box of M7 at its end: {facts['regime']}, {facts['profile']}")
    table.add_column("what")
    table.add_column("value", justify="right")
    table.add_column("unit")
    for mode in MODES:
        amount = f"{facts['number'][mode.name]:.4g}"
        table.add_row(f"number, {mode.long_name} ({mode.name.upper()})", amount, "cm-3")
    table.add_section()
    for species in SPECIES:
        amount = f"{facts['burden'][species.name]:.4g}"
        table.add_row(f"burden, {species.long_name} ({species.name.upper()})", amount, "ug m-3")
    table.add_section()
    worst = max(facts["closure"], key=lambda name: facts["closure"][name])
    table.add_row(
        f"worst closure of a step ({worst.upper()})", f"{facts['closure'][worst]:.1e}", "1"
    )
    worst = max(facts["budget"], key=lambda name: facts["budget"][name])
    table.add_row(
        f"worst budget of the run ({worst.upper()})", f"{facts['budget'][worst]:.1e}", "1"
    )
    table.add_row("negatives", str(facts["negatives"]), "1")
    steps = f"{facts['steps']} x {facts['timestep']:g} s"
    table.add_row(f"microphysics, {steps}", f"{facts['microphysics_seconds']:.3f}", "s")
    return table


def box_figure(data: xr.Dataset, path: Path) -> None:
    """Draw a box run (`pyemu.box.run`) into a PNG file, whole or not at all."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(STYLE):  # type: ignore[arg-type]
        figure = Figure(figsize=(11.0, 10.5))
        grid = figure.add_gridspec(
            3,
            2,
            height_ratios=(1.35, 1.0, 1.0),
            left=0.075,
            right=0.97,
            bottom=0.055,
            top=0.915,
            wspace=0.2,
            hspace=0.42,
        )
        _banana(figure, figure.add_subplot(grid[0, :]), data)
        for place, panel in enumerate((_numbers, _masses, _vapour_fate, _vapour)):
            axes = figure.add_subplot(grid[1 + place // 2, place % 2])
            panel(axes, data)
            _days(axes, data)
        figure.suptitle(
            f"M7 in a box of air: {data.attrs['regime'].replace('_', ' ')}",
            x=0.075,
            y=0.985,
            ha="left",
            fontsize=15,
            fontweight="bold",
        )
        figure.text(
            0.075,
            0.95,
            f"profile {data.attrs['profile']}, steps of {data.attrs['timestep']:g} s; "
            "nights are shaded",
            fontsize=10,
            color="#555555",
        )
        with replaced(path) as temporary:
            figure.savefig(temporary, dpi=150)


def _hours(data: xr.Dataset) -> Array:
    """Time of each record since the first midnight [h]."""
    seconds = data.attrs["timestep"] * np.arange(1, data.sizes["time"] + 1)
    return np.asarray(seconds / 3600.0)


def _days(axes: "Axes", data: xr.Dataset) -> None:
    """Time axis in hours with the nights shaded."""
    end = float(_hours(data)[-1])
    step = next(s for s in (1, 2, 3, 6, 12, 24, 48, 96, 240, 480) if end / s <= 13 or s == 480)
    axes.set_xlim(0.0, end)
    axes.set_xticks(np.arange(0.0, end + 1e-9, step))
    axes.set_xlabel("hours since the first midnight")
    for midnight in np.arange(0.0, end + 24.0, 24.0):
        axes.axvspan(midnight - 6.0, midnight + 6.0, color="#1b2a49", alpha=0.07, lw=0, zorder=-1)


def _title(axes: "Axes", title: str, columns: int = 0) -> None:
    """Title at the left, the legend in one row beneath it."""
    axes.set_title(title, pad=22 if columns else 8)
    if columns:
        axes.legend(
            ncols=columns,
            loc="lower left",
            bbox_to_anchor=(-0.012, 0.985),
            handlelength=1.1,
            handletextpad=0.5,
            columnspacing=1.1,
            borderaxespad=0.2,
        )


def _banana(figure: "Figure", axes: "Axes", data: xr.Dataset) -> None:
    from matplotlib import colormaps
    from matplotlib.colors import LogNorm

    radii = np.geomspace(3e-8, 1e-3, 400)
    density = np.zeros((data.sizes["time"], radii.size))
    for mode in MODES:
        number = data[f"num_{mode.name}"].to_numpy()
        radius = data[f"wet_radius_{mode.name}"].to_numpy()
        density += size_distribution(number, radius, mode, radii)
    top = 10.0 ** np.ceil(np.log10(max(float(density.max()), 1.0)))
    hours = _hours(data)
    image = axes.pcolormesh(
        np.concatenate([[0.0], hours]),
        np.concatenate([radii, [radii[-1] * radii[1] / radii[0]]]) * 1e7,
        density.T,
        norm=LogNorm(top * 1e-5, top),
        cmap=colormaps["turbo"].with_extremes(under="white"),
        shading="flat",
        rasterized=True,
    )
    axes.set_yscale("log")
    axes.set_ylim(radii[0] * 1e7, radii[-1] * 1e7)
    axes.set_ylabel("ambient radius [nm]")
    _title(axes, "Size distribution dN/dln r")
    _days(axes, data)
    figure.colorbar(image, ax=axes, label="dN/dln r [cm$^{-3}$]", pad=0.012, fraction=0.045)


def _numbers(axes: "Axes", data: xr.Dataset) -> None:
    shown = [mode for mode in MODES if float(data[f"num_{mode.name}"].max()) > _SMALLEST]
    for mode in shown:
        axes.plot(
            _hours(data),
            data[f"num_{mode.name}"],
            color=MODE_COLOURS[mode.name],
            ls="-" if mode.soluble else (0, (3, 1.5)),
            lw=1.8,
            label=mode.name.upper(),
        )
    axes.set_yscale("log")
    axes.set_ylim(_SMALLEST, 3.0 * max(float(data[f"num_{m.name}"].max()) for m in MODES) + 1.0)
    axes.set_ylabel("number [cm$^{-3}$]")
    _title(axes, "Particles by mode", len(MODES))


def _masses(axes: "Axes", data: xr.Dataset) -> None:
    shown = [species for species in SPECIES if burden(data, species.name).max() > 0.0]
    axes.stackplot(
        _hours(data),
        [burden(data, species.name) for species in shown],
        labels=[species.long_name for species in shown],
        colors=[SPECIES_COLOURS[species.name] for species in shown],
        lw=0,
    )
    axes.set_ylabel("mass [µg m$^{-3}$]")
    _title(axes, "Particulate mass by species", len(SPECIES))


def _vapour_fate(axes: "Axes", data: xr.Dataset) -> None:
    per_hour = 3600.0 / data.attrs["timestep"] / SULFATE_PER_MICROGRAM * 1e3
    fate = {mode.name.upper(): data[f"condensed_{mode.name}"] * per_hour for mode in MODES}
    fate["new"] = data["nucleated_so4"] * per_hour
    colours = {mode.name.upper(): MODE_COLOURS[mode.name] for mode in MODES} | {"new": "#58c4b0"}
    shown = [name for name, rate in fate.items() if float(rate.max()) > 0.0]
    axes.stackplot(
        _hours(data),
        [fate[name] for name in shown],
        labels=shown,
        colors=[colours[name] for name in shown],
        lw=0,
    )
    made = data["produced_so4"] * per_hour
    axes.plot(_hours(data), made, color="black", lw=1.0, ls=(0, (4, 2)), label="produced")
    axes.set_ylabel("SO$_4$ [ng m$^{-3}$ h$^{-1}$]")
    _title(axes, "Condensation of H$_2$SO$_4$ by mode, and nucleation", len(MODES) + 2)


def _vapour(axes: "Axes", data: xr.Dataset) -> None:
    axes.plot(_hours(data), data["h2so4"], color="#d1495b", lw=1.8)
    axes.set_yscale("log")
    most = float(data["h2so4"].max())
    axes.set_ylim(max(most * 1e-6, 1e-3), max(most * 3.0, 1.0))
    axes.set_ylabel("H$_2$SO$_4$ [cm$^{-3}$]")
    _title(axes, "H$_2$SO$_4$ vapour")
