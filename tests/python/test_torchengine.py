"""The torch engine: the same contract as the native one, in Python and in a host's process."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import OUTPUTS, at, different

import pyemu
from pyemu import emulator, states
from pyemu.variables import MASSES, NUMBERS, PROGNOSTICS

ROOT = Path(__file__).parents[2]
BRIDGE = ROOT / "build/release/bridge"
MODEL = ROOT / "tests/abi/ham2.safetensors"


@pytest.mark.parametrize("name", emulator.shipped())
@pytest.mark.parametrize("timestep", [60.0, 1800.0])
def test_native(name: str, timestep: float) -> None:
    """Each engine computes in its own precision: 99 % of values within 1e-4 of all there is.

    In the others a mode at its limit is merged in one and not in the other.
    """
    state = states.sample(2000, 17)
    native, torch = pyemu.load(name), pyemu.load(name, engine="torch")
    assert torch.metadata == native.metadata
    one, other = native.step(state, timestep), torch.step(state, timestep)
    assert one.keys() == other.keys()
    for key in one:
        assert one[key].dtype == other[key].dtype
        assert one[key].shape == other[key].shape
    assert (one["flag"] != other["flag"]).mean() < 1e-3  # at the edge of a network's range
    assert different(one, other, ["negatives"]) == []
    if "self_error" in native.metadata:  # a network of its own
        error = np.abs(one["uncertainty"] - other["uncertainty"])
        assert other["uncertainty"].min() > 0.0
        assert np.quantile(error / other["uncertainty"], 0.99) < 1e-4
    else:
        assert different(one, other, ["uncertainty"]) == []
    for variable in PROGNOSTICS:
        total = np.abs(one[variable.name])
        for table in (MASSES, NUMBERS):
            if variable in table:
                total = sum(
                    (state[v.name] for v in table if v.species == variable.species),
                    np.zeros(total.size),
                )
        error = np.abs(one[variable.name] - other[variable.name])
        scale = total + np.abs(other[variable.name])
        assert np.quantile(error / (scale + 1e-30), 0.99) < 1e-4, variable.name


def test_blocks_and_threads() -> None:
    """An exact model's bits are the same in any block, place and thread."""
    state = states.sample(3000, 5)
    model = pyemu.load(MODEL, engine="torch")
    whole = model.step(state, 900.0)
    assert different(whole, model.step(state, 900.0, threads=2)) == []
    order = np.random.default_rng(1).permutation(3000)[:777]
    assert different(at(whole, order), model.step(at(state, order), 900.0), OUTPUTS) == []


def test_input_is_not_changed() -> None:
    state = states.sample(50, 3)
    before = {key: value.copy() for key, value in state.items()}
    pyemu.load(MODEL, engine="torch").step(state, 900.0)
    assert different(before, state, state) == []


@pytest.mark.parametrize("timestep", [0.0, np.nan, 1e9])
def test_bad_timesteps(timestep: float) -> None:
    with pytest.raises(ValueError, match="timestep"):
        pyemu.load(MODEL, engine="torch").step(states.sample(3, 1), timestep)


def test_refusals(tmp_path: Path) -> None:
    bad = tmp_path / "bad.safetensors"
    bad.write_text("not a model\n" * 99)
    with pytest.raises(ValueError, match=r"bad\.safetensors"):
        pyemu.load(bad, engine="torch")
    with pytest.raises(OSError, match=r"no_such: cannot be read: No such file"):
        pyemu.load(tmp_path / "no_such", engine="torch")
    with pytest.raises(OSError, match="cannot be read"):
        pyemu.load(tmp_path, engine="torch")
    with pytest.raises(ValueError, match=r"device 'cuda:99' is not there: torch finds"):
        pyemu.load(MODEL, device="cuda:99", engine="torch")
    with pytest.raises(ValueError, match="device = 'gpu'"):
        pyemu.load(MODEL, device="gpu", engine="torch")


