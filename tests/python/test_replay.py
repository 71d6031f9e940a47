"""Replay: any netCDF of states, on its own grid, in constant memory, or refused by name."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import netCDF4
import numpy as np
import pytest
import xarray as xr
from helpers import foreign
from numpy.typing import NDArray
from typer.testing import CliRunner

import pyemu
from pyemu import hosttrajectories
from pyemu.cli import app
from pyemu.emulator import path_of
from pyemu.online import executable
from pyemu.replay import Replay, expand, replay
from pyemu.sampling import Sample, sample
from pyemu.variables import DIAGNOSTICS, ENVIRONMENT, PROGNOSTICS, names

Array = NDArray[np.float64]
Change = Callable[[xr.Dataset], xr.Dataset]
ROOT = Path(__file__).parents[2]
MODEL = path_of("first")
STATES = names(PROGNOSTICS)
SHAPE = {"time": 4, "lev": 5, "lat": 6, "lon": 5}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("replay") / "made.nc"
    sample(Sample(count=700, timesteps=(1800.0,), part="test"), path)
    return path


@pytest.fixture(scope="module")
def grid(made: Path) -> xr.Dataset:
    """Records on a grid, with coordinates and bounds, time unlimited."""
    data = xr.open_dataset(made).isel(cell=slice(0, 600)).load()
    keep = [n for n in data.data_vars if n not in ("trajectory", "regime")]
    out = xr.Dataset(attrs=data.attrs)
    for name in keep:
        values = data[name].to_numpy().reshape(tuple(SHAPE.values()))
        out[name] = (tuple(SHAPE), values, {"units": data[name].attrs["units"]})
    days = {"units": "days since 2001-02-27", "calendar": "noleap", "bounds": "time_bounds"}
    out["time"] = ("time", np.arange(4.0) + 0.5, days)
    out["time_bounds"] = (("time", "bounds"), np.stack([np.arange(4.0), np.arange(4.0) + 1.0], 1))
    out["lat"] = ("lat", np.linspace(-75.0, 75.0, 6), {"units": "degrees_north"})
    out["lon"] = ("lon", np.arange(5) * 72.0, {"units": "degrees_east"})
    out["lev"] = ("lev", np.linspace(0.1, 0.9, 5), {"positive": "down", "axis": "Z"})
    return out


def put(data: xr.Dataset, path: Path, **encoding: dict[str, object]) -> Path:
    data.to_netcdf(path, encoding=encoding, unlimited_dims=["time"] if "time" in data.dims else [])
    return path


def plan(path: Path | tuple[Path, ...], output: Path, **more: object) -> Replay:
    inputs = path if isinstance(path, tuple) else (path,)
    return Replay(model=MODEL, inputs=inputs, output=output, **more)  # type: ignore[arg-type]


def stepped(data: xr.Dataset) -> dict[str, Array]:
    """Step states directly."""
    order = tuple(SHAPE)
    inputs = names(ENVIRONMENT + PROGNOSTICS)
    state = {n: data[n].transpose(*order).to_numpy().ravel() for n in inputs}
    after: dict[str, Array] = pyemu.load("first").step(state, 1800.0)
    return after


def test_fields_are_the_emulators_on_the_files_own_grid(grid: xr.Dataset, tmp_path: Path) -> None:
    path = put(grid, tmp_path / "in.nc")
    done = replay(plan(path, tmp_path / "out.nc", tendencies=True, slab=70))
    out = xr.open_dataset(tmp_path / "out.nc", decode_times=False)
    raw = xr.open_dataset(path, decode_times=False)
    expected = stepped(grid)
    for name in (*STATES, *names(DIAGNOSTICS)):
        assert out[f"{name}_after"].dims == tuple(SHAPE)
        assert np.array_equal(out[f"{name}_after"].to_numpy().ravel(), expected[name]), name
        assert out[f"{name}_after"].attrs["units"] == raw[f"{name}_after"].attrs["units"]
    assert np.array_equal(out["flag"].to_numpy().ravel(), expected["flag"])
    change = (expected["num_ks"] - grid["num_ks"].to_numpy().ravel()) / 1800.0
    assert np.array_equal(out["num_ks_tendency"].to_numpy().ravel(), change)
    for name in ("time", "time_bounds", "lat", "lon", "lev"):
        assert out[name].identical(raw[name].reset_coords(drop=True)) or name in out.coords
        assert np.array_equal(out[name], raw[name])
        assert out[name].attrs == raw[name].attrs
    assert out.attrs["timestep"] == 1800.0
    assert done.scores is not None
    assert done.scores.mean > 0.999
    assert done.scores.cells == done.facts["cells"] == 600
    assert max(done.facts["closure"].values()) < 1e-14
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


@pytest.mark.parametrize("slab", [1, 7, 31])
def test_slabs_change_nothing(slab: int, grid: xr.Dataset, tmp_path: Path) -> None:
    small = grid.isel(time=slice(0, 2), lev=slice(0, 2), lat=slice(0, 2))
    path = put(small, tmp_path / "in.nc")
    replay(plan(path, tmp_path / "out.nc", slab=slab))
    replay(plan(path, tmp_path / "whole.nc"))
    one, other = (xr.open_dataset(tmp_path / n).load() for n in ("out.nc", "whole.nc"))
    assert one.equals(other)


def test_states_without_pairs_have_no_score(grid: xr.Dataset, tmp_path: Path) -> None:
    states = grid.drop_vars([n for n in grid.data_vars if str(n).endswith("_after")])
    path = put(states.drop_vars("cloud_fraction"), tmp_path / "in.nc")
    done = CliRunner().invoke(
        app, ["replay", str(path), "--model", "first", "--output", str(tmp_path / "out.nc")]
    )
    assert done.exit_code == 0, done.output
    facts = json.loads((tmp_path / "out.json").read_text())
    assert "evaluation" not in facts
    assert "cloud_fraction" in facts["defaults"]
    assert "no score" in done.output


def test_orders_precisions_and_packing_are_converted(grid: xr.Dataset, tmp_path: Path) -> None:
    expected = stepped(grid)["num_as"]
    swapped = grid.copy()
    swapped["temperature"] = grid["temperature"].transpose("lon", "lat", "time", "lev")
    swapped["pressure"] = (grid["pressure"] / 100.0).assign_attrs(units="hPa")
    swapped["temperature"].attrs["units"] = "K"
    replay(plan(put(swapped, tmp_path / "swapped.nc"), tmp_path / "1.nc"))
    found = xr.open_dataset(tmp_path / "1.nc")["num_as_after"]
    assert np.allclose(found.to_numpy().ravel(), expected, rtol=1e-12)
    humid = grid.copy()
    humid["relative_humidity"] = grid["relative_humidity"].where(grid["lon"] > 0.0, 1.0)
    single = humid.astype(np.float32).assign_coords(time=grid["time"])
    packed = {"dtype": "i2", "scale_factor": 3.1e-5, "add_offset": 0.5, "_FillValue": -32768}
    path = put(single, tmp_path / "packed.nc", relative_humidity=packed)
    replay(plan(path, tmp_path / "2.nc"))
    found = xr.open_dataset(tmp_path / "2.nc")["num_as_after"]
    assert np.allclose(found, stepped(humid)["num_as"].reshape(found.shape), rtol=1e-3)


def test_files_follow_each_other(grid: xr.Dataset, tmp_path: Path) -> None:
    put(grid.isel(time=slice(0, 3)), tmp_path / "in_1.nc")
    late = grid.isel(time=slice(3, None))
    hours = grid["time"].attrs | {"units": "hours since 2001-03-02"}
    late = late.assign_coords(time=("time", [12.0], hours))
    late["time_bounds"] = (("time", "bounds"), [[0.0, 24.0]])
    put(late, tmp_path / "in_2.nc")
    files = expand([str(tmp_path / "in_*.nc")])
    replay(plan(files, tmp_path / "out.nc", slab=50))
    replay(plan(put(grid, tmp_path / "all.nc"), tmp_path / "whole.nc"))
    one, other = (xr.open_dataset(tmp_path / n, decode_times=False) for n in ("out.nc", "whole.nc"))
    assert one.load().equals(other.load())
    with pytest.raises(ValueError, match=r"in_1.nc: time = -60 does not go on from 12"):
        replay(plan(files[::-1], tmp_path / "3.nc"))
    with pytest.raises(ValueError, match=r"none\*.nc: no file is called so"):
        expand([str(tmp_path / "none*.nc")])


def test_missing_cells_are_refused_or_kept(grid: xr.Dataset, tmp_path: Path) -> None:
    gap = grid.copy()
    gap["bc_ks"] = grid["bc_ks"].where((grid["lev"] < 0.8) | (grid["lat"] > 0.0))
    path = put(gap, tmp_path / "in.nc", bc_ks={"_FillValue": -999.0})
    place = "time=0, lev=4, lat=0, lon=0"
    with pytest.raises(ValueError, match=rf"in.nc: bc_ks at {place} is missing, 60 cell"):
        replay(plan(path, tmp_path / "refused.nc"))
    assert not (tmp_path / "refused.nc").exists()
    done = replay(plan(path, tmp_path / "out.nc", missing="keep", slab=70))
    out = xr.open_dataset(tmp_path / "out.nc").load()
    there = gap["bc_ks"].notnull().to_numpy()
    found = out["num_as_after"].to_numpy()
    assert done.facts["missing"] == (~there).sum() == 60
    assert np.isnan(found[~there]).all()
    assert np.isnan(out["flag"].to_numpy()[~there]).all()
    assert np.array_equal(found[there], stepped(grid)["num_as"].reshape(found.shape)[there])


def changed(name: str, value: float) -> Change:
    def change(data: xr.Dataset) -> xr.Dataset:
        column = data[name].copy()
        column[1, 2, 3, 4] = value
        return data.assign({name: column})

    return change


def told(name: str, **attributes: str) -> Change:
    return lambda data: data.assign({name: data[name].assign_attrs(attributes)})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (changed("so4_as", 1e20), "so4_as at time=1, lev=2, lat=3, lon=4 is 1e+20, 1 cell"),
        (changed("temperature", 9.96921e36), "temperature at time=1, lev=2, lat=3, lon=4 is 9.96"),
        (changed("temperature", 12.5), "is 12.5, 1 cell(s) like it; allowed is 100 to 400 K"),
        (changed("pressure", -999.0), "is -999, 1 cell(s) like it; allowed is 0 to 200000 Pa"),
        (changed("relative_humidity", 1.2), "is 1.2, 1 cell(s) like it; allowed is 0 to 1 1"),
        (changed("num_ks", np.inf), "num_ks at time=1, lev=2, lat=3, lon=4 is inf"),
        (changed("num_ks_after", np.nan), "num_ks_after at time=1, lev=2, lat=3, lon=4 is missing"),
        (told("bc_ks", units="furlong"), "bc_ks has unit 'furlong', which cannot be turned"),
        (told("time", calendar="martian"), "time has unit 'days since 2001-02-27', calendar"),
        (lambda d: d.drop_vars("num_ks"), "missing variable: unknown name 'num_ks'"),
        (lambda d: d.rename(num_ks="num_kss"), "unknown name 'num_kss'; did you mean"),
        (lambda d: d.drop_attrs(deep=False), "no timestep"),
        (lambda d: d.isel(lat=slice(0, 0)), "it holds no cells"),
    ],
)
def test_refusals(change: Change, message: str, grid: xr.Dataset, tmp_path: Path) -> None:
    path = put(change(grid), tmp_path / "bad.nc")
    with pytest.raises(ValueError, match=re.escape(message)) as refused:
        replay(plan(path, tmp_path / "out.nc"))
    assert "bad.nc" in str(refused.value)
    assert not (tmp_path / "out.nc").exists()


def test_files_that_do_not_fit_each_other(grid: xr.Dataset, tmp_path: Path) -> None:
    one = put(grid, tmp_path / "one.nc")
    late = grid.assign_coords(time=grid["time"] + 10.0)
    late["time"].attrs = grid["time"].attrs
    cases: dict[str, xr.Dataset] = {
        "3 lat; ": late.isel(lat=slice(0, 3)),
        "lat differs from that of": late.assign_coords(lat=-late["lat"]),
        "time has calendar '360_day', the first file 'noleap'": told("time", calendar="360_day")(
            late
        ),
        "dimensions time, lat, lev, lon": late.transpose("time", "lat", "lev", "lon", ...),
        "other states after the step": late.drop_vars("num_ks_after"),
    }
    for message, other in cases.items():
        files = (one, put(other, tmp_path / "other.nc"))
        with pytest.raises(ValueError, match=f"other.nc: .*{message}"):
            replay(plan(files, tmp_path / "out.nc"))
    with pytest.raises(ValueError, match=r"one.nc is an input, too"):
        plan(one, one)
    with pytest.raises(ValueError, match="slab = 0; allowed is"):
        plan(one, tmp_path / "out.nc", slab=0)
    (tmp_path / "text.nc").write_text("no netCDF")
    with pytest.raises(ValueError, match=r"text.nc is not a netCDF file"):
        replay(plan(tmp_path / "text.nc", tmp_path / "out.nc"))


def test_foreign_names_through_a_map(made: Path, tmp_path: Path) -> None:
    """ECHAM-HAM's names, mixing ratios, hybrid levels; time, lat, lev, lon."""
    foreign(made, tmp_path / "ham.nc")
    output = tmp_path / "out.nc"
    done = replay(plan(tmp_path / "ham.nc", output, map="echam_ham", timestep=1800.0))
    out = xr.open_dataset(output)
    assert out["num_ks_after"].dims == ("time", "lat", "lev", "lon")
    assert {"hyam", "hybm"} <= set(out.variables)
    data = xr.open_dataset(made).isel(cell=slice(0, 600))
    state = {n: data[n].to_numpy() for n in names(ENVIRONMENT)[:5] + STATES}
    expected = pyemu.load("first").step(state, 1800.0)
    for name in STATES:
        found = out[f"{name}_after"].transpose("time", "lev", "lat", "lon").to_numpy().ravel()
        assert np.allclose(found, expected[name], rtol=1e-6, atol=1e-10), name
    assert done.scores is not None
    assert done.scores.mean > 0.99
    assert not done.facts["evaluation"]["water_judged"]


