"""The seam between Python and Fortran: what f90wrap and f2py make of it."""

import ast
import inspect
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pyemu import state
from pyemu._m7 import m7_config, m7_python
from pyemu.variables import DIAGNOSTICS

AIR = {"pressure": 9e4, "temperature": 280.0, "relative_humidity": 0.7}


def arguments(ncell: int) -> list[NDArray[Any]]:
    environment, prognostic = state.pack({**AIR, "h2so4": np.full(ncell, 1e7)})
    diagnostic = np.full((ncell, len(DIAGNOSTICS)), np.nan, order="F")
    split = np.zeros((ncell, 0), order="F")
    counts = np.zeros((2, ncell), dtype=np.int32)
    return [environment, prognostic, diagnostic, split, *counts]


def run(config: m7_config.m7_config_type, arrays: list[NDArray[Any]]) -> int:
    environment, prognostic, diagnostic, split, substeps, negatives = arrays
    return m7_python.run(
        config, len(environment), 0, 1800.0, 1,
        environment, prognostic, diagnostic, split, substeps, negatives,
    )  # fmt: skip


STUB_FILE = Path(__file__).parents[2] / "pyemu/_m7/__init__.pyi"
STUB = {
    node.name: node
    for node in ast.walk(ast.parse(STUB_FILE.read_text()))
    if isinstance(node, ast.ClassDef)
}


@pytest.mark.parametrize("built", [m7_config.m7_config_type, type(m7_config)])
def test_stub_tells_the_components(built: type) -> None:
    body = STUB[built.__name__.lower()].body
    told = {ast.unparse(node.target) for node in body if isinstance(node, ast.AnnAssign)}
    assert told == {name for name, value in vars(built).items() if isinstance(value, property)}


def test_stub_tells_the_routines() -> None:
    body = STUB["m7_python"].body
    told = {n.name: len(n.args.args) for n in body if isinstance(n, ast.FunctionDef)}
    routines = {n: v for n, v in vars(type(m7_python)).items() if isinstance(v, staticmethod)}
    # f90wrap adds an argument, interface_call, for generic interfaces
    assert told == {n: len(inspect.signature(v).parameters) - 1 for n, v in routines.items()}


def test_configuration_is_fortran_memory() -> None:
    config = m7_config.m7_config_type()
    config.substeps, config.condensation, config.density[1] = 7, False, 1.5
    assert (config.substeps, config.condensation, config.density[1]) == (7, False, 1.5)
    assert m7_python.configure(config, m7_config.profile_m7_2004, 0) == 0
    assert config.profile == m7_config.profile_m7_2004
    assert (config.substeps, config.condensation, config.density[1]) == (1, True, 2.0)


def test_arrays_are_written_in_place() -> None:
    arrays = arguments(5)
    assert run(m7_config.m7_config_type(), arrays) == 0
    assert np.isfinite(arrays[2]).all()


@pytest.mark.parametrize("place", [1, 2], ids=["prognostic", "diagnostic"])
@pytest.mark.parametrize("wrong", [np.ascontiguousarray, np.float32])
def test_no_array_is_copied(place: int, wrong: Any) -> None:
    arrays = arguments(5)
    arrays[place] = wrong(arrays[place])
    with pytest.raises(ValueError, match="intent"):
        run(m7_config.m7_config_type(), arrays)


def test_other_threads_run_meanwhile() -> None:
    config, arrays, took = m7_config.m7_config_type(), arguments(1000), 0.0
    while took < 0.3 and config.substeps < 2**20:
        config.substeps *= 2
        worker = threading.Thread(target=run, args=(config, arrays))
        began = last = time.perf_counter()
        gap = 0.0
        worker.start()
        while worker.is_alive():
            time.sleep(0.001)
            now = time.perf_counter()
            gap, last = max(gap, now - last), now
        took = last - began
    assert took >= 0.3, "the step is too short to tell"
    assert gap < took / 2