OPEN = """
import ctypes, sys

class Options(ctypes.Structure):
    _fields_ = [("size", ctypes.c_uint32), ("device", ctypes.c_int32), ("engine", ctypes.c_char_p)]

library = ctypes.CDLL(sys.argv[1])
model, text = ctypes.c_void_p(), ctypes.create_string_buffer(1000)
options = Options(ctypes.sizeof(Options), -1, b"torch")
status = library.m7emu_open(sys.argv[2].encode(), ctypes.byref(options), ctypes.byref(model))
library.m7emu_message(text, 1000)
print(status, text.value.decode())
print("pyemu.torchengine" in sys.modules)
if status == 0:
    library.m7emu_close(model)
"""


def opened(library: Path) -> list[str]:
    """Open a model in torch through the library in a process that already runs Python."""
    command = [sys.executable, "-c", OPEN, str(library), str(MODEL)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_python_that_runs_already() -> None:
    """The library takes the interpreter of the process, and starts no second one."""
    assert opened(BRIDGE / "libm7emu.so.1") == ["0 ", "True"]


def test_without_the_engines_library(tmp_path: Path) -> None:
    shutil.copy(BRIDGE / "libm7emu.so.1", tmp_path)
    told, loaded = opened(tmp_path / "libm7emu.so.1")
    assert told.startswith("5 m7emu_open: engine 'torch': libm7emu_torch.so.1: cannot open")
    assert loaded == "False"


def test_a_damaged_library_of_the_engine(tmp_path: Path) -> None:
    """What is wrong with it is told, not that the system has no other."""
    shutil.copy(BRIDGE / "libm7emu.so.1", tmp_path)
    damaged = tmp_path / "libm7emu_torch.so.1"
    damaged.write_bytes(b"no library")
    told, loaded = opened(tmp_path / "libm7emu.so.1")
    assert told == f"5 m7emu_open: engine 'torch': {damaged}: file too short"
    assert loaded == "False"


def test_library_exports_one_name() -> None:
    program = shutil.which("nm")
    assert program
    library = str(BRIDGE / "libm7emu_torch.so.1")
    told = subprocess.run(
        [program, "-D", "--defined-only", library], capture_output=True, text=True, check=True
    )
    assert {line.split()[-1] for line in told.stdout.splitlines()} == {"m7emu_torch"}


def test_host(tmp_path: Path) -> None:
    """The host's namelist chooses the engine; what it writes is near the native engine's."""
    import xarray as xr

    found = {}
    for engine in ("native", "torch", "magic"):
        folder = tmp_path / engine
        folder.mkdir()
        (folder / "host.nml").write_text(
            "&run\n days = 0.0625, threads = 2\n/\n&grid\n nlon = 8, nlat = 6, nlev = 4\n/\n"
            f"&physics\n microphysics = 'emulator', emulator_file = '{MODEL}'\n"
            f" emulator_engine = '{engine}'\n/\n&output\n file = 'host.nc'\n/\n"
        )
        program = ROOT / "build/release/fortran/host/m7emu-host"
        done = subprocess.run(
            [str(program), "host.nml"], cwd=folder, capture_output=True, text=True, check=False,
            env={**os.environ, "OMP_NUM_THREADS": "2"},
        )  # fmt: skip
        if engine == "magic":
            assert done.returncode != 0
            assert "engine is 'magic', expected 'native' or 'torch'" in done.stdout + done.stderr
            continue
        assert done.returncode == 0, done.stdout + done.stderr
        with xr.open_dataset(folder / "host.nc", decode_times=False) as data:
            found[engine] = data.load()
    fields = {k: v for k, v in found["native"].data_vars.items() if {"lat", "lon"} <= {*v.dims}}
    assert fields
    for name, field in fields.items():
        scale = float(np.abs(field).max())
        assert np.abs(found["torch"][name] - field).max() <= 1e-3 * scale + 1e-30, name
