"""Records: made and resumed, read in foreign names and units, refused by name."""

import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from helpers import foreign
from numpy.typing import NDArray

from pyemu import reference, sampling
from pyemu.mapping import RecordMap, Source, read_map
from pyemu.records import WATERS, load, open_records
from pyemu.sampling import Sample, sample
from pyemu.units import conversion, spelling
from pyemu.variables import ENVIRONMENT, MASSES, NUMBERS, PROGNOSTICS, lookup, names

Array = NDArray[np.float64]
COUNT = 700


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("records") / "made.nc"
    sample(Sample(count=COUNT, timesteps=(1800.0,), labels=True), path)
    return path


def test_records_hold_what_the_design_says(made: Path) -> None:
    data = xr.open_dataset(made)
    assert data.sizes == {"cell": COUNT}
    assert data.attrs["timestep"] == 1800.0
    assert data.attrs["profile"] == "ham2"
    assert {"title", "history", "source", "Conventions"} <= set(data.attrs)
    for name in names(ENVIRONMENT + PROGNOSTICS):
        assert data[name].attrs["units"] == lookup(name).unit
        assert data[name].attrs["long_name"] == lookup(name).long_name
    assert data["num_ks_after"].attrs["units"] == "cm-3"
    assert "condensed_as" in data
    assert not list(made.parent.glob(".*"))


def test_records_are_steps_of_the_reference(made: Path) -> None:
    cells = load(open_records(made))
    inputs = dict(zip(names(ENVIRONMENT), cells.environment.T, strict=True))
    before = inputs | dict(zip(names(PROGNOSTICS), cells.before.T, strict=True))
    after = reference.step(before, 1800.0)
    for place, name in enumerate(names(PROGNOSTICS)):
        assert np.array_equal(after[name], cells.after[:, place])
    assert cells.water_after is not None
    for place, name in enumerate(WATERS):
        assert np.array_equal(after[name], cells.water_after[:, place])


def test_parts_and_seeds_have_nothing_in_common() -> None:
    plans = [
        Sample(count=400, seed=s, part=p) for s in (1, 2) for p in ("train", "validation", "test")
    ]
    numbers = [sampling.part(plan, 0)[:, plan.columns.index("num_as")] for plan in plans]
    merged = np.concatenate([column[column > 0.0] for column in numbers])
    assert len(np.unique(merged)) == len(merged)


def test_trajectories_move_and_stay_finite() -> None:
    plan = Sample(count=640, kinds=("continental_clean",))
    matrix = sampling.part(plan, 0)
    assert np.isfinite(matrix).all()
    hours = matrix[:, plan.columns.index("h2so4_production")]
    assert 0.2 < (hours == 0.0).mean() < 0.8
    assert len(np.unique(matrix[:, plan.columns.index("trajectory")])) == plan.boxes


def test_timesteps_are_a_variable_where_there_are_several(tmp_path: Path) -> None:
    path = tmp_path / "several.nc"
    sample(Sample(count=1500, kinds=("volcanic",), timesteps=(60.0, 3600.0), between=True), path)
    data = xr.open_dataset(path, decode_timedelta=False)
    assert "timestep" not in data.attrs
    steps = np.unique(data["timestep"])
    assert len(steps) == 3
    assert ((steps > 60.0) & (steps < 3600.0)).all()
    assert np.array_equal(load(open_records(path)).timestep, data["timestep"])


def test_converged_teacher_differs(made: Path, tmp_path: Path) -> None:
    path = tmp_path / "converged.nc"
    sample(Sample(count=320, timesteps=(1800.0,), substeps="converged"), path)
    assert open_records(path).attrs["substeps"] == "converged"
    with pytest.raises(ValueError, match="records of different substeps"):
        open_records([made, path])


PROGRAM = """
import sys
from pathlib import Path
from pyemu.sampling import Sample, sample
sample(Sample(count=6000, kinds=("sea_salt_plume", "volcanic")), Path(sys.argv[1]))
"""


def test_killed_run_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole" / "r.nc", tmp_path / "killed" / "r.nc"
    for path in (whole, killed):
        path.parent.mkdir()
    subprocess.run([sys.executable, "-c", PROGRAM, str(whole)], check=True)
    folder = killed.parent / ".r.nc.parts"
    done = 0
    for wanted in (1, 3, 6):  # killed when so many parts are there; then to the end
        with subprocess.Popen([sys.executable, "-c", PROGRAM, str(killed)]) as process:
            while process.poll() is None and len(list(folder.glob("part_*.npy"))) < wanted:
                time.sleep(0.002)
            process.kill()
        assert len(list(folder.glob("part_*.npy"))) >= done
        done = len(list(folder.glob("part_*.npy")))
    with pytest.raises(ValueError, match="holds parts of another run"):
        sample(Sample(count=5999), killed)
    subprocess.run([sys.executable, "-c", PROGRAM, str(killed)], check=True)
    assert killed.read_bytes() == whole.read_bytes()
    assert [path.name for path in killed.parent.iterdir()] == ["r.nc"]


