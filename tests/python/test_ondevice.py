"""The native engine on a GPU, from Python: kernels and driver of libm7emu_cuda, a simulated GPU.

The library is that of tests/abi; bridge/gpu/simulation.h is the GPU.
"""

import ctypes
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import OUTPUTS, Array

import pyemu
from pyemu import ondevice, states
from pyemu.emulator import shipped
from pyemu.state import pack
from pyemu.variables import ENVIRONMENT, MASSES, names

CELLS = 300
DEVICE = "cuda:1"


def library() -> Path:
    """Build the library in the folder that the extension comes from."""
    from pyemu._bridge import binding

    build = Path(binding.__file__).parents[2]
    target = "tests/abi/libm7emu_cuda.so.1"
    ninja = shutil.which("ninja")
    assert ninja
    subprocess.run([ninja, "-C", build, target], check=True, capture_output=True)
    return build / target


@pytest.fixture(scope="module")
def gpu() -> ctypes.CDLL:
    """The simulated GPU: once it is loaded, it is what libm7emu finds by the library's name."""
    simulated = ctypes.CDLL(str(library()))
    simulated.simulated_malloc.restype = ctypes.c_void_p
    simulated.simulated_malloc.argtypes = [ctypes.c_int, ctypes.c_size_t]
    for copy in (simulated.simulated_to_device, simulated.simulated_from_device):
        copy.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]
    simulated.simulated_free.argtypes = [ctypes.c_void_p]
    simulated.simulated_choose(1)
    return simulated


class Field:
    """An array on the GPU, as torch and CuPy have them."""

    def __init__(self, gpu: ctypes.CDLL, values: Array) -> None:
        self.gpu, self.here = gpu, np.ascontiguousarray(values)
        self.there = gpu.simulated_malloc(1, self.here.nbytes)
        gpu.simulated_to_device(self.there, self.here.ctypes.data, self.here.nbytes)
        self.__cuda_array_interface__ = {
            "shape": self.here.shape,
            "typestr": self.here.dtype.str,
            "data": (self.there, False),
            "strides": None,
            "version": 3,
        }

    def get(self) -> Array:
        back = np.empty_like(self.here)
        self.gpu.simulated_from_device(back.ctypes.data, self.there, back.nbytes)
        return back

    def __del__(self) -> None:
        self.gpu.simulated_free(self.there)


@pytest.fixture
def state() -> dict[str, Array]:
    return states.sample(CELLS, 3)


@pytest.fixture
def fields(gpu: ctypes.CDLL, state: dict[str, Array]) -> dict[str, Any]:
    return made(gpu, state, np.float64)


def made(gpu: ctypes.CDLL, state: dict[str, Array], real: type) -> dict[str, Any]:
    environment, prognostic = pack(state)
    shape = (3, CELLS // 3)
    values = {v.name: environment[:, i] for i, v in enumerate(ENVIRONMENT)}
    values |= {"h2so4": prognostic[:, 0], "mass": prognostic[:, 1:19], "number": prognostic[:, 19:]}
    values |= {"wet_radius": np.zeros((CELLS, 7)), "uncertainty": np.zeros(CELLS)}
    found = {
        name: Field(gpu, value.T.reshape(*value.shape[1:], *shape).astype(real))
        for name, value in values.items()
    }
    return {**found, "flag": Field(gpu, np.full(shape, -1, np.int32))}


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("name", shipped())
def test_step_is_the_cpus(name: str, state: dict[str, Array]) -> None:
    ours = pyemu.load(name, device=DEVICE).step(state, 900.0)
    cpu = pyemu.load(name).step(state, 900.0)
    assert (ours["flag"] == cpu["flag"]).all()
    for variable in OUTPUTS:
        error = np.abs(ours[variable] - cpu[variable])
        near = error <= 1e-5 * np.abs(cpu[variable]) + 1e-6 * np.abs(cpu[variable]).max()
        assert near.mean() > 0.99, variable


@pytest.mark.parametrize(("real", "tolerance"), [(np.float64, 0.0), (np.float32, 1e-3)])
def test_in_place(real: type, tolerance: float, gpu: ctypes.CDLL, state: dict[str, Array]) -> None:
    emulator = pyemu.load("fast", device=DEVICE)
    expected = emulator.step(state, 900.0)
    given = made(gpu, state, real)
    emulator.step_in_place(given, 900.0)
    assert (given["flag"].get() == 0).all()
    mass, gas = given["mass"].get(), given["h2so4"].get()
    assert gas.reshape(-1) == pytest.approx(expected["h2so4"], rel=tolerance, abs=1e-3)
    for place, variable in enumerate(names(MASSES)):
        scale = expected[variable].max()
        assert mass[place].reshape(-1) == pytest.approx(
            expected[variable], rel=tolerance, abs=tolerance * scale
        ), variable


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mass": None}, "missing from the fields: mass"),
        ({"masses": 1}, "masses"),
        ({"mass": np.zeros(3)}, "mass is not in a GPU's memory"),
        (
            {"mass": {"shape": (17, 3, 100)}},
            r"mass has shape \(17, 3, 100\); expected \(18, 3, 100\)",
        ),
        ({"number": {"typestr": "<f4"}}, "number is of type '<f4'; expected '<f8'"),
        ({"flag": {"typestr": "<f8"}}, "flag is of type '<f8'; expected '<i4'"),
        ({"pressure": {"typestr": "<i8"}}, "pressure is of type '<i8'"),
        ({"pressure": {"shape": (300,)}}, r"pressure has shape \(300,\)"),
        ({"mass": {"strides": (8, 16, 32)}}, "mass is not contiguous"),
    ],
)
def test_bad_fields(change: dict[str, Any], message: str, fields: dict[str, Any]) -> None:
    for name, value in change.items():
        if value is None:
            del fields[name]
        elif isinstance(value, dict):
            fields[name].__cuda_array_interface__ |= value
        else:
            fields[name] = value
    with pytest.raises(ValueError, match=message):
        ondevice.block(fields, 900.0, 0)


