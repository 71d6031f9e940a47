"""The host model, run as a program on a tiny grid."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import modelfiles
import numpy as np
import pytest
import xarray as xr

from pyemu import reference
from pyemu.integrals import condensation_sink, number_above
from pyemu.variables import DIAGNOSTICS, ENVIRONMENT, PROGNOSTICS, lookup, names

ROOT = Path(__file__).parents[2]
HOST = ROOT / "build/release/fortran/host/m7emu-host"
MODEL = ROOT / "tests/abi/ham2.safetensors"
TIMING = ["component_seconds", "exchanged_bytes"]
RECORDED = names(ENVIRONMENT)[:5] + names(PROGNOSTICS)
TINY: dict[str, dict[str, object]] = {
    "run": {"days": 0.25, "threads": 1},
    "grid": {"nlon": 9, "nlat": 6, "nlev": 11},
    "output": {"file": "'host.nc'", "interval": 3, "precision": "'double'"},
}

Groups = dict[str, dict[str, object]]
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run the host in an empty folder with TINY and what is given on top, or with other text."""

    def start(
        text: str = "", ranks: int = 0, **extra: dict[str, object]
    ) -> "subprocess.CompletedProcess[str]":
        groups = {name: TINY.get(name, {}) | extra.get(name, {}) for name in TINY | extra}
        (tmp_path / "host.nml").write_text(text or namelist(groups))
        return subprocess.run(
            [*launcher(ranks), str(HOST), "host.nml"],
            cwd=tmp_path,
            env=ENVIRON,
            capture_output=True,
            text=True,
            check=False,
        )

    return start


# Open MPI asks for these where there are fewer cores than ranks, or the user is root. Waiting
# threads leave the cores to others.
ENVIRON = os.environ | {
    "OMP_WAIT_POLICY": "passive",
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "OMPI_MCA_rmaps_base_oversubscribe": "1",
}


def launcher(ranks: int) -> list[str]:
    """Words before the host's; `make` installs MPI, so that a machine without it fails."""
    return ["mpirun", "-n", str(ranks)] if ranks else []


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
        outputs.append(opened(tmp_path / "host.nc").drop_vars(TIMING))
        records.append(opened(tmp_path / "r.nc"))
    for other in outputs[1:]:
        assert outputs[0].identical(other)
    for other in records[1:]:
        assert records[0].identical(other)


def test_bits_do_not_depend_on_ranks(run: Run, tmp_path: Path, guarded: str) -> None:
    outputs, restarts = [], []
    shape = {"nlon": 9, "nlat": 9, "nlev": 11}
    blend = {"microphysics": "'blend'", "emulator_file": f"'{guarded}'", "blend_share": 0.1}
    for ranks, nproma, threads in ((0, 64, 1), (1, 16, 2), (2, 7, 2), (4, 5, 1)):
        done = run(
            ranks=ranks,
            run={"threads": threads, "restart": "'restart.nc'"},
            grid=shape | {"nproma": nproma},
            physics=blend,
            output={"mean": "'all'", "instant": "'all'"},
        )
        assert done.returncode == 0, done.stderr
        outputs.append(opened(tmp_path / "host.nc").drop_vars(TIMING))
        restarts.append(opened(tmp_path / "restart.nc"))
    for other in outputs[1:]:
        assert outputs[0].identical(other)
    for other in restarts[1:]:
        assert restarts[0].identical(other)
    with xr.open_dataset(tmp_path / "host.nc") as data:
        # Two rows of all tracers from three seams, either way, in each of twelve steps.
        assert float(data.exchanged_bytes) == 12 * 6 * 2 * 28 * 9 * 11 * 8
    done = run(ranks=4, grid=shape | {"nlat": 7})
    assert "nlat = 7: too few for 4 ranks" in done.stderr
    done = run(ranks=2, grid=shape, physics=blend | {"emulator_file": "'none.safetensors'"})
    assert done.stderr.count("none.safetensors") == 1