def test_hosts_records_give_the_online_tendencies(tmp_path: Path) -> None:
    """What the emulator did inside the host, bit by bit but for round-off."""
    run = hosttrajectories.HostRun(
        month=6,
        days=0.25,
        timestep=1800.0,
        physics={"microphysics": "emulator", "emulator_file": str(MODEL)},
        grid=(8, 6, 7),
    )
    text = hosttrajectories._namelist(run, tmp_path / "records.nc", 0.5, 1)
    text = text.replace("mean = 'none'", "mean = 'default'\n  interval = 3")
    (tmp_path / "host.nml").write_text(text)
    subprocess.run([executable(), tmp_path / "host.nml"], capture_output=True, check=True)
    records = tmp_path / "records.nc"
    replay(plan(records, tmp_path / "out.nc", tendencies=True))
    with xr.open_dataset(records) as online, xr.open_dataset(tmp_path / "out.nc") as out:
        assert online.sizes["cell"] > 1000
        for name in STATES:
            before = online[name].to_numpy()
            change = (online[f"{name}_after"].to_numpy() - before) / 1800.0
            size = np.abs(before) / 1800.0 + np.abs(change)
            gap = np.abs(out[f"{name}_tendency"].to_numpy() - change)
            assert (gap <= 1e-14 * size).all(), name
        assert np.abs(change).max() > 0.0
    done = replay(plan(tmp_path / "host.nc", tmp_path / "2.nc", map="m7emu_host"))
    with xr.open_dataset(tmp_path / "2.nc") as out, xr.open_dataset(tmp_path / "host.nc") as host:
        assert out["num_as_after"].dims == ("time", "lev", "lat", "lon")
        assert np.array_equal(out["time_bounds"], host["time_bounds"])
    assert done.facts["flags"][3] == 0


