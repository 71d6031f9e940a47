"""Figures of `pyemu report` that results come without: drawn from their JSON and their fields."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pyemu.replay import Replay
from pyemu.slabs import StateFile
from pyemu.style import MODE_COLOURS, SPECIES_COLOURS, STYLE
from pyemu.variables import SPECIES, lookup, masses_of, names

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[np.float64]

SHOWN = ("num_ns", "num_ks", "so4_as", "bc_ki")
"""Tendencies that are shown of a replay: nucleation, coagulation, condensation, ageing."""
_INSTANTS = 8
_COLUMNS = {
    "burden_so4": "sulfate",
    "burden_bc": "black carbon",
    "burden_du": "dust",
    "num_column_as": "particles of AS",
}
_SMALL = 1e-3
_AXES = {"lon": "longitude [degrees east]", "lat": "latitude [degrees north]", "lev": "level"}


def variables_figure(r2: Mapping[str, float | None], persistence: float = 1.0) -> "Figure":
    """Draw what R2 lacks to 1, by variable."""
    told = {n: v for n, v in r2.items() if v is not None}
    with _figure(9.0, 1.0 + 0.17 * len(told)) as drawn:
        axes = drawn.subplots()
        lack = np.clip([1.0 - v for v in told.values()], 1e-9, 1e2)
        colours = [SPECIES_COLOURS.get(n.split("_")[0], "#6b6b6b") for n in told]
        axes.hlines(range(len(told)), 1e-9, lack, color=colours, lw=1.2, alpha=0.5)
        axes.scatter(lack, range(len(told)), color=colours, s=18, zorder=3)
        axes.set_yticks(range(len(told)), list(told))
        axes.set_ylim(len(told) - 0.4, -0.6)
        axes.set_xscale("log")
        axes.set_xlim(max(1e-9, float(lack.min()) / 3.0), max(3.0, float(lack.max()) * 2.0))
        axes.axvline(0.01, color="0.4", lw=0.8, ls=(0, (4, 3)))
        axes.axvline(persistence, color="0.4", lw=0.8)
        axes.set_xlabel("1 - R2 of the tendency")
        axes.grid(axis="x", lw=0.3)
    return drawn


def burden_maps(m7: xr.Dataset, emulator: xr.Dataset) -> "Figure":
    """Draw time means of columns with M7, with the emulator, and the difference."""
    with _figure(11.0, 2.25 * len(_COLUMNS)) as drawn:
        grid = drawn.subplots(len(_COLUMNS), 3, sharex=True, sharey=True)
        for row, (name, label) in zip(grid, _COLUMNS.items(), strict=True):
            truth, other = (d[name].mean("time").to_numpy() for d in (m7, emulator))
            unit = m7[name].attrs["units"]
            title = f"{label} [{unit}]"
            _maps(drawn, row, m7["lon"], m7["lat"], truth, other, title)
        for axes in grid[-1]:
            axes.set_xlabel("longitude [degrees east]")
        for axes in grid[:, 0]:
            axes.set_ylabel("latitude")
    return drawn


def profiles_figure(m7: xr.Dataset, emulator: xr.Dataset) -> "Figure":
    """Draw global mean profiles of masses and numbers of both runs, over their last day."""
    weight = xr.DataArray(np.cos(np.deg2rad(m7["lat"].to_numpy())), dims="lat")

    def profile(data: xr.Dataset, wanted: Sequence[str]) -> Array:
        field = sum(data[name] for name in wanted)
        assert isinstance(field, xr.DataArray)
        some = field.isel(time=slice(-4, None)).mean(("time", "lon"))
        return np.asarray(some.weighted(weight).mean("lat"))

    height = profile(m7, ["pressure"]) / 100.0
    with _figure(11.0, 4.6) as drawn:
        axes = drawn.subplots(1, 2, sharey=True)
        masses = {s.upper(): (names(masses_of(s)), 1e9, c) for s, c in SPECIES_COLOURS.items()}
        numbers = {m.upper(): ([f"num_{m}"], 1e-6, c) for m, c in MODE_COLOURS.items()}
        for one, lines, unit in (
            (axes[0], masses, "µg kg$^{-1}$"),
            (axes[1], numbers, "mg$^{-1}$"),
        ):
            most = 0.0
            for label, (wanted, scale, colour) in lines.items():
                truth = scale * profile(m7, wanted)
                most = max(most, float(truth.max()))
                one.plot(truth, height, color=colour, lw=3.4, alpha=0.35)
                one.plot(
                    scale * profile(emulator, wanted), height, color=colour, lw=1.2, label=label
                )
            one.set_xscale("log")
            one.set_xlim(most * 1e-6, most * 2.0)
            one.set_xlabel(f"mixing ratio [{unit}]")
            one.legend(ncols=2)
        _pressure_axis(axes[0], height)
    return drawn


def budget_figure(runs: Mapping[str, xr.Dataset]) -> "Figure":
    """Draw what each process of the host put in and took out, by species, for each run."""
    with _figure(11.0, 3.6) as drawn:
        axes = drawn.subplots(1, len(SPECIES), sharey=True)
        for place, (label, data) in enumerate(runs.items()):
            budgets, processes = (_texts(data[n]) for n in ("budget_name", "process_name"))
            ledger = data["ledger"].isel(time=-1).to_numpy()
            for one, species, change in zip(axes, budgets, 1e6 * ledger.T, strict=True):
                heights = np.arange(len(processes)) + 0.2 - 0.4 * place
                colour = SPECIES_COLOURS.get(species, SPECIES_COLOURS["so4"])
                alpha = 1.0 if place else 0.4
                one.barh(heights, change, 0.38, label=label, color=colour, alpha=alpha)
                one.set_title(species.upper())
                one.axvline(0.0, color="0.5", lw=0.6)
                one.set_xlabel("mg m$^{-2}$")
        axes[0].set_yticks(range(len(processes)), processes)
        axes[0].invert_yaxis()
        axes[-1].legend()
    return drawn


def replay_figures(facts: Mapping[str, Any]) -> dict[str, "Figure"]:
    """Draw zonal means, maps and profiles of tendencies in a replay, M7's beside the emulator's.

    Of some instants, evenly spread. Empty where the fields have no latitude and longitude.
    """
    with xr.open_dataset(facts["output"], decode_times=False) as out:
        axis = _axes(out)
        if "lat" not in axis or "lon" not in axis:
            return {}
        if axis["lat"] == axis["lon"] or next(iter(out["flag"].dims)) in axis.values():
            return {}
        found = _tendencies(facts)
        coordinates = {k: out[d].to_numpy() for k, d in axis.items() if d in out.variables}
    found = {k: d.rename({v: n for n, v in axis.items()}) for k, d in found.items()}
    drawn = {"maps": _replay_fields(found, coordinates, "lon", "lat")}
    if "lev" in axis:
        drawn |= {
            "zonal": _replay_fields(found, coordinates, "lat", "lev"),
            "profiles": _replay_profiles(found, coordinates),
        }
    return drawn


def _tendencies(facts: Mapping[str, Any]) -> dict[str, xr.Dataset]:
    """Mean tendencies [unit h-1] over some instants, of the emulator and, where known, of M7."""
    plan = Replay(
        model=Path(facts["model_file"]),
        inputs=tuple(map(Path, facts["inputs"])),
        output=Path(facts["output"]),
        map=facts["map"],
        timestep=facts["timestep"],
    )
    file = plan.files()[0]
    joined = next(iter(file.sizes))
    sums: dict[str, dict[str, Array]] = {}
    axis = [d for d in file.sizes if d != joined]
    shape = tuple(file.sizes[d] for d in axis)
    instants = np.unique(np.linspace(0, file.sizes[joined] - 1, _INSTANTS).astype(int))
    with file.open() as raw, xr.open_dataset(facts["output"], decode_times=False) as out:
        for k in instants:
            one = _part_of(file, int(k))
            values = file.read(raw, one)
            step = values["timestep"] / 3600.0
            late = out.isel({joined: int(k)})
            for name in SHOWN:
                before = values[name]
                told = {"emulator": late[f"{name}_after"].to_numpy().reshape(-1)}
                if file.pairs:
                    told["M7"] = values[f"{name}_after"]
                for who, after in told.items():
                    change = ((after - before) / step).reshape(shape) / len(instants)
                    held = sums.setdefault(who, {})
                    held[name] = held.get(name, 0.0) + change
    return {
        who: xr.Dataset({n: (axis, v) for n, v in fields.items()}) for who, fields in sums.items()
    }


def _part_of(file: StateFile, k: int) -> dict[str, slice]:
    joined, *others = file.sizes
    return {joined: slice(k, k + 1)} | {d: slice(0, file.sizes[d]) for d in others}


def _replay_fields(
    found: Mapping[str, xr.Dataset], at: Mapping[str, Array], x: str, y: str
) -> "Figure":
    """Means over all but two dimensions: a row each beside M7's, or two by two without it."""
    runs = [who for who in ("M7", "emulator") if who in found]
    alone = len(runs) == 1
    with _figure(9.5 if alone else 11.4, 5.2 if alone else 2.4 * len(SHOWN)) as drawn:
        shape = (2, 2) if alone else (len(SHOWN), 3)
        grid = drawn.subplots(*shape, sharex=True, sharey=True, squeeze=False)
        rows = [[axes] for axes in grid.flat] if alone else list(grid)
        for row, name in zip(rows, SHOWN, strict=True):
            fields = {}
            for who in runs:
                field = found[who][name]
                rest = [d for d in field.dims if d not in (x, y)]
                fields[who] = field.mean(rest).transpose(y, x).to_numpy()
            across, up = (at.get(d, np.arange(found[runs[0]].sizes[d])) for d in (x, y))
            _signed(drawn, row, across, up, fields, _label(name))
        for axes in grid[-1]:
            axes.set_xlabel(_AXES[x])
        for axes in grid[:, 0]:
            axes.set_ylabel(_AXES[y])
        if y == "lev":
            grid[0, 0].set_ylim(*_down(up))
    return drawn