@pytest.mark.parametrize("microphysics", ["m7", "emulator", "blend"])
def test_restart_goes_on_bit_for_bit(
    microphysics: str, run: Run, tmp_path: Path, guarded: str
) -> None:
    physics = {"microphysics": f"'{microphysics}'", "emulator_file": f"'{guarded}'"}
    if microphysics == "blend":
        physics["blend_share"] = "0.05"
    output = {"mean": "'all'", "instant": "'all'", "interval": 24}
    whole = {"days": 4, "restart": "'whole.nc'"}
    assert run(run=whole, physics=physics, output=output).returncode == 0
    (tmp_path / "host.nc").rename(tmp_path / "all.nc")
    first = {"days": 2, "restart": "'half.nc'"}
    assert run(run=first, physics=physics, output=output).returncode == 0
    second = {"days": 2, "restart_from": "'half.nc'", "restart": "'end.nc'"}
    done = run(run=second, physics=physics, output=output, grid={"nproma": 5})
    assert done.returncode == 0, done.stderr
    assert opened(tmp_path / "whole.nc").identical(opened(tmp_path / "end.nc"))
    expected = opened(tmp_path / "all.nc").drop_vars(TIMING).isel(time=slice(2, None))
    assert expected.identical(opened(tmp_path / "host.nc").drop_vars(TIMING))


def test_a_day_with_kappa_water(run: Run, tmp_path: Path) -> None:
    """The emulator beside M7, both with HAM's nwater = 1: burdens, numbers and water."""
    shutil.copy(ROOT / "tests/abi/kappa.safetensors", tmp_path / "model.safetensors")
    found = []
    for microphysics in ("m7", "emulator"):
        physics = {"microphysics": f"'{microphysics}'", "water": "'kappa'"}
        physics["emulator_file"] = "'model.safetensors'"
        done = run(run={"days": 1}, physics=physics, output={"mean": "'all'"})
        assert done.returncode == 0, done.stderr
        found.append(opened(tmp_path / "host.nc").drop_vars(TIMING))
    judged = [n for n in names(PROGNOSTICS + DIAGNOSTICS) if n in found[0]]
    assert {"water_cs", "num_ks", "wet_radius_as"} <= set(judged)
    for name in judged:
        m7, emulated = (x[name].to_numpy().astype(float) for x in found)
        assert np.abs(m7).max() > 0.0, name
        error = np.abs(emulated - m7).mean() / np.abs(m7).mean()
        assert error < 1e-4, (name, error)


def test_restart_of_another_run_is_refused(run: Run, tmp_path: Path) -> None:
    emulated = {"microphysics": "'emulator'", "emulator_file": "'model.safetensors'"}
    shutil.copy(MODEL, tmp_path / "model.safetensors")
    write = {"days": 0.125, "restart": "'restart.nc'"}
    assert run(run=write, physics=emulated).returncode == 0
    (tmp_path / "host.nc").unlink()
    go_on = {"days": 0.125, "restart_from": "'restart.nc'"}

    def refused(*words: str, **extra: dict[str, object]) -> None:
        done = run(**({"run": go_on, "physics": emulated} | extra))
        assert done.returncode != 0
        assert len(done.stderr.splitlines()) == 1
        for word in ("restart.nc", *words):
            assert word in done.stderr
        assert not list(tmp_path.glob("host.nc*"))

    refused("9 x 6 x 11", "9 x 6 x 12", grid={"nlev": 12})
    refused("timestep '1800", "900", run=go_on | {"timestep": 900})
    refused("microphysics", "'emulator'", "'m7'", physics={"microphysics": "'m7'"})
    shutil.copy(ROOT / "tests/abi/m7_2004.safetensors", tmp_path / "model.safetensors")
    refused("model", opened(tmp_path / "restart.nc").attrs["model"])
    shutil.copy(MODEL, tmp_path / "model.safetensors")
    refused("scenario", "branch", physics=emulated | {"emission_scale": 2})

    changed = opened(tmp_path / "restart.nc")
    for name, value in (("format", "m7emu-host restart 0"), ("profile", "m7_2004")):
        other = changed.assign_attrs({name: value})
        other.to_netcdf(tmp_path / "restart.nc")
        refused(name, value)
    (tmp_path / "restart.nc").write_bytes(b"nothing")
    refused("restart_from")
    (tmp_path / "restart.nc").unlink()
    refused("No such file")