def test_misplaced_fields(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="space is 1"):
        pyemu.load("fast").step_in_place(fields, 900.0)
    with pytest.raises(ValueError, match="pressure is not in memory of GPU 0"):
        pyemu.load("fast", device="cuda:0").step_in_place(fields, 900.0)
    with pytest.raises(ValueError, match="GPU 2 is not there: 2 found"):
        pyemu.load("fast", device="cuda:2")


def test_without_a_gpu() -> None:
    """Where library, driver or GPU are missing, that is what the message says."""
    program = "import pyemu; pyemu.load('fast', device='cuda:1000')"
    done = subprocess.run(
        [sys.executable, "-c", program], check=False, capture_output=True, text=True
    )
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("ValueError: ")
    assert "libm7emu_cuda.so.1" in last or "GPU" in last


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="nvcc is not installed")
def test_library_needs_a_driver_alone() -> None:
    """Machines with a GPU may have no compiler's libraries: nothing but those of the C library."""
    readelf = shutil.which("readelf")
    assert readelf
    built = library().parents[2] / "bridge/libm7emu_cuda.so.1"
    done = subprocess.run([readelf, "-d", str(built)], check=True, capture_output=True, text=True)
    needed = {
        line.split("[")[1].split(".")[0] for line in done.stdout.splitlines() if "NEEDED" in line
    }
    assert needed <= {
        "libc",
        "libm",
        "libdl",
        "libpthread",
        "librt",
        "ld-linux-x86-64",
        "ld-linux-aarch64",
    }


def test_script_for_bare_machines(tmp_path: Path) -> None:
    """`benchmarks/gpu.sh` from its sources to the JSON, on the simulated GPU."""
    script = str(Path(__file__).parents[2] / "benchmarks/gpu.sh")
    built = library().parents[2] / "bridge/libm7emu.so.1"
    (tmp_path / "libm7emu.so.1").symlink_to(built)  # the longest part of its work
    output = tmp_path / "gpu.json"
    small = {**os.environ, "MOST": "10000", "MODELS": "first"}
    command = [script, "simulate", str(tmp_path), str(output)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=small)
    assert done.returncode == 0, done.stderr
    found = json.loads(output.read_text())
    assert found["well"] == "yes"
    assert found["GPU"] == "none: simulated"
    engines = ["native", "native-3xtf32", "native-tf32", "native-bf16"]
    wanted = [(engine, real) for engine in engines for real in ("float64", "float32")]
    assert sorted((one["engine"], one["real"]) for one in found["checks"]) == sorted(wanted)
    assert all(one["closure"] < 1e-6 and one["same bits"] for one in found["checks"])
    ways = {row["how"] for row in found["rows"] if row["model"] == "first"}
    assert {"on the device", "with transfers, pinned", "CPU engine, one core"} <= ways
    assert all(row["cells per s"] > 0.0 for row in found["rows"])
    done = subprocess.run([script, "race"], check=False, capture_output=True, text=True)
    assert done.returncode == 2
    assert "gpu.sh run DIR OUTPUT.json" in done.stderr


@pytest.mark.skipif(shutil.which("hipcc") is None, reason="hipcc is not installed")
def test_kernels_compile_for_amd_gpus(tmp_path: Path) -> None:
    source = Path(__file__).parents[2] / "bridge" / "gpu" / "step.cpp"
    given = {
        "VERSION": '"0"',
        "BLOCKS_AT_ONCE": 3,
        "SET": "exact",
        "FORM": "exact_form",
        "WIDEST": 0,
    }
    made = subprocess.run(
        ["hipcc", "-std=c++17", "-O1", "--offload-arch=gfx90a", "-c", "-x", "hip"]
        + [f"-DM7EMU_{name}={value}" for name, value in given.items()]
        + [str(source), "-o", str(tmp_path / "step.o")],
        env=os.environ | {"HIP_PLATFORM": "amd"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr[:2000]