def _replay_profiles(found: Mapping[str, xr.Dataset], at: Mapping[str, Array]) -> "Figure":
    with _figure(11.0, 3.8) as drawn:
        panels = drawn.subplots(1, len(SHOWN), sharey=True)
        latitude = at.get("lat", np.zeros(found["emulator"].sizes["lat"]))
        weight = xr.DataArray(np.cos(np.deg2rad(latitude)), dims="lat")
        for axes, name in zip(panels, SHOWN, strict=True):
            looks: dict[str, Any] = {"M7": {"lw": 3.6, "alpha": 0.35}, "emulator": {"lw": 1.2}}
            for who, look in looks.items():
                if who not in found:
                    continue
                field = found[who][name]
                rest = [d for d in field.dims if d != "lev"]
                line = field.weighted(weight).mean(rest).to_numpy()
                level = at.get("lev", np.arange(len(line)))
                axes.plot(line, level, color="#1f5fa8", label=who, **look)
            axes.axvline(0.0, color="0.5", lw=0.6)
            axes.set_title(_label(name))
            reach = float(f"{max(float(np.abs(line).max()), 1e-300):.0e}")
            axes.set_xscale("symlog", linthresh=_SMALL * reach, linscale=0.5)
            ticks = [-reach, -0.03 * reach, 0.0, 0.03 * reach, reach]
            axes.set_xticks(ticks, [f"{tick:.0e}" if tick else "0" for tick in ticks], rotation=60)
            axes.minorticks_off()
        panels[0].set_ylabel("level")
        panels[0].set_ylim(*_down(level))
        panels[0].legend()
    return drawn