def test_files_join_and_other_dimensions_stack(made: Path, tmp_path: Path) -> None:
    data = xr.open_dataset(made).isel(cell=slice(0, 600))
    grid = data.assign_coords(
        time=("cell", np.repeat(np.arange(6), 100)), lev=("cell", np.tile(np.arange(100), 6))
    ).set_index(cell=["time", "lev"])
    path = tmp_path / "grid.nc"
    grid.unstack("cell").transpose("time", "lev").to_netcdf(path)
    one = load(open_records(path, chunks=64))
    assert np.array_equal(one.after, load(open_records(made), slice(0, 600)).after)
    both = open_records([made, path])
    assert both.sizes["cell"] == COUNT + 600
    assert len(np.unique(both["trajectory"])) > len(np.unique(open_records(made)["trajectory"]))


def test_single_precision_and_packed_input_become_doubles(made: Path, tmp_path: Path) -> None:
    data = xr.open_dataset(made).astype(np.float32)
    path = tmp_path / "packed.nc"
    packing = {"dtype": "i2", "scale_factor": 0.01, "add_offset": 250.0, "_FillValue": -32768}
    data.to_netcdf(path, encoding={"temperature": packing})
    cells, true = load(open_records(path)), load(open_records(made))
    assert cells.before.dtype == np.float64
    assert np.allclose(cells.before, true.before, rtol=1e-6)
    temperature = names(ENVIRONMENT).index("temperature")
    difference = cells.environment[:, temperature] - true.environment[:, temperature]
    assert 1e-6 < np.abs(difference).max() < 0.0051


def test_shipped_map_reads_echam_ham(made: Path, tmp_path: Path) -> None:
    path = tmp_path / "ham.nc"
    foreign(made, path)
    records = open_records(path, map="echam_ham")
    cells, true = load(records), load(open_records(made), slice(0, 600))
    assert records.attrs["profile"] == "ham2"
    assert (cells.timestep == 1440.0).all()
    assert np.allclose(cells.environment[:, :5], true.environment[:, :5], rtol=1e-12, atol=1e-12)
    assert np.allclose(cells.before, true.before, rtol=1e-12)
    assert np.allclose(cells.after, true.after, rtol=1e-12)


def test_every_shipped_map_is_valid() -> None:
    chosen = read_map("echam_ham")
    told = {*chosen.variables, *chosen.absent}
    assert set(names(MASSES + NUMBERS)) <= told


@pytest.mark.parametrize(
    ("given", "brought"),
    [
        ("#/cm3", "cm-3"),
        ("molecules cm-3", "cm-3"),
        ("cm^-3", "cm-3"),
        ("1 cm**-3", "cm-3"),
        ("µg/m3", "ug m-3"),
        ("ug.m-3", "ug m-3"),
        ("kg/kg/s", "kg kg-1 s-1"),
        ("kg(SO4)/kg", "kg kg-1"),
        ("percent", "%"),
        ("", "1"),
    ],
)
def test_spellings(given: str, brought: str) -> None:
    assert spelling(given) == brought


def test_conversions() -> None:
    assert conversion(lookup("pressure"), "hPa").factor == 100.0
    assert conversion(lookup("temperature"), "degC").offset == 273.15
    assert conversion(lookup("bc_ks"), "ug/kg").per == "air_mass"
    assert conversion(lookup("num_ks"), "# kg-1").factor == 1e-6
    gas = conversion(lookup("h2so4"), "ppt")
    assert (gas.factor, gas.per) == (1e-12, "air_moles")
    sulfate = conversion(lookup("so4_ks"), "ug m-3", 96.0)
    assert sulfate.factor == pytest.approx(1e-12 * 6.02214e23 / 96.0)
    for name, unit in (("num_ks", "ug m-3"), ("bc_ks", "mol mol-1"), ("pressure", "furlong")):
        with pytest.raises(ValueError, match=rf"{name} has unit '{unit}'"):
            conversion(lookup(name), unit)


def drop(name: str) -> Callable[[xr.Dataset], xr.Dataset]:
    return lambda data: data.drop_vars(name)


