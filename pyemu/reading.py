"""One file of records, lazily: its variables collected, converted to our units, stacked."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr

from pyemu.mapping import RecordMap
from pyemu.units import conversion
from pyemu.variables import (
    DIAGNOSTICS,
    ENVIRONMENT,
    PROGNOSTICS,
    SPLIT,
    Variable,
    names,
    unknown,
)

Fields = dict[str, da.Array]
Air = Mapping[str, xr.DataArray]

SWITCHES = ("profile", "water", "nucleation", "organic_nucleation", "substeps")
"""Attributes that tell which M7 made the records; they agree among files read together."""
EXTRA = {"trajectory": "number of the trajectory", "regime": "kind of air"}
_GAS_CONSTANT = 287.04
"""Of dry air [J kg-1 K-1]."""
_BOLTZMANN = 1.380649e-23


def open_one(
    path: Path, chosen: RecordMap, own: bool, chunks: int
) -> tuple[Fields, dict[str, Any]]:
    """Open a file: variables by our names, (cell,), and its `SWITCHES`.

    `own` says that the names are ours, so that nearly right ones are refused. ValueError names
    the file and what is wrong with it.
    """
    if not path.is_file():
        raise ValueError(f"{path}: there is no such file")
    try:
        raw = xr.open_dataset(path, chunks="auto", engine="netcdf4", decode_times=False)
    except (OSError, RuntimeError) as error:
        raise ValueError(f"{path} is not a netCDF file: {error}") from None
    try:
        if own:
            refuse_misspelt(raw)
        switches = {name: raw.attrs[name] for name in SWITCHES if name in raw.attrs}
        if chosen.profile:
            switches["profile"] = chosen.profile
        return _stacked(fields(raw, chosen, own), chosen.dimensions, chunks), switches
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def fields(
    raw: xr.Dataset, chosen: RecordMap, own: bool, *, pairs: bool = True
) -> dict[str, xr.DataArray]:
    """Collect and convert all variables of a file; pressure and temperature come first.

    `pairs` says that there has to be a state after the step, too.
    """
    found: dict[str, xr.DataArray] = {}
    air: Air = {}
    for variable in ENVIRONMENT:
        found[variable.name] = _environment(raw, chosen, variable, air)
        if "temperature" in found and not air:
            air = _air(raw, chosen, found)
    for variable in PROGNOSTICS + DIAGNOSTICS:
        needed = variable.role != "diagnostic"
        ends = (variable.name, f"{variable.name}_after")
        if variable.name in chosen.absent:
            found |= {key: xr.zeros_like(found["pressure"]) for key in ends}
            continue
        source = chosen.source(variable.name)
        places = (source.name if source else None, chosen.after_name(variable.name))
        for key, name in zip(ends, places, strict=True):
            required = needed and (pairs or key == variable.name)
            if name is not None and (required or name in raw):
                found[key] = _converted(raw, variable, name, chosen, air)
            elif required:
                raise ValueError(f"the map does not say where {key} is; name it or list it absent")
    if own:
        found |= {name: raw[name] for name in (*names(SPLIT), *EXTRA) if name in raw}
    found["timestep"] = _timestep(raw, chosen)
    return {name: array.reset_coords(drop=True) for name, array in found.items()}


def refuse_misspelt(raw: xr.Dataset) -> None:
    """Refuse a name that is nearly one of ours and would otherwise be passed over."""
    known = {f"{v}{end}" for v in names(PROGNOSTICS + DIAGNOSTICS) for end in ("", "_after")}
    known |= {*names(ENVIRONMENT), *names(SPLIT), *EXTRA, "timestep"}
    for name in raw.data_vars:
        if name not in known and "did you mean" in (message := unknown(str(name), sorted(known))):
            raise ValueError(message)


def _pick(raw: xr.Dataset, name: str) -> xr.DataArray:
    if name not in raw.variables:
        have = [str(known) for known in raw.variables]
        raise ValueError(f"missing variable: {unknown(name, have)}")
    array: xr.DataArray = raw[name]
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{name} has type {array.dtype}; it needs real numbers")
    return array


def _environment(raw: xr.Dataset, chosen: RecordMap, variable: Variable, air: Air) -> xr.DataArray:
    """Environment before the step; its default where neither the map nor the file has it."""
    source = chosen.source(variable.name)
    if source is None:
        if variable.default is None:
            raise ValueError(f"the map does not say where {variable.name} is")
        return xr.DataArray(variable.default)
    if source.surface and source.a and source.b:
        return _pick(raw, source.a) + _pick(raw, source.b) * _pick(raw, source.surface)
    if source.value is not None or source.name is None:
        return xr.DataArray(source.value)
    own = source.name == variable.name
    if own and source.name not in raw and variable.default is not None:
        return xr.DataArray(variable.default)
    return _converted(raw, variable, source.name, chosen, air)


def _air(raw: xr.Dataset, chosen: RecordMap, found: Air) -> Air:
    """Density [kg m-3] of the air, with virtual temperature, and its molecules [cm-3]."""
    humid = _pick(raw, chosen.air_humidity) if chosen.air_humidity else xr.DataArray(0.0)
    ratio = found["pressure"] / found["temperature"]
    return {
        "air_mass": ratio / (_GAS_CONSTANT * (1.0 + 0.608 * humid)),
        "air_moles": ratio / _BOLTZMANN * 1e-6,
    }


def _converted(
    raw: xr.Dataset, variable: Variable, name: str, chosen: RecordMap, air: Air
) -> xr.DataArray:
    """Bring a file's variable to our unit, float64."""
    array = _pick(raw, name)
    source = chosen.variables[variable.name]
    unit = source.unit or array.attrs.get("units", "1" if variable.unit == "1" else None)
    if unit is None:
        raise ValueError(f"{name} has no units; name them in a map")
    how = conversion(variable, str(unit), source.molar_mass)
    array = array.astype(np.float64)
    if how.factor != 1.0:
        array = array * how.factor
    if how.per != "none":
        array = array * air[how.per]
    return array + how.offset if how.offset else array