def _label(name: str) -> str:
    unit = lookup(name).unit.replace("ug", "µg")
    kind, _, mode = name.partition("_")
    what = "number" if kind == "num" else kind.upper()
    return f"{what} {mode.upper()} [{unit} h-1]"


def _down(level: NDArray[Any]) -> tuple[float, float]:
    """Limits of an axis whose ground, where pressure and level number are largest, is below."""
    return float(np.max(level)), float(np.min(level))


def _axes(data: xr.Dataset) -> dict[str, str]:
    """Dimensions that are latitude, longitude and level, by what CF or their names say."""
    found: dict[str, str] = {}
    for dim in map(str, data["flag"].dims):
        attributes = data[dim].attrs if dim in data.variables else {}
        unit, axis = str(attributes.get("units", "")), str(attributes.get("axis", ""))
        if (unit.startswith("degree") and unit.endswith("north")) or dim in ("lat", "latitude"):
            found["lat"] = dim
        elif (unit.startswith("degree") and unit.endswith("east")) or dim in ("lon", "longitude"):
            found["lon"] = dim
        elif axis == "Z" or "positive" in attributes or dim in ("lev", "level", "mlev", "plev"):
            found["lev"] = dim
    return found


def _maps(
    drawn: "Figure",
    row: Sequence["Axes"],
    x: Any,
    y: Any,
    truth: Array,
    other: Array,
    title: str,
) -> None:
    top = float(truth.max()) or 1.0
    for axes, field, who in ((row[0], truth, "M7"), (row[1], other, "emulator")):
        image = axes.pcolormesh(x, y, field, vmin=0.0, vmax=top, cmap="viridis", rasterized=True)
        axes.set_title(f"{title}: {who}" if who == "M7" else who)
    drawn.colorbar(image, ax=list(row[:2]), aspect=12)
    gap = 100.0 * (other - truth) / top
    reach = max(float(np.abs(gap).max()), 1e-9)
    image = row[2].pcolormesh(x, y, gap, vmin=-reach, vmax=reach, cmap="RdBu_r", rasterized=True)
    row[2].set_title("emulator - M7, % of M7's largest")
    drawn.colorbar(image, ax=row[2], aspect=12)


