"""The file that a replay fills: its variables, and the coordinates of the files replayed."""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np

from pyemu.modelfile import digest, read
from pyemu.records import described
from pyemu.replaycells import LEFT_OUT, SEEN, STATES
from pyemu.slabs import StateFile
from pyemu.variables import lookup

_PIECE = 1 << 20
"""Values in memory at a time."""
_OF_CREATION = {"_FillValue"}
_FLAGS = "fine extrapolating outside invalid"


def create(path: Path, files: Sequence[StateFile], model: Path, *, tendencies: bool) -> None:
    """Lay out the output, with the coordinates of `files`, which follow each other.

    Contiguous and with room taken from the start: filling it then changes nothing but values, so
    that a kill leaves a file that can be filled on.
    """
    content, first = read(model), files[0]
    joined = next(iter(first.sizes))
    with netCDF4.Dataset(path, "w", format="NETCDF4") as out:
        out.set_fill_off()
        out.setncatts(
            {
                "Conventions": "CF-1.11",
                "title": f"what {content.title} makes of the states of {first.path.name}",
                "source": f"m7emu replay, model {model.name}, {digest(model)}",
                "history": "pyemu replay " + " ".join(str(f.path) for f in files),
                "teacher": content.teacher,
            }
        )
        if len({f.timestep for f in files}) == 1 and first.timestep is not None:
            out.setncattr("timestep", first.timestep)
        for d, n in first.sizes.items():
            out.createDimension(d, sum(f.sizes[d] for f in files) if d == joined else n)
        _copy_coordinates([f.path for f in files], out, joined, _levels(first))
        late = [f"{n}_after" for n in (*STATES, *SEEN)]
        late += [f"{n}_tendency" for n in STATES] if tendencies else []
        corner = tuple(n - 1 for n in (len(out.dimensions[d]) for d in first.sizes))
        for name in (*late, "uncertainty", "flag"):
            kind, nothing = ("i1", LEFT_OUT) if name == "flag" else ("f8", math.nan)
            variable = out.createVariable(
                name, kind, tuple(first.sizes), fill_value=nothing, contiguous=True
            )
            variable.setncatts(_attributes(name))
            variable[corner] = nothing


def _attributes(name: str) -> dict[str, Any]:
    if name == "uncertainty":
        told = "expected error of the step, of the tendencies' standard deviation"
        return {"units": "1", "long_name": told}
    if name == "flag":
        values = np.arange(4, dtype=np.int8)
        return {"long_name": "flag of the emulator", "flag_values": values, "flag_meanings": _FLAGS}
    if name.endswith("_tendency"):
        variable = lookup(name.removesuffix("_tendency"))
        told = f"tendency of {variable.long_name} by the emulator"
        unit = "s-1" if variable.unit == "1" else f"{variable.unit} s-1"
        return {"units": unit, "long_name": told}
    return described(name)


def _levels(file: StateFile) -> tuple[str, ...]:
    """Coefficients of hybrid levels that a map names."""
    source = file.chosen.source("pressure")
    return tuple(n for n in ((source.a, source.b) if source else ()) if n)


def _copy_coordinates(
    paths: Sequence[Path], out: netCDF4.Dataset, joined: str, also: Iterable[str] = ()
) -> None:
    """Copy coordinates, their bounds and formula terms of files that follow each other.

    Those along `joined` are put together, times in the first file's unit; others are the first
    file's, and the same in all.

    Parameters
    ----------
    out
        Has the dimensions of the state; others are made.
    also
        More names to copy.

    Raises
    ------
    ValueError
        Coordinates that differ, a joined one that does not go on, calendars that differ.
    """
    sources = [netCDF4.Dataset(path) for path in paths]
    try:
        for source in sources:
            source.set_auto_maskandscale(False)
        for name in _wanted(sources[0], out, also):
            for path, source in zip(paths, sources, strict=True):
                if name not in source.variables:
                    raise ValueError(f"{path}: no coordinate {name}; {paths[0]} has it")
            _copy(name, paths, sources, out, joined)
    finally:
        for source in sources:
            source.close()


