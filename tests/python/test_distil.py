"""The self-error head: made by the command, covers what it says, the same in both engines."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import OUTPUTS, at, different

import pyemu
from pyemu import distil, evaluate, modelfile, modelspec, states
from pyemu.blocks import selferror
from pyemu.exchange import to_chain
from pyemu.records import open_records
from pyemu.sampling import Sample, sample
from pyemu.steps import native, on_cells
from pyemu.variables import PROGNOSTICS, names

BIN = Path(sys.executable).parent
BARE = Path(pyemu.__file__).parent / "models/first.safetensors"
SMALL = distil.HeadConfig(hidden=(12,), steps=800, batch=1024)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("distil")
    counts: dict[Any, int] = {"train": 8000, "validation": 4000, "test": 4000}
    for part, count in counts.items():
        one = Sample(
            count=count, part=part, kinds=("space_filling",), timesteps=(300.0, 1800.0), seed=3
        )
        sample(one, folder / f"{part}.nc")
    return folder


@pytest.fixture(scope="module")
def headed(folder: Path) -> Path:
    train, held = (open_records([folder / f"{part}.nc"]) for part in ("train", "validation"))
    path = folder / "headed.safetensors"
    assert distil.distil(BARE, train, held, path, SMALL).coverage == pytest.approx(0.9, abs=1e-3)
    return path


def test_the_file_and_the_blocks_name_the_same_features() -> None:
    assert selferror.HEAD.features == modelspec.HEAD_FEATURES
    assert selferror.HEAD.targets == modelspec.HEAD_TARGETS


def test_covers_cells_that_it_has_not_seen(folder: Path, headed: Path) -> None:
    cells = evaluate.some_cells([folder / "test.nc"], None, None)
    stepped = on_cells(native(headed))(cells)
    found = evaluate.score(cells, stepped, modelfile.read(headed).self_error).calibration
    assert found is not None
    assert 0.88 <= found.coverage <= 0.92
    assert found.skill > 0.3
    assert found.ranks > 0.7


@pytest.mark.parametrize("timestep", [60.0, 1800.0])
def test_engine_is_torch(headed: Path, timestep: float) -> None:
    state = states.sample(2000, 17)
    native, torch = (
        pyemu.load(headed, engine=e).step(state, timestep) for e in ("native", "torch")
    )
    assert (native["uncertainty"] > 0.0).all()
    apart = np.abs(np.log(native["uncertainty"] / torch["uncertainty"]))
    assert np.quantile(apart, 0.99) < 1e-4  # a mode at its threshold may be there in one alone


def test_step_stays_and_cells_stand_alone(headed: Path) -> None:
    state, bare = states.sample(500, 5), pyemu.load(BARE)
    model = pyemu.load(headed)
    whole = model.step(state, 900.0)
    assert different(whole, bare.step(state, 900.0), (*OUTPUTS, "flag", "negatives")) == []
    assert (bare.step(state, 900.0)["uncertainty"] == 0.0).all()
    order = np.random.default_rng(1).permutation(500)[:77]
    alone = model.step(at(state, order), 900.0)
    assert different(at(whole, order), alone, (*OUTPUTS, "uncertainty")) == []


@pytest.mark.parametrize("engine", ["native", "torch"])
def test_empty_and_invalid_cells(headed: Path, engine: Any) -> None:
    state = {name: np.copy(values[:4]) for name, values in states.sample(4, 5).items()}
    for name in names(PROGNOSTICS):
        state[name][:2] = 0.0
    state["temperature"][3] = 2000.0  # beyond what the engines take
    after = pyemu.load(headed, engine=engine).step(state, 900.0)
    assert np.isfinite(after["uncertainty"]).all()
    assert after["uncertainty"][3] == 1.0


def test_in_stages(headed: Path, tmp_path: Path) -> None:
    model = modelfile.read(headed)
    exact = tuple(modelfile.Block(block=block.block) for block in model.chain)
    head = {"self_error": model.networks["self_error"]}
    staged = replace(
        model,
        teacher="converged",
        chain=exact,
        networks=head,
        integration=modelfile.Integration(stages=2, strides=4),
    )
    modelfile.write(staged, tmp_path / "staged.safetensors")
    assert to_chain(staged).head is not None
    state = states.sample(500, 5)
    one, other = (
        pyemu.load(tmp_path / "staged.safetensors", engine=e).step(state, 1800.0)["uncertainty"]
        for e in ("native", "torch")
    )
    assert np.quantile(np.abs(np.log(one / other)), 0.98) < 1e-3


def test_command(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    command = [str(BIN / "pyemu"), "distil", str(BARE), str(folder / "train.nc"), "--threads", "1"]
    command += ["--validation", str(folder / "validation.nc"), "--output", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "coverage 0.9" in done.stdout
    told = modelfile.read(path).provenance["self_error"]
    assert len(told["records"]) == 2
    shown = subprocess.run(
        [str(BIN / "pyemu"), "info", str(path)], capture_output=True, text=True, check=True
    )
    assert "self-error head" in shown.stdout


def broken(headed: Path, path: Path, **changes: Any) -> Path:
    """Write the file with other entries of `self_error`, whatever the contract says."""
    content = headed.read_bytes()
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    told = json.loads(header["__metadata__"]["m7emu"])
    told["self_error"] |= changes
    header["__metadata__"]["m7emu"] = json.dumps(told)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + content[8 + size :])
    return path


@pytest.mark.parametrize(
    ("changes", "python", "native"),
    [
        ({"network": "none"}, "no network 'none'", "'none' is missing"),
        ({"network": "coagulation"}, "no network 'coagulation'", "cannot serve both"),
        ({"more": 1}, "more", "'more' is not known"),
    ],
)
def test_hostile_heads(
    headed: Path, tmp_path: Path, changes: dict[str, Any], python: str, native: str
) -> None:
    path = broken(headed, tmp_path / "bad.safetensors", **changes)
    with pytest.raises(ValueError, match=python):
        modelfile.read(path)
    with pytest.raises(ValueError, match=native):
        pyemu.load(path)


def test_scale_of_other_variables_is_refused(headed: Path, tmp_path: Path) -> None:
    path = broken(headed, tmp_path / "bad.safetensors", scale={"h2so4": 1.0})
    with pytest.raises(ValueError, match="scale of h2so4"):
        modelfile.read(path)