def _signed(
    drawn: "Figure",
    row: Sequence["Axes"],
    x: Any,
    y: Any,
    fields: Mapping[str, Array],
    title: str,
) -> None:
    """Fields of either sign on one symmetric logarithmic scale, and their difference."""
    from matplotlib.colors import SymLogNorm

    reach = max(float(np.nanmax(np.abs(f))) for f in fields.values()) or 1.0
    norm = SymLogNorm(linthresh=_SMALL * reach, vmin=-reach, vmax=reach)
    look: dict[str, Any] = {"cmap": "RdBu_r", "shading": "nearest", "rasterized": True}
    for place, (who, field) in enumerate(fields.items()):
        image = row[place].pcolormesh(x, y, field, norm=norm, **look)
        row[place].set_title(f"{title}: {who}" if place == 0 else who)
    bar = drawn.colorbar(image, ax=list(row[: len(fields)]), aspect=12)
    bar.set_ticks([-reach, -reach * 0.03, 0.0, reach * 0.03, reach])
    bar.set_ticklabels([f"{v:.1e}" for v in (-reach, -reach * 0.03, 0.0, reach * 0.03, reach)])
    if len(fields) == 2:
        one, other = fields.values()
        gap = 100.0 * (other - one) / reach
        most = max(float(np.nanmax(np.abs(gap))), 1e-12)
        image = row[2].pcolormesh(x, y, gap, vmin=-most, vmax=most, **look)
        row[2].set_title("difference, % of the largest")
        drawn.colorbar(image, ax=row[2], aspect=12)


def _pressure_axis(axes: "Axes", height: Array) -> None:
    axes.set_yscale("log")
    axes.set_ylim(float(height.max()), max(float(height.min()), 1.0))
    ticks = [t for t in (1000, 700, 500, 300, 200, 100, 50, 20, 10) if t >= height.min()]
    axes.set_yticks(ticks, [str(t) for t in ticks])
    axes.minorticks_off()
    axes.set_ylabel("pressure [hPa]")


def _texts(names_: xr.DataArray) -> list[str]:
    return [v.decode().strip() for v in names_.to_numpy()]


@contextmanager
def _figure(width: float, height: float) -> Iterator["Figure"]:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(STYLE):  # type: ignore[arg-type]
        yield Figure(figsize=(width, height), layout="constrained")
