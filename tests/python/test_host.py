"""The host model, run as a program on a tiny grid."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from pyemu import reference
from pyemu.variables import DIAGNOSTICS, ENVIRONMENT, PROGNOSTICS, lookup, names

ROOT = Path(__file__).parents[2]
HOST = ROOT / "build/release/fortran/host/m7emu-host"
RECORDED = names(ENVIRONMENT)[:5] + names(PROGNOSTICS)
TINY: dict[str, dict[str, object]] = {
    "run": {"days": 0.25},
    "grid": {"nlon": 9, "nlat": 6, "nlev": 11},
    "output": {"file": "'host.nc'", "interval": 3, "precision": "'double'"},
}

Groups = dict[str, dict[str, object]]
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run the host in an empty folder with TINY and what is given on top, or with other text."""

    def start(text: str = "", **extra: dict[str, object]) -> "subprocess.CompletedProcess[str]":
        groups = {name: TINY.get(name, {}) | extra.get(name, {}) for name in TINY | extra}
        (tmp_path / "host.nml").write_text(text or namelist(groups))
        return subprocess.run(
            [str(HOST), "host.nml"], cwd=tmp_path, capture_output=True, text=True, check=False
        )

    return start


def namelist(groups: Groups) -> str:
    return "".join(
        f"&{group}\n" + "".join(f"  {k} = {v}\n" for k, v in members.items()) + "/\n"
        for group, members in groups.items()
    )


def opened(path: Path) -> xr.Dataset:
    with xr.open_dataset(path) as data:
        return data.load()


def text(values: xr.DataArray) -> list[str]:
    return [value.decode().strip() for value in values.to_numpy()]


def test_bits_do_not_depend_on_blocks_and_threads(run: Run, tmp_path: Path) -> None:
    outputs, records = [], []
    for nproma, threads in ((1, 1), (7, 2), (16, 1), (64, 2), (64, 1)):
        done = run(
            run={"threads": threads},
            grid={"nproma": nproma},
            output={"mean": "'all'", "instant": "'all'", "records": "'r.nc'", "record_fraction": 1},
        )
        assert done.returncode == 0, done.stderr
        outputs.append(opened(tmp_path / "host.nc").drop_vars("component_seconds"))
        records.append(opened(tmp_path / "r.nc"))
    for other in outputs[1:]:
        assert outputs[0].identical(other)
    for other in records[1:]:
        assert records[0].identical(other)


def test_budgets_close_and_nothing_is_negative(run: Run, tmp_path: Path) -> None:
    done = run(run={"days": 2}, output={"interval": 6, "mean": "'all'", "instant": "'default'"})
    assert done.returncode == 0, done.stderr
    output = opened(tmp_path / "host.nc")
    assert float(output.ledger_closure.max()) <= 1e-12
    moved = output.ledger[:, [text(output.process_name).index("microphysics")]].squeeze("process")
    assert float((abs(moved) / output.ledger_burden).max()) <= 1e-12
    assert int(output.negatives.max()) == 0
    signed = {"h2so4_production", "ledger", "time", "lat", "lat_bounds"}
    for name, field in output.drop_vars(["time_bounds"]).data_vars.items():
        if field.dtype.kind == "f" and name not in signed:
            assert bool(np.isfinite(field).all()), name
            assert float(field.min()) >= 0.0, name


def test_ledger_agrees_with_the_fields(run: Run, tmp_path: Path) -> None:
    assert run(output={"instant": "'burden_du'", "interval": 6}).returncode == 0
    output = opened(tmp_path / "host.nc")
    weight = np.diff(np.sin(np.deg2rad(output.lat_bounds)), axis=1)[:, 0]
    mean = output.burden_du_instant.isel(time=-1).weighted(xr.DataArray(abs(weight), dims="lat"))
    place = text(output.budget_name).index("du")
    assert float(mean.mean()) == pytest.approx(float(output.ledger_burden[-1, place]), rel=1e-12)


def test_atmosphere_is_plausible(run: Run, tmp_path: Path) -> None:
    done = run(run={"days": 1}, grid={"nlon": 24, "nlat": 12, "nlev": 19}, output={"interval": 24})
    assert done.returncode == 0, done.stderr
    output = opened(tmp_path / "host.nc").isel(time=0)
    weight = np.cos(np.deg2rad(output.lat))
    burden = {"so4": (0.5, 8), "bc": (0.05, 1), "oc": (0.3, 5), "ss": (3, 40), "du": (5, 80)}
    for species, (low, high) in burden.items():
        mean = 1e6 * float(output[f"burden_{species}"].weighted(weight).mean())
        assert low < mean < high, (species, mean)
    assert float(output.temperature.min()) > 180
    assert float(output.temperature.max()) < 325
    assert 1.0 < 86400 * float(output.precipitation.weighted(weight).mean()) < 5.0