def unit(name: str, told: str) -> Callable[[xr.Dataset], xr.Dataset]:
    return lambda data: data.assign({name: data[name].assign_attrs(units=told)})


def put(name: str, value: float) -> Callable[[xr.Dataset], xr.Dataset]:
    return lambda data: data.assign({name: data[name].where(data["cell_number"] != 5, value)})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (drop("temperature"), "missing variable: unknown name 'temperature'"),
        (drop("bc_as"), "missing variable: unknown name 'bc_as'"),
        (drop("num_ci_after"), "missing variable: unknown name 'num_ci_after'"),
        (
            lambda d: d.rename(cloud_fraction="cloud_fractoin"),
            "unknown name 'cloud_fractoin'; did you mean 'cloud_fraction'?",
        ),
        (unit("pressure", "furlong"), "pressure has unit 'furlong', which cannot be turned"),
        (lambda d: d.assign(num_as=d["num_as"].drop_attrs()), "num_as has no units"),
        (lambda d: d.drop_attrs(deep=False), "no timestep: neither an attribute"),
        (lambda d: d.isel(cell=slice(0, 0)), "it holds no cells"),
        (put("so4_as", np.nan), "so4_as[5] = nan; allowed is"),
        (put("num_ks_after", np.inf), "after the step: num_ks[5] = inf"),
        (put("relative_humidity", 1.2), "relative_humidity[5] = 1.2; allowed is [0, 1] 1"),
    ],
)
def test_refusals(
    made: Path, tmp_path: Path, change: Callable[[xr.Dataset], xr.Dataset], message: str
) -> None:
    data = xr.open_dataset(made).isel(cell=slice(0, 20))
    data["cell_number"] = ("cell", np.arange(20))
    change(data).to_netcdf(tmp_path / "bad.nc")
    with pytest.raises(ValueError, match=re.escape(message)):
        load(open_records(tmp_path / "bad.nc"))


def test_files_that_are_not_records(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is no such file"):
        open_records(tmp_path / "none.nc")
    (tmp_path / "text.nc").write_text("no netCDF")
    with pytest.raises(ValueError, match="is not a netCDF file"):
        open_records(tmp_path / "text.nc")
    with pytest.raises(ValueError, match="no records given"):
        open_records([])


def test_map_refusals(tmp_path: Path, made: Path) -> None:
    with pytest.raises(ValueError, match="there is no map nowhere; shipped are echam_ham"):
        read_map("nowhere")
    cases = {
        "[variables]\nso4_nss = 'A'": "unknown name 'so4_nss'; did you mean 'so4_ns'?",
        "tymestep = 3.0": "unknown name 'tymestep'; did you mean 'timestep'?",
        "[variables]\nso4_ns = { nam = 'A' }": "so4_ns: unknown name 'nam'; did you mean 'name'?",
        "[variables]\nso4_ns = 3": "so4_ns: 3 is neither a name nor a table",
        "[variables]\npressure = { a = 'hyam' }": "hybrid levels need a, b and surface",
        "absent = ['pressure']": "absent: pressure is environment",
        "after = 'x'": "it needs {} where the name goes",
        "timestep = 0.0": "timestep = 0.0; allowed is (0, inf) s",
        "timestep = ": "map",
    }
    for text, message in cases.items():
        (tmp_path / "bad.toml").write_text(text)
        with pytest.raises(ValueError, match=re.escape(message)):
            read_map(tmp_path / "bad.toml")
    with pytest.raises(ValueError, match="the map does not say where pressure is"):
        open_records(made, map=RecordMap(variables={}))
    some = {name: Source(name=name) for name in names(ENVIRONMENT)}
    with pytest.raises(ValueError, match="the map does not say where h2so4 is"):
        open_records(made, map=RecordMap(variables=some))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"count": 0}, "count = 0; allowed is"),
        ({"kinds": ("marine",)}, "unknown name 'marine'"),
        ({"kinds": ()}, "at least one kind and one timestep"),
        ({"timesteps": (30.0,)}, "timestep = 30; allowed is [60, 3600] s"),
        ({"part": "tests"}, "unknown name 'tests'; did you mean 'test'?"),
        ({"seed": -1}, "seed = -1; allowed is"),
    ],
)
def test_sample_refusals(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        Sample(**{"count": 10, **wrong})  # type: ignore[arg-type]


def test_substeps_option() -> None:
    assert sampling.parts_of_step("converged") == "converged"
    assert sampling.parts_of_step("4") == 4
    with pytest.raises(ValueError, match="substeps = 0; allowed is a number from 1, or converged"):
        sampling.parts_of_step("0")
