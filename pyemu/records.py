"""Records: netCDF files of cells before and after a step, read out of core in our names and units.

A variable per name of `pyemu.variables` over the dimension `cell`, the state after the step as
`<name>_after`; see design.md, Records. `pyemu.sampling` writes them.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask.array as da
import netCDF4
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pyemu.files import replaced
from pyemu.mapping import RecordMap, plain, read_map
from pyemu.reading import EXTRA, SWITCHES, open_one
from pyemu.regimes import REGIMES
from pyemu.state import pack
from pyemu.variables import ENVIRONMENT, PROGNOSTICS, SOLUBLE, lookup, names

Array = NDArray[np.float64]

SPUN_UP, HOST = "spun_up", "host"
KINDS = (*REGIMES, "space_filling", "mixed", SPUN_UP, HOST)
"""What `regime` counts from 0: kinds of `pyemu.states`, states of `states.spun_up`, the host's."""
WATERS = tuple(f"water_{mode.name}" for mode in SOLUBLE)
CHUNK = 65536


@dataclass(frozen=True, kw_only=True)
class Cells:
    """Records in memory: matrices (ncell, n) in the order of `pyemu.variables`, float64.

    `water` before and `water_after` (ncell, 4) are None where the records do not have them; so
    is `regime`, places in `KINDS` (ncell,). `timestep` [s] is (ncell,).
    """

    environment: Array
    before: Array
    after: Array
    timestep: Array
    water: Array | None = None
    water_after: Array | None = None
    regime: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.timestep)


def open_records(
    paths: str | Path | Iterable[str | Path],
    map: RecordMap | str | Path | None = None,  # noqa: A002 - the option's name
    chunks: int = CHUNK,
) -> xr.Dataset:
    """Open records lazily: dask arrays over `cell`, float64, in our names and units.

    Parameters
    ----------
    paths
        netCDF files, joined along `cell`; all other dimensions are stacked into it.
    map
        A map of foreign names, its path, or the name of a shipped one; None reads our own.
    chunks
        Cells in memory at a time.

    Returns
    -------
    Dataset
        Environment, prognostics, `<prognostic>_after`, `timestep` [s], and what else all files
        have: diagnostics, split labels, `trajectory`, `regime`. Missing environment that has a
        default takes it.

    Raises
    ------
    ValueError
        A missing, misspelt or unknown name, an unknown unit, shapes or switches that disagree.
    """
    files = [Path(p) for p in ([paths] if isinstance(paths, str | Path) else paths)]
    if not files:
        raise ValueError("no records given")
    chosen = map if isinstance(map, RecordMap) else plain() if map is None else read_map(map)
    opened = [open_one(path, chosen, map is None, chunks) for path in files]
    for switch in SWITCHES:
        if len({switches.get(switch) for _, switches in opened}) > 1:
            told = (f"{path}: {s.get(switch)}" for path, (_, s) in zip(files, opened, strict=True))
            raise ValueError(f"records of different {switch}: {', '.join(told)}")
    joined = {}
    for name in opened[0][0]:
        parts = [fields[name] for fields, _ in opened if name in fields]
        if name == "trajectory":  # numbers of one file are not those of another
            parts = [part + (place << 32) for place, part in enumerate(parts)]
        if len(parts) == len(files):
            joined[name] = ("cell", da.concatenate(parts), described(name))
    return xr.Dataset(joined, attrs=opened[0][1])


def load(records: xr.Dataset, cells: slice | NDArray[np.int64] | None = None) -> Cells:
    """Read records (or some of their cells) into memory and check them as `reference.step` would.

    Raises
    ------
    ValueError
        A value not finite or out of bounds, naming variable and place.
    """
    inputs, states = names(ENVIRONMENT + PROGNOSTICS), names(PROGNOSTICS)
    late = [f"{name}_after" for name in (*states, *WATERS)]
    wanted = (*inputs, *WATERS, *late, "regime", "timestep")
    some = records[[name for name in wanted if name in records]]
    there = (some if cells is None else some.isel(cell=cells)).load()
    values = {str(name): there[name].to_numpy() for name in there}
    environment, before = pack({name: values[name] for name in inputs})
    try:
        air = {name: values[name] for name in names(ENVIRONMENT)}
        after = pack(air | {name: values[f"{name}_after"] for name in states})[1]
    except ValueError as error:
        raise ValueError(f"after the step: {error}") from None
    timestep = values["timestep"]
    if not (np.isfinite(timestep).all() and (timestep > 0.0).all()):
        raise ValueError("timestep has values that are not above 0 s")
    return Cells(
        environment=environment,
        before=before,
        after=after,
        timestep=timestep,
        water=_matrix(values, WATERS),
        water_after=_matrix(values, [f"{name}_after" for name in WATERS]),
        regime=values["regime"].astype(np.int64) if "regime" in values else None,
    )


def _matrix(values: Mapping[str, Array], wanted: Sequence[str]) -> Array | None:
    if not all(name in values for name in wanted):
        return None
    return np.stack([values[name] for name in wanted], axis=1)


def write_records(
    path: Path,
    count: int,
    columns: Iterable[str],
    column: Callable[[str], NDArray[Any]],
    attributes: Mapping[str, str | float | int],
) -> None:
    """Write a file of records, whole or not at all.

    Parameters
    ----------
    count, columns
        Number of cells and names of the variables.
    column
        Gives the values (count,) of a name; called once for each, so that one is in memory.
    attributes
        Global ones: `profile`, `title`, `history`, `source`, `timestep` [s] if it is no variable.
    """
    with replaced(path) as temporary, netCDF4.Dataset(temporary, "w", format="NETCDF4") as file:
        file.setncatts({"Conventions": "CF-1.11", **attributes})
        file.createDimension("cell", count)
        for name in columns:
            kind = {"trajectory": "i8", "regime": "i1"}.get(name, "f8")
            sizes = (max(1, min(count, CHUNK)),)
            variable = file.createVariable(name, kind, ("cell",), chunksizes=sizes)
            variable.setncatts(described(name))
            variable[:] = column(name)


def described(name: str) -> dict[str, Any]:
    """CF attributes of a variable of records."""
    if name == "timestep":
        return {"units": "s", "long_name": "timestep of M7"}
    if name in EXTRA:
        flags = {
            "flag_values": np.arange(len(KINDS), dtype=np.int8),
            "flag_meanings": " ".join(KINDS),
        }
        return {"long_name": EXTRA[name]} | (flags if name == "regime" else {})
    base = name.removesuffix("_after")
    variable = lookup(base)
    when = " after the step" if base != name else ""
    return {"units": variable.unit, "long_name": variable.long_name + when}