def test_output_follows_cf(run: Run, tmp_path: Path) -> None:
    assert run(output={"instant": "'temperature'", "precision": "'single'"}).returncode == 0
    output = opened(tmp_path / "host.nc")
    assert output.Conventions == "CF-1.8"
    assert output.so4_as.dims == ("time", "lev", "lat", "lon")
    assert output.so4_as.dtype == np.float32
    assert output.so4_as.encoding["zlib"]
    assert output.so4_as.cell_methods == "time: mean"
    assert output.temperature_instant.cell_methods == "time: point"
    assert output.sizes["time"] == 2
    for name, field in output.data_vars.items():
        assert "long_name" in field.attrs or str(name).endswith("_bounds"), name


def test_records_are_pairs_of_the_reference(run: Run, tmp_path: Path) -> None:
    done = run(output={"records": "'r.nc'", "record_fraction": 0.3})
    assert done.returncode == 0, done.stderr
    records = opened(tmp_path / "r.nc")
    after = [f"{name}_after" for name in names(PROGNOSTICS + DIAGNOSTICS)]
    assert list(records.data_vars) == [*RECORDED, *after]
    for name, field in records.data_vars.items():
        assert field.dims == ("cell",)
        assert field.units == lookup(str(name).removesuffix("_after")).unit
    cells = 9 * 6 * 11 * 12
    assert 0.25 * cells < records.sizes["cell"] < 0.35 * cells
    assert {"profile", "title", "history", "source"} <= set(records.attrs)
    before = {name: records[name].to_numpy() for name in RECORDED}
    expected = reference.step(before, records.timestep, profile=records.profile)
    for name in names(PROGNOSTICS + DIAGNOSTICS):
        got = records[f"{name}_after"].to_numpy()
        np.testing.assert_allclose(got, expected[name], rtol=1e-12, atol=1e-30, err_msg=name)


def test_shadow_is_compared(run: Run, tmp_path: Path) -> None:
    shadow = {"microphysics": "'shadow'", "shadow_with": "'m7'"}
    assert run(physics=shadow | {"shadow_substeps": 1}).returncode == 0
    same = opened(tmp_path / "host.nc")
    assert text(same.compared_name) == list(names(PROGNOSTICS))
    assert float(same.shadow_rms.max()) == 0.0
    assert run(physics=shadow | {"shadow_substeps": 4}).returncode == 0
    finer = opened(tmp_path / "host.nc")
    assert float(finer.shadow_rms.max()) > 0.0
    assert finer.so4_as.identical(same.so4_as)


BAD: dict[str, tuple[Groups, tuple[str, ...]]] = {
    "unknown group": ({"grit": {"nlon": 4}}, ("host.nml", "&grit")),
    "unknown member": ({"grid": {"nlom": 4}}, ("host.nml", "&grid", "nlom")),
    "wrong type": ({"grid": {"nlon": "'many'"}}, ("host.nml", "&grid", "nlon = 'many'")),
    "out of range": ({"grid": {"nlev": 0}}, ("host.nml", "&grid", "nlev = 0")),
    "not a number": ({"run": {"days": "NaN"}}, ("host.nml", "&run", "days")),
    "broken step": ({"run": {"days": 0.013}}, ("host.nml", "&run", "days")),
    "unknown choice": ({"physics": {"profile": "'ham9'"}}, ("host.nml", "&physics", "ham9")),
    "unknown field": ({"output": {"mean": "'so4'"}}, ("host.nml", "&output", "mean = 'so4'")),
    "no folder": ({"output": {"file": "'no/host.nc'"}}, ("no/host.nc",)),
    "a folder": ({"output": {"file": "'folder'"}}, ("folder",)),
    "no folder for records": ({"output": {"records": "'no/r.nc'"}}, ("no/r.nc",)),
    "one file twice": ({"output": {"records": "'host.nc'"}}, ("records",)),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_namelist_is_refused(case: str, run: Run, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    extra, words = BAD[case]
    done = run(**extra)
    assert done.returncode != 0
    assert len(done.stderr.splitlines()) == 1
    for word in words:
        assert word in done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"host.nml", "folder"}


def test_group_without_end_and_file_without_group(run: Run) -> None:
    assert "&grid" in run("&grid\n nlon = 4\n").stderr
    assert "no namelist group" in run("nothing\n").stderr


def test_shipped_namelist_names_every_default(run: Run, tmp_path: Path) -> None:
    shipped = (ROOT / "fortran/host/host.nml").read_text()
    short = shipped.replace("days = 5", "days = 0.0625").replace("interval = 24", "interval = 1.5")
    assert run(short).returncode == 0
    listed = opened(tmp_path / "host.nc").drop_vars("component_seconds")
    assert run("&run\n days = 0.0625\n/\n&output\n interval = 1.5\n/\n").returncode == 0
    assert opened(tmp_path / "host.nc").drop_vars("component_seconds").identical(listed)
