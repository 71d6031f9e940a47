"""Files of states in slabs: read, converted and checked piece by piece, on their own dimensions.

A file of any size is read in constant memory; what cannot be right is refused with the file, its
variable, the place and the value. `pyemu.replay` steps slabs.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pyemu.mapping import RecordMap
from pyemu.reading import fields, refuse_misspelt
from pyemu.records import WATERS
from pyemu.state import ROUND_OFF
from pyemu.variables import ENVIRONMENT, GAS, MASSES, MOST, NUMBERS, PROGNOSTICS, lookup, names

Array = NDArray[np.float64]
Where = Mapping[str, slice]
Missing = Literal["refuse", "keep"]

INPUTS = names(ENVIRONMENT + PROGNOSTICS)
TRUTH = tuple(f"{name}_after" for name in (*names(PROGNOSTICS), *WATERS))
_AIR = 3e19
"""Molecules of air at the ground [cm-3]: there is less of anything else."""
_LIMITS: Mapping[str, tuple[float, float]] = {
    "pressure": (0.0, 2e5),
    "temperature": (100.0, 400.0),
    "h2so4_production": (-_AIR, _AIR),
    "ion_pair_production": (0.0, 1e9),
    **{v.name: (-_AIR, _AIR) for v in GAS + MASSES if v.unit == "cm-3"},
    **{v.name: (-1e9, 1e9) for v in MASSES if v.unit == "ug m-3"},
    **{v.name: (-1e12, 1e12) for v in NUMBERS},
}
"""What is beyond is a fill value that the file does not declare, or has another unit."""


@dataclass(frozen=True, kw_only=True)
class StateFile:
    """A netCDF file of states, or of pairs, and how to read it.

    `sizes` are its dimensions, those of the state first, in the file's order; `chunks` their sizes
    on disk. `after` lists the states after the step that it has, of `TRUTH`; `defaults` the
    environment that it lacks and that takes its default.
    """

    path: Path
    chosen: RecordMap
    own: bool
    sizes: Mapping[str, int]
    chunks: Mapping[str, int]
    after: tuple[str, ...]
    defaults: tuple[str, ...]
    regime: bool
    timestep: float | None
    """[s], where all cells have the same"""

    @property
    def cells(self) -> int:
        """All of them."""
        return math.prod(self.sizes.values())

    @property
    def pairs(self) -> bool:
        """Tell whether it has the state after the step, water or no water."""
        return all(f"{name}_after" in self.after for name in names(PROGNOSTICS))

    def open(self) -> xr.Dataset:
        """Open it; nothing is read yet."""
        return _open(self.path)

    def read(self, raw: xr.Dataset, where: Where) -> dict[str, Array]:
        """Read a slab in our units: name -> (cells of the slab,), in the order of `sizes`.

        ValueError as of `fields`, with the file's name.
        """
        try:
            found = fields(raw.isel(where), self.chosen, self.own, pairs=False)
        except ValueError as error:
            raise ValueError(f"{self.path}: {error}") from None
        extra = ("timestep", "regime") if self.regime else ("timestep",)
        shape = {d: where[d].stop - where[d].start for d in self.sizes}
        values = {}
        for name in (*INPUTS, *self.after, *extra):
            array = found[name]
            missing = {d: n for d, n in shape.items() if d not in array.dims}
            whole = array.expand_dims(missing).transpose(*shape)
            values[name] = np.array(whole.to_numpy(), dtype=np.float64).reshape(-1)
        return values

    def check(
        self, raw: xr.Dataset, where: Where, values: Mapping[str, Array], missing: Missing
    ) -> NDArray[np.bool_]:
        """Refuse what cannot be right, clip in place what is so by rounding.

        Returns
        -------
        array
            (cells,) which cells have a missing value; without "keep" these are refused.

        Raises
        ------
        ValueError
            Naming file, variable, place, value and what is allowed.
        """
        lost = np.zeros(len(values["temperature"]), dtype=bool)
        for key in (*INPUTS, *self.after, "timestep"):
            column = values[key]
            nothing = np.isnan(column)
            if missing == "refuse" or key == "timestep":
                self._refuse(key, where, column, nothing, "--missing keep leaves such cells out")
            lost |= nothing
            if key == "timestep":
                self._refuse(key, where, column, ~nothing & ~(column > 0.0), "above 0 s")
                continue
            name = key.removesuffix("_after")
            variable = lookup(name)
            low, high = _LIMITS.get(name, (variable.minimum, variable.maximum))
            slack = 0.0
            if variable.role == "environment" and high == 1.0:
                slack = max(ROUND_OFF, self._grain(raw, name))
            wrong = (column < low - slack) | (column > high + slack) | np.isinf(column)
            if variable.above:
                wrong |= column <= low
            if variable.role == "diagnostic":  # water, which M7's own fit may leave negative
                wrong = np.abs(column) > MOST
            told = f"{low:g} to {high:g} {variable.unit}, in our unit"
            self._refuse(key, where, column, wrong, told)
            if slack:
                np.clip(column, low, high, out=column)
        return lost

    def source(self, key: str) -> str:
        """Name of a variable in the file."""
        if key == "timestep":
            return key
        name = key.removesuffix("_after")
        if key != name:
            return self.chosen.after_name(name) or key
        found = self.chosen.source(name)
        if found is None:
            return name
        return found.name or found.surface or name

    def _grain(self, raw: xr.Dataset, key: str) -> float:
        """Step of a packed variable [1], by which it may miss a bound."""
        name = self.source(key)
        return abs(float(raw[name].encoding.get("scale_factor", 0.0))) if name in raw else 0.0

    def _refuse(
        self, key: str, where: Where, column: Array, wrong: NDArray[np.bool_], told: str
    ) -> None:
        if not wrong.any():
            return
        place = int(np.argmax(wrong))
        shape = [where[d].stop - where[d].start for d in self.sizes]
        spot = np.unravel_index(place, shape)
        at = ", ".join(
            f"{d}={where[d].start + int(k)}" for d, k in zip(self.sizes, spot, strict=True)
        )
        name = self.source(key)
        label = name if name == key else f"{name} ({key})"
        value = "missing" if np.isnan(column[place]) else f"{column[place]:g}"
        raise ValueError(
            f"{self.path}: {label} at {at} is {value}, {int(wrong.sum())} cell(s) like it; "
            + (told if value == "missing" else f"allowed is {told}")
        )


def open_states(path: Path, chosen: RecordMap, own: bool) -> StateFile:
    """Look into a file: dimensions, units, what it has.

    Parameters
    ----------
    own
        The names are ours, so that nearly right ones are refused.

    Raises
    ------
    ValueError
        No netCDF, a missing or misspelt variable, an unknown unit or calendar, no cells.
    """
    inputs = (*INPUTS, *WATERS)
    sources = {name: given for name, given in chosen.variables.items() if name in inputs}
    chosen = replace(chosen, variables=sources)
    raw = _open(path)
    try:
        if own:
            refuse_misspelt(raw)
        _check_calendar(raw)
        first = fields(raw.isel({str(d): slice(0, 1) for d in raw.dims}), chosen, own, pairs=False)
        dims = dict.fromkeys(str(d) for d in first[names(PROGNOSTICS)[0]].dims)
        dims |= dict.fromkeys(str(d) for name in INPUTS for d in first[name].dims)
        sizes = {d: raw.sizes[d] for d in dims}
        _check_sizes(sizes, chosen)
        found = StateFile(
            path=path,
            chosen=chosen,
            own=own,
            sizes=sizes,
            chunks={},
            after=tuple(name for name in TRUTH if name in first),
            defaults=tuple(_defaults(raw, chosen)),
            regime=own and "regime" in first,
            timestep=None if first["timestep"].dims else float(first["timestep"]),
        )
        state = raw[found.source(names(PROGNOSTICS)[-1])] if raw.data_vars else None
        pieces = (state.encoding.get("chunksizes") if state is not None else None) or ()
        told = zip(map(str, state.dims), pieces, strict=False) if state is not None else ()
        return replace(found, chunks=dict(told))
    except (ValueError, KeyError) as error:
        raise ValueError(f"{path}: {error}") from None
    finally:
        raw.close()


def slabs(file: StateFile, most: int) -> Iterator[dict[str, slice]]:
    """Cut a file into slabs of about `most` cells: whole in its last dimensions, in its order."""
    dims, sizes = list(file.sizes), list(file.sizes.values())
    split = next(k for k in range(len(dims)) if math.prod(sizes[k + 1 :]) <= most)
    inner = math.prod(sizes[split + 1 :])
    step = max(1, most // inner)
    chunk = file.chunks.get(dims[split], 1)
    if chunk > 1 and chunk * inner <= 4 * most:
        step = max(1, step // chunk) * chunk  # a piece on disk is then read once
    starts = [range(n) for n in sizes[:split]] + [range(0, sizes[split], step)]
    for begin in product(*starts):
        where = {d: slice(k, k + 1) for d, k in zip(dims[:split], begin[:split], strict=True)}
        where[dims[split]] = slice(begin[split], min(begin[split] + step, sizes[split]))
        yield where | {d: slice(0, file.sizes[d]) for d in dims[split + 1 :]}


def check_alike(files: Sequence[StateFile]) -> None:
    """Refuse files that cannot follow each other along the first dimension; ValueError says why."""
    first = files[0]
    joined = next(iter(first.sizes))
    for other in files[1:]:
        if list(other.sizes) != list(first.sizes):
            has, wanted = (", ".join(f.sizes) for f in (other, first))
            raise ValueError(f"{other.path}: dimensions {has}; {first.path} has {wanted}")
        for d, n in other.sizes.items():
            if d != joined and n != first.sizes[d]:
                raise ValueError(f"{other.path}: {n} {d}; {first.path} has {first.sizes[d]}")
        for what in ("after", "regime"):
            if getattr(other, what) != getattr(first, what):
                raise ValueError(f"{other.path}: other states after the step than {first.path}")


def _open(path: Path) -> xr.Dataset:
    if not path.is_file():
        raise ValueError(f"{path}: there is no such file")
    try:
        return xr.open_dataset(path, engine="netcdf4", decode_times=False, cache=False)
    except (OSError, RuntimeError) as error:
        raise ValueError(f"{path} is not a netCDF file: {error}") from None


def _check_sizes(sizes: Mapping[str, int], chosen: RecordMap) -> None:
    extra = set(sizes) - set(chosen.dimensions)
    if chosen.dimensions and extra:
        raise ValueError(f"dimensions {', '.join(sorted(extra))} are not in the map's")
    if not sizes or 0 in sizes.values():
        raise ValueError("it holds no cells")


def _check_calendar(raw: xr.Dataset) -> None:
    """Refuse a time that CF's calendars cannot read; a date as a number, as ECHAM has, is one."""
    import cftime

    for name, variable in raw.variables.items():
        unit, calendar = variable.attrs.get("units"), variable.attrs.get("calendar", "standard")
        if " since " not in str(unit) or not variable.size:
            continue
        first = np.ravel(variable.isel({d: slice(0, 1) for d in variable.dims}).to_numpy())
        try:
            cftime.num2date(first, str(unit), calendar=str(calendar).lower())
        except ValueError as error:
            raise ValueError(f"{name} has unit '{unit}', calendar '{calendar}': {error}") from None


def _defaults(raw: xr.Dataset, chosen: RecordMap) -> Iterator[str]:
    for variable in ENVIRONMENT:
        source = chosen.source(variable.name)
        named = source.name if source else None
        if source is None or (named is not None and named not in raw.variables):
            yield variable.name
