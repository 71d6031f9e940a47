"""States that the host passes through (`fortran/host`): the other source of lifelike records."""

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pyemu.online import executable
from pyemu.variables import ENVIRONMENT, PROGNOSTICS, names

Array = NDArray[np.float64]

MONTHS: Mapping[str, tuple[int, ...]] = {
    "train": (1, 2, 4, 5, 7, 8, 10, 11),
    "validation": (3, 9),
    "test": (6, 12),
}
"""Months of a part: no two parts share a season's weather, hence no trajectory."""
_MONTH = 30.4


@dataclass(frozen=True, kw_only=True)
class HostRun:
    """A run of the host whose microphysics is given states to record.

    Parameters
    ----------
    month
        Of the year; it begins with its first day.
    days, timestep
        Length [days], at most a month, so that runs never meet; and step [s].
    physics
        Members of the host's namelist `&physics`: profile, substeps, microphysics and so on.
    grid
        Longitudes, latitudes, levels.
    """

    month: int
    days: float
    timestep: float
    physics: Mapping[str, str | int]
    grid: tuple[int, int, int] = (48, 24, 19)

    def __post_init__(self) -> None:
        if not 0.0 < self.days <= _MONTH:
            raise ValueError(f"days = {self.days}; allowed is (0, {_MONTH}], within a month")


def states(
    run: HostRun, count: int, generator: np.random.Generator, threads: int = 1
) -> dict[str, Array]:
    """Run the host and take `count` of the states before M7.

    Raises
    ------
    ValueError
        The host cannot run so long or small that there are `count` states.
    ChildProcessError
        The host failed; what it said is in the message.
    """
    nlon, nlat, nlev = run.grid
    steps = round(run.days * 86400.0 / run.timestep)
    offered = nlon * nlat * nlev * steps
    if 2 * count > offered:
        raise ValueError(
            f"{count} cells of {offered} that {run.days:g} days offer; take less, or more days"
        )
    with TemporaryDirectory(prefix="m7emu-host-") as folder:
        records = Path(folder) / "records.nc"
        text = Path(folder) / "host.nml"
        text.write_text(_namelist(run, records, min(1.0, 1.2 * count / offered + 1e-3), threads))
        done = subprocess.run([executable(), text], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise ChildProcessError(f"the host failed: {done.stderr.strip()}")
        with xr.open_dataset(records, decode_times=False) as data:
            there = data.sizes["cell"]
            if there < count:
                raise ValueError(f"the host recorded {there} of {count} cells; give it more days")
            chosen = np.sort(generator.choice(there, count, replace=False))
            wanted = names(ENVIRONMENT + PROGNOSTICS)
            found = {n: data[n].values[chosen].astype(float) for n in wanted if n in data}
    none = {n: np.zeros(count) for n in wanted if n not in found}
    return found | none


def _namelist(run: HostRun, records: Path, fraction: float, threads: int) -> str:
    nlon, nlat, nlev = run.grid
    quoted = {k: f"'{v}'" if isinstance(v, str) else f"{v}" for k, v in run.physics.items()}
    told = [f"  {name} = {value}" for name, value in quoted.items()]
    return "\n".join(
        (
            f"&run\n  start_day = {1 + int((run.month - 1) * _MONTH)}\n  days = {run.days}",
            f"  timestep = {run.timestep}\n  threads = {threads}\n/",
            f"&grid\n  nlon = {nlon}\n  nlat = {nlat}\n  nlev = {nlev}\n/",
            "&physics",
            *told,
            f"/\n&output\n  file = '{records.with_name('host.nc')}'\n  mean = 'none'",
            f"  records = '{records}'\n  record_fraction = {fraction}\n/\n",
        )
    )