def _wanted(source: netCDF4.Dataset, out: netCDF4.Dataset, also: Iterable[str]) -> list[str]:
    """Coordinates on the dimensions of the state, and what they and the state refer to."""
    found = dict.fromkeys(d for d in out.dimensions if d in source.variables)
    found |= dict.fromkeys(n for n in also if n in source.variables)
    refer = ("coordinates", "grid_mapping", "bounds", "climatology", "formula_terms")
    for name, variable in source.variables.items():
        if name in found or set(variable.dimensions) >= set(out.dimensions):
            for key in refer:
                told = str(getattr(variable, key, "")).split()
                found |= dict.fromkeys(n for n in told if n in source.variables)
    for name in list(found):
        for key in ("bounds", "climatology", "formula_terms"):
            told = str(getattr(source.variables[name], key, "")).split()
            found |= dict.fromkeys(n for n in told if n in source.variables)
    return [
        name
        for name in found
        if getattr(source.variables[name].dtype, "kind", "O") in "iufSU"
        and source.variables[name].dtype is not str
    ]


def _copy(
    name: str,
    paths: Sequence[Path],
    sources: Sequence[netCDF4.Dataset],
    out: netCDF4.Dataset,
    joined: str,
) -> None:
    first = sources[0][name]
    for d in first.dimensions:
        if d not in out.dimensions:
            out.createDimension(d, len(sources[0].dimensions[d]))
    made = out.createVariable(
        name, first.dtype, first.dimensions, fill_value=getattr(first, "_FillValue", None)
    )
    made.set_auto_maskandscale(False)
    made.setncatts({k: first.getncattr(k) for k in first.ncattrs() if k not in _OF_CREATION})
    if joined not in first.dimensions:
        made[...] = first[...]
        for path, source in zip(paths[1:], sources[1:], strict=True):
            if not np.array_equal(source[name][...], first[...]):
                raise ValueError(f"{path}: {name} differs from that of {paths[0]}")
        return
    axis = first.dimensions.index(joined)
    place, last = 0, None
    for path, source in zip(paths, sources, strict=True):
        variable = source[name]
        size = variable.shape[axis]
        rest = max(1, int(np.prod(variable.shape)) // max(size, 1))
        for begin in range(0, size, max(1, _PIECE // rest)):
            end = min(size, begin + max(1, _PIECE // rest))
            some = [slice(None)] * len(first.dimensions)
            some[axis] = slice(begin, end)
            values = _in_unit(path, variable, variable[tuple(some)], first)
            if first.dimensions == (joined,) and name == joined and len(paths) > 1:
                last = _goes_on(path, name, values, last)
            some[axis] = slice(place + begin, place + end)
            made[tuple(some)] = values
        place += size


def _goes_on(path: Path, name: str, values: Any, last: Any) -> Any:
    """Refuse a coordinate that does not rise from file to file."""
    if last is not None and not values[0] > last:
        raise ValueError(
            f"{path}: {name} = {values[0]:g} does not go on from {last:g}; give files in order"
        )
    return values[-1]


def _clock(variable: Any) -> tuple[str | None, str]:
    """Tell unit and calendar; bounds have those of what they bound."""
    group, name = variable.group(), variable.name
    whose = [v for v in group.variables.values() if name == getattr(v, "bounds", None)]
    told = variable if hasattr(variable, "units") or not whose else whose[0]
    return getattr(told, "units", None), str(getattr(told, "calendar", "standard")).lower()


def _in_unit(path: Path, variable: Any, values: Any, first: Any) -> Any:
    """Bring times to the first file's unit."""
    import cftime

    (unit, one), (wanted, other) = _clock(variable), _clock(first)
    if one != other:
        raise ValueError(f"{path}: {variable.name} has calendar '{one}', the first file '{other}'")
    if unit == wanted:
        return values
    if " since " not in str(unit) or " since " not in str(wanted):
        raise ValueError(f"{path}: {variable.name} has unit '{unit}', the first file '{wanted}'")
    dates = cftime.num2date(values, unit, calendar=one)
    return cftime.date2num(dates, wanted, calendar=one)