def _timestep(raw: xr.Dataset, chosen: RecordMap) -> xr.DataArray:
    """Timestep [s]: of the map, a variable, or the attribute."""
    if chosen.timestep is not None:
        return xr.DataArray(chosen.timestep)
    if "timestep" in raw:
        unit = str(raw["timestep"].attrs.get("units", "s"))
        seconds = Variable(name="timestep", unit="s", role="environment", long_name="timestep")
        return _pick(raw, "timestep").astype(np.float64) * conversion(seconds, unit).factor
    if "timestep" not in raw.attrs:
        raise ValueError("no timestep: neither an attribute, nor a variable, nor in the map")
    return xr.DataArray(float(raw.attrs["timestep"]))


def _stacked(found: Mapping[str, xr.DataArray], order: tuple[str, ...], chunks: int) -> Fields:
    """Broadcast all variables over all dimensions and flatten these into one."""
    sizes: dict[str, int] = {}
    for name, array in found.items():
        for dimension, size in zip(array.dims, array.shape, strict=True):
            if sizes.setdefault(str(dimension), size) != size:
                raise ValueError(f"{name} has {size} {dimension}, others {sizes[str(dimension)]}")
    dimensions = order or tuple(sizes)
    extra = set(sizes) - set(dimensions)
    if extra:
        raise ValueError(f"dimensions {', '.join(sorted(extra))} are not in the map's")
    dimensions = tuple(d for d in dimensions if d in sizes)
    shape = tuple(sizes[d] for d in dimensions)
    if not shape or 0 in shape:
        raise ValueError("it holds no cells")
    fields: Fields = {}
    for name, array in found.items():
        missing = [d for d in dimensions if d not in array.dims]
        whole = array.expand_dims({d: sizes[d] for d in missing}).transpose(*dimensions)
        data = da.asarray(whole.data)
        # Only the first dimension in pieces: they then flatten without a shuffle.
        fields[name] = data.rechunk(dict.fromkeys(range(1, len(shape)), -1)).reshape(-1)
        fields[name] = fields[name].rechunk(chunks)
    return fields