def test_branch_takes_the_state_alone(run: Run, tmp_path: Path) -> None:
    assert run(run={"restart": "'restart.nc'"}, output={"instant": "'default'"}).returncode == 0
    end = opened(tmp_path / "host.nc").isel(time=-1)
    branch = {"restart_from": "'restart.nc'", "branch": ".true.", "days": 0.125}
    physics = {"microphysics": "'emulator'", "emulator_file": f"'{MODEL}'"}
    done = run(run=branch, physics=physics, output={"instant": "'default'"})
    assert done.returncode == 0, done.stderr
    output = opened(tmp_path / "host.nc")
    assert output.time_bounds[0, 0] == end.time
    assert float(output.ledger_closure.max()) <= 1e-12
    place = text(output.process_name).index("emission")
    assert float(output.ledger[0, place].max()) < float(end.ledger[place].max())


def test_a_killed_run_leaves_the_last_restart(run: Run, tmp_path: Path) -> None:
    groups = TINY | {
        "run": {"days": 300, "restart": "'restart.nc'", "restart_interval": 3},
        "output": TINY["output"] | {"mean": "'none'"},
    }
    (tmp_path / "long.nml").write_text(namelist(groups))
    with subprocess.Popen([str(HOST), "long.nml"], cwd=tmp_path, stdout=subprocess.PIPE) as going:
        for _ in range(600):
            time.sleep(0.05)
            if (tmp_path / "restart.nc").exists():
                break
        going.kill()
    assert going.returncode == -signal.SIGKILL
    kept = opened(tmp_path / "restart.nc")
    assert kept.step % 6 == 0
    done = run(run={"days": 0.125, "restart_from": "'restart.nc'", "restart": "'restart.nc'"})
    assert done.returncode == 0, done.stderr
    assert opened(tmp_path / "restart.nc").step == kept.step + 6
    whole = {"days": int(kept.step + 6) / 48, "restart": "'whole.nc'"}
    assert run(run=whole).returncode == 0
    assert opened(tmp_path / "whole.nc").identical(opened(tmp_path / "restart.nc"))


def test_a_full_disk_leaves_the_last_restart(run: Run, tmp_path: Path) -> None:
    assert run(run={"restart": "'restart.nc'"}).returncode == 0
    kept = (tmp_path / "restart.nc").read_bytes()
    (tmp_path / "restart.nc.part").symlink_to("/dev/full")
    done = run(run={"restart": "'restart.nc'", "restart_from": "'restart.nc'"})
    assert done.returncode != 0
    assert "restart.nc: the restart could not be written" in done.stderr
    assert (tmp_path / "restart.nc").read_bytes() == kept
    assert not list(tmp_path.glob("*.part"))


@pytest.fixture
def guarded(tmp_path: Path) -> str:
    """A model of kernels that were never learned, and that knows little but 250 to 270 K."""
    meta, tensors = modelfiles.with_network(modelfiles.metadata(), "coagulation", widths=(4,))
    place = modelfiles.FEATURES["coagulation"].index("temperature")
    for name, bound in (("low", -1e3), ("high", 1e3)):
        tensors[f"coagulation.feature_{name}"][:] = bound
        tensors[f"coagulation.feature_{name}"][place] = 250.0 if name == "low" else 270.0
    return str(modelfiles.write(tmp_path / "guarded.safetensors", meta, tensors))


def test_blend_hands_cells_back(run: Run, tmp_path: Path, guarded: str) -> None:
    cells, state = {}, {}
    for name in ("m7", "emulator", "blend"):
        done = run(
            physics={"microphysics": f"'{name}'", "emulator_file": f"'{guarded}'"},
            output={"instant": "'all'"},
        )
        assert done.returncode == 0, done.stderr
        data = opened(tmp_path / "host.nc").isel(time=-1)
        state[name] = data[[f"num_{mode}_instant" for mode in ("ns", "ks", "as")]]
        if name != "m7":
            cells[name] = dict(zip(text(data.tally_name), data.cells.values, strict=True))
    assert not {"cells"} & set(state["m7"])
    for name, counts in cells.items():
        flagged = counts["outside"] + counts["invalid"]
        assert flagged > 1000
        assert counts["fine"] + counts["extrapolating"] + flagged == 12 * 9 * 6 * 11
        assert counts["m7_flagged"] == (flagged if name == "blend" else 0)
        assert counts["m7_uncertain"] == 0
    assert not state["blend"].equals(state["emulator"])
    assert not state["blend"].equals(state["m7"])