PROGRAM = """
import sys
from pathlib import Path
from pyemu.replay import Replay, replay
a, b = map(Path, sys.argv[2:4])
model, slab = Path(sys.argv[1]), int(sys.argv[4])
replay(Replay(model=model, inputs=(a,), output=b, slab=slab, judged=int(sys.argv[5])))
# Not ru_maxrss, which counts what the parent had when it started this.
print(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
"""


def program(*words: object) -> list[str]:
    return [sys.executable, "-c", PROGRAM, str(MODEL), *map(str, words)]


def big(grid: xr.Dataset, path: Path, times: int) -> Path:
    """Repeat a grid in time, with two hundred times its columns."""
    with netCDF4.Dataset(path, "w") as out:
        out.setncatts(grid.attrs)
        sizes = {"time": None, "lev": 5, "lat": 60, "lon": 100}
        for name, size in sizes.items():
            out.createDimension(name, size)
        for name in (*names(ENVIRONMENT)[:5], *STATES, *(f"{n}_after" for n in STATES)):
            block = np.tile(grid[name].isel(time=0).to_numpy(), (1, 10, 20))
            variable = out.createVariable(name, "f8", tuple(sizes), chunksizes=(1, 5, 60, 100))
            variable.units = grid[name].attrs["units"]
            for k in range(times):
                variable[k] = block
    return path


