"""The main job: the host with M7 and with an emulator from the same start, and how they differ."""

import os
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pyemu.variables import MODES, SPECIES, names

Array = NDArray[np.float64]

RUNS = ("m7", "emulator")
_EXECUTABLE = Path("fortran/host/m7emu-host")


@dataclass(frozen=True, kw_only=True)
class OnlineConfig:
    """Two runs of the host (`fortran/host`) that differ in their microphysics alone.

    Parameters
    ----------
    model
        Model file of the emulator.
    folder
        Where namelists, output and logs of the runs go; it is made.
    days
        Length of the runs [days].
    timestep
        [s]
    grid
        Longitudes, latitudes, levels.
    record_fraction
        Share of the cells of the M7 run that is recorded, before and after M7.
    threads
        OpenMP threads.
    host
        The executable; None looks where the build leaves it.

    Raises
    ------
    ValueError
        A value out of range, or files that are not there.
    """

    model: Path
    folder: Path
    days: float = 5.0
    timestep: float = 1800.0
    grid: tuple[int, int, int] = (48, 24, 19)
    record_fraction: float = 0.005
    threads: int = 2
    host: Path | None = None

    def __post_init__(self) -> None:
        if not self.days > 0.0:
            raise ValueError(f"days = {self.days}; allowed is above 0")
        if self.threads < 1:
            raise ValueError(f"threads = {self.threads}; allowed is [1, inf)")
        if not 0.0 < self.record_fraction <= 1.0:
            raise ValueError(f"record_fraction = {self.record_fraction}; allowed is (0, 1]")
        if not self.model.is_file():
            raise ValueError(f"{self.model}: there is no such model file")
        if self.host is not None and not os.access(self.host, os.X_OK):
            raise ValueError(f"{self.host}: no executable; `make build` makes the host")

    def executable(self) -> Path:
        """Path of the host; ValueError where there is none."""
        return executable(self.host)


def executable(host: Path | None = None) -> Path:
    """Path of the host, as built where none is given; ValueError where there is none."""
    if host is not None:
        return host
    for root in (Path.cwd(), Path(__file__).parents[1]):
        found = root / "build/release" / _EXECUTABLE
        if found.exists():
            return found
    raise ValueError(f"there is no build/release/{_EXECUTABLE}; `make build` makes it")


def output(config: OnlineConfig, run: str) -> Path:
    """Output file of a run."""
    return config.folder / f"host_{run}.nc"


def records(config: OnlineConfig) -> Path:
    """Name the records of the M7 run."""
    return config.folder / "host_records.nc"


def namelist(config: OnlineConfig, run: str) -> str:
    """Text of the namelist of a run."""
    nlon, nlat, nlev = config.grid
    recorded = (
        f"  records = '{records(config).resolve()}'\n  record_fraction = {config.record_fraction}\n"
        if run == "m7"
        else ""
    )
    return (
        f"&run\n  days = {config.days}\n  timestep = {config.timestep}\n"
        f"  threads = {config.threads}\n/\n"
        f"&grid\n  nlon = {nlon}\n  nlat = {nlat}\n  nlev = {nlev}\n/\n"
        f"&physics\n  microphysics = '{run}'\n  emulator_file = '{config.model.resolve()}'\n/\n"
        f"&output\n  file = '{output(config, run).resolve()}'\n  interval = 6.0\n"
        f"  mean = 'default'\n{recorded}/\n"
    )


def run(config: OnlineConfig, tell: Callable[[str], None]) -> dict[str, float]:
    """Run the host twice; returns the seconds of each run.

    Raises
    ------
    ChildProcessError
        A run failed; what the host said is in the message.
    """
    config.folder.mkdir(parents=True, exist_ok=True)
    seconds = {}
    for name in RUNS:
        text = config.folder / f"host_{name}.nml"
        text.write_text(namelist(config, name))
        tell(f"host with {name}, {config.days:g} days")
        began = time.perf_counter()
        done = subprocess.run(
            [config.executable(), text], capture_output=True, text=True, check=False
        )
        seconds[name] = time.perf_counter() - began
        (config.folder / f"host_{name}.log").write_text(done.stdout + done.stderr)
        if done.returncode != 0:
            raise ChildProcessError(f"the host with {name} failed: {done.stderr.strip()}")
    return seconds


def _named(data: xr.Dataset, name: str) -> list[str]:
    """Names held in a character variable (n, letters)."""
    rows = data[name].values
    return [
        b"".join(row).decode().strip() if rows.ndim > 1 else row.decode().strip() for row in rows
    ]


def area_mean(field: xr.DataArray) -> xr.DataArray:
    """Mean over the sphere of a field with `lat` and `lon`."""
    weights = xr.ufuncs.cos(xr.ufuncs.deg2rad(field["lat"]))
    return field.weighted(weights).mean(("lat", "lon"))


def burdens(data: xr.Dataset) -> dict[str, xr.DataArray]:
    """Global mean burden of each species over time [mg m-2]."""
    return {s: area_mean(data[f"burden_{s}"]) * 1e6 for s in names(SPECIES)}


def numbers(data: xr.Dataset) -> dict[str, xr.DataArray]:
    """Global mean number of each mode in the column over time [m-2]."""
    return {m: area_mean(data[f"num_column_{m}"]) for m in names(MODES)}


def facts(config: OnlineConfig, seconds: Mapping[str, float]) -> dict[str, Any]:
    """Compare the two runs: what the table shows and JSON keeps.

    Returns
    -------
    dict
        By run: seconds in all and in microphysics (over threads), closure by budget (largest over
        time), negatives; by species and mode the last mean of either run and the largest relative
        difference over time.
    """
    found: dict[str, Any] = {"days": config.days, "grid": list(config.grid), "runs": {}}
    with (
        xr.open_dataset(output(config, "m7")) as m7,
        xr.open_dataset(output(config, "emulator")) as e,
    ):
        for name, data in zip(RUNS, (m7, e), strict=True):
            parts = dict(
                zip(_named(data, "component_name"), data["component_seconds"].values, strict=True)
            )
            closure = np.abs(data["ledger_closure"].values).max(axis=0)
            found["runs"][name] = {
                "seconds": seconds[name],
                "seconds_microphysics": float(parts["microphysics"]),
                "closure": dict(zip(_named(data, "budget_name"), map(float, closure), strict=True)),
                "negatives": int(data["negatives"][-1]),
            }
        for what, series in (("burden", burdens), ("number", numbers)):
            truth, other = series(m7), series(e)
            found[what] = {
                name: {
                    "m7": float(truth[name][-1]),
                    "emulator": float(other[name][-1]),
                    "largest_difference": float(
                        (np.abs(other[name] - truth[name]) / np.abs(truth[name]).max()).max()
                    ),
                }
                for name in truth
            }
    return found
