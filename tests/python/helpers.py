"""What several tests need."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pyemu.variables import DIAGNOSTICS, PROGNOSTICS, lookup, names

Array = NDArray[np.float64]
OUTPUTS = names(PROGNOSTICS + DIAGNOSTICS)


def different(
    one: Mapping[str, NDArray[Any]],
    other: Mapping[str, NDArray[Any]],
    keys: Iterable[str] = OUTPUTS,
) -> list[str]:
    """Names of the variables whose bits differ."""
    return [key for key in keys if one[key].tobytes() != other[key].tobytes()]


def at(state: Mapping[str, Any], cells: Any) -> dict[str, Any]:
    """Choose cells of a state, in any order."""
    return {key: np.asarray(value)[cells] for key, value in state.items()}


def foreign(made: Path, path: Path) -> None:
    """Write records as ECHAM-HAM would: mixing ratios on (time, lev, lat, lon), hybrid levels."""
    data = xr.open_dataset(made).isel(cell=slice(0, 600))
    shape, dims = (5, 4, 5, 6), ("time", "lat", "lev", "lon")
    p, t = data["pressure"].to_numpy(), data["temperature"].to_numpy()
    q = np.linspace(0.0, 0.02, 600)
    air = p / (287.04 * t * (1.0 + 0.608 * q))
    out = xr.Dataset()

    def put(name: str, values: Array, unit: str) -> None:
        grid = values.reshape(shape[0], shape[2], shape[1], shape[3]).transpose(0, 2, 1, 3)
        out[name] = (dims, grid.astype(np.float64), {"units": unit} if unit else {})

    out["hyam"] = ("lev", np.zeros(5))
    out["hybm"] = ("lev", np.ones(5))
    for name, values, unit in (
        ("aps", p, "Pa"),
        ("t", t - 273.15, "degC"),
        ("rh", data["relative_humidity"].to_numpy(), ""),
        ("aclc", data["cloud_fraction"].to_numpy(), ""),
        ("q", q, "kg kg-1"),
    ):
        put(name, values, unit)
    for name in ("h2so4_production", *names(PROGNOSTICS)):
        variable = lookup(name)
        for end, host in (("", ""), ("_after", "_m7")):
            if name + end not in data:
                continue
            values = data[name + end].to_numpy() / air
            if name.startswith("num"):
                factor, unit = 1e6, "#/kg"
            elif variable.unit == "ug m-3":
                factor, unit = 1e-9, "kg/kg"
            else:
                grams = 96.0631 if variable.species == "so4" else 98.08
                factor, unit = grams / 6.02214e23 * 1e3, "kg(SO4) kg-1"
            rate = name == "h2so4_production"
            host_name = "D_PROD_H2SO4" if rate else name.upper()
            put(host_name + host, values * factor, unit + " s-1" if rate else unit)
    out.to_netcdf(path)