def test_memory_does_not_grow_with_the_file(grid: xr.Dataset, tmp_path: Path) -> None:
    peaks, sizes = [], []
    for times in (2, 15):
        path = big(grid, tmp_path / "big.nc", times)
        sizes.append(path.stat().st_size / 1e6)
        done = subprocess.run(
            program(path, tmp_path / f"{times}.nc", 30_000, 5_000),
            capture_output=True,
            text=True,
            check=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        peaks.append(int(done.stdout) / 1e3)
        path.unlink()
    assert sizes[1] > 200.0
    assert peaks[1] < 1000.0
    assert peaks[1] - peaks[0] < 40.0 < 0.25 * (sizes[1] - sizes[0]), (peaks, sizes)


def test_a_killed_replay_goes_on(grid: xr.Dataset, tmp_path: Path) -> None:
    path = put(grid, tmp_path / "in.nc")
    output = tmp_path / "out.nc"
    folder = tmp_path / ".out.nc.parts"
    with subprocess.Popen(program(path, output, 30, 100_000), stdout=subprocess.PIPE) as going:
        while going.poll() is None and len(list(folder.glob("slab_*.npz"))) < 4:
            time.sleep(0.005)
        going.kill()
    kept = list(folder.glob("slab_*.npz"))
    assert 4 <= len(kept) < 20
    assert not output.exists()
    with pytest.raises(ValueError, match="holds parts of another run"):
        replay(plan(path, output, slab=4))
    worked: list[int] = []

    def watch(steps: object) -> object:
        for step in steps:  # type: ignore[attr-defined]
            worked.append(step)
            yield step

    replay(plan(path, output, slab=30), watch=watch)  # type: ignore[arg-type]
    assert len(worked) == 20 - len(kept)
    replay(plan(path, tmp_path / "whole.nc"))
    one, other = (xr.open_dataset(p) for p in (output, tmp_path / "whole.nc"))
    assert one.load().equals(other.load())
    assert not folder.exists()


@pytest.mark.filterwarnings("ignore")
def test_a_cluster_gives_the_same(grid: xr.Dataset, tmp_path: Path) -> None:
    from distributed import LocalCluster

    path = put(grid, tmp_path / "in.nc")
    with LocalCluster(  # type: ignore[no-untyped-call]
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None
    ) as cluster:
        address = cluster.scheduler_address
        replay(plan(path, tmp_path / "1.nc", slab=80), dask=address)
    replay(plan(path, tmp_path / "2.nc"))
    one, other = (xr.open_dataset(tmp_path / n) for n in ("1.nc", "2.nc"))
    assert one.load().equals(other.load())