def test_budgets_close_and_nothing_is_negative(run: Run, tmp_path: Path) -> None:
    done = run(run={"days": 2}, output={"interval": 6, "mean": "'all'", "instant": "'default'"})
    assert done.returncode == 0, done.stderr
    output = opened(tmp_path / "host.nc")
    assert float(output.ledger_closure.max()) <= 1e-12
    for process in ("transport", "mixing", "convection", "chemistry", "microphysics"):
        moved = output.ledger.isel(process=text(output.process_name).index(process))
        assert float((abs(moved) / output.ledger_burden).max()) <= 1e-12, process
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


def test_integrals_are_those_of_pyemu(run: Run, tmp_path: Path) -> None:
    wanted = ["number_above_50nm", "number_above_100nm", "condensation_sink", "formation_rate"]
    fields = ", ".join(f"'{name}'" for name in ["default", *wanted, "nucleation_event"])
    output = {"instant": fields, "mean": "'none'", "interval": 0.5, "records": "'r.nc'"}
    done = run(run={"days": 0.0625}, output=output | {"record_fraction": 1})
    assert done.returncode == 0, done.stderr
    last = opened(tmp_path / "host.nc").isel(time=-1)

    density = last.air_density_instant
    state = {}
    for name in names(PROGNOSTICS)[1:]:
        # Sulfate: molecules of 96.0631 g cm-3 from kg kg-1; others ug m-3; numbers cm-3.
        per_mass = 6.02214e20 / 96.0631 if name.startswith("so4") else 1e9
        scale = 1e-6 if name.startswith("num") else per_mass
        state[name] = (last[f"{name}_instant"] * density * scale).to_numpy()
    for limit in (50, 100):
        got = last[f"number_above_{limit}nm_instant"].to_numpy()
        np.testing.assert_allclose(got, number_above(state, limit * 1e-7), rtol=1e-5, atol=1e-9)

    records = opened(tmp_path / "r.nc").isel(cell=slice(-9 * 6 * 11, None))
    after = {name: records[f"{name}_after"].to_numpy() for name in names(PROGNOSTICS + DIAGNOSTICS)}
    after |= {name: records[name].to_numpy() for name in names(ENVIRONMENT) if name in records}
    rise = np.maximum(after["num_ns"] - records["num_ns"].to_numpy(), 0.0) / 1800.0
    expected = {
        "condensation_sink": condensation_sink(after, after),
        "formation_rate": rise,
        "nucleation_event": (rise > 0.01).astype(float),
    }
    for name, truth in expected.items():
        assert np.ptp(truth) > 0.0, name
        # Records come block by block: the same cells in another order.
        got = np.sort(last[f"{name}_instant"].to_numpy().ravel())
        np.testing.assert_allclose(got, np.sort(truth), rtol=1e-6, atol=1e-12, err_msg=name)


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
    "no folder for the restart": ({"run": {"restart": "'no/r.nc'"}}, ("&run restart", "no/r.nc")),
    "a folder for the restart": ({"run": {"restart": "'folder'"}}, ("&run restart", "folder")),
    "restart between outputs": ({"run": {"restart_interval": 4}}, ("&run", "restart_interval = 4")),
    "a restart over the output": ({"run": {"restart": "'host.nc'"}}, ("&run", "another file")),
    "unknown device": (
        {
            "physics": {
                "microphysics": "'emulator'",
                "emulator_file": f"'{MODEL}'",
                "emulator_device": "'gpu'",
            }
        },
        ("&physics emulator_device", "'gpu'", "'cuda'"),
    ),
    "share above one": ({"physics": {"blend_share": 2}}, ("&physics", "blend_share = 2")),
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
    listed = opened(tmp_path / "host.nc").drop_vars(TIMING)
    assert run("&run\n days = 0.0625\n/\n&output\n interval = 1.5\n/\n").returncode == 0
    assert opened(tmp_path / "host.nc").drop_vars(TIMING).identical(listed)
