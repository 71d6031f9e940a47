"""The search of M7's emulator: it is real, goes on after a kill to the same bits, and is right."""

import json
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pyemu import checkpoint, dense, menu, modelfile, search, train
from pyemu.blocks.learned import FORMS
from pyemu.blocks.network import Network
from pyemu.emulator import load
from pyemu.exchange import to_chain, to_model
from pyemu.feed import whole
from pyemu.lessons import steps
from pyemu.records import open_records
from pyemu.sampling import Sample, sample
from pyemu.state import unpack
from pyemu.trainconfig import TrainConfig
from pyemu.variables import ENVIRONMENT, PROGNOSTICS, names

BIN = Path(sys.executable).parent
SMALL = """
learned = true
steps = 56
weight_steps = 8
samples = 8
batch = 128
buffer = 1200
calibration = 512
validation = 300
validation_batch = 128
candidates = 8
chosen = 1
spans = [0.05, 0.3]
rounds = 2
checkpoint_every = 6
[train]
forms_steps = 30
refine_steps = 1
forms_batch = 128
refine_batch = 300
buffer = 1200
calibration = 512
validation = 300
"""
COSTS = {"step": 100.0} | {
    f"{form}:{option}": cost
    for form in FORMS
    for option, cost in (("small", 8.0), ("larger", 30.0), ("trunk", 1.0))
}
COSTS |= {f"layer:{name}": 5.0 + place for place, name in enumerate(menu.LAYERS)}
COSTS |= {"features:radii_density": 4.0, "embedding:bypass": 10.0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("search")
    sample(Sample(count=1200, timesteps=(450.0, 1800.0)), folder / "train.nc")
    sample(Sample(count=300, timesteps=(900.0,), part="validation"), folder / "validation.nc")
    (folder / "small.toml").write_text(SMALL)
    return folder


def command(folder: Path, output: Path) -> list[str]:
    given = [str(BIN / "pyemu"), "search", str(folder / "train.nc"), "--threads", "1"]
    given += ["--validation", str(folder / "validation.nc"), "--output", str(output)]
    return [*given, "--config", str(folder / "small.toml")]


def run(folder: Path, output: Path, **changes: Any) -> None:
    parts = [folder / f"{part}.nc" for part in ("train", "validation")]
    plan = search.SearchPlan.read(folder / "small.toml", **changes)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        records, held = (open_records([part]) for part in parts)
        search.run(plan, records, output, validation=held, origin=parts)
    finally:
        torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def found(folder: Path) -> Path:
    run(folder, folder / "found")
    return folder / "found"


def facts(output: Path) -> dict[str, Any]:
    told: dict[str, Any] = json.loads((output / "front.json").read_text())
    return told


def supernet(folder: Path, *, learned: bool) -> menu.Supernet:
    shares = [whole(open_records([folder / f"{p}.nc"])) for p in ("train", "validation")]
    settings = train.settings(shares[0].records)
    made = menu.Menu(COSTS, learned=learned)
    return menu.Supernet(
        settings,
        made,
        *shares,
        batch=64,
        buffer=1000,
        calibration=512,
        validation=300,
        validation_batch=128,
    )


def test_front_is_not_dominated_and_the_search_learned(found: Path) -> None:
    told = facts(found)
    front = told["front"]
    assert front
    for one, dearer in pairwise(front):
        assert dearer["latency_ns"] > one["latency_ns"]
        assert dearer["error"] < one["error"]
    assert all("exact" not in row["architecture"].values() for row in front)
    assert told["done"] == 56
    _, plain = checkpoint.read(found / "search.checkpoint")
    history = plain["history"]
    assert sum(history[-1]["entropy"]) < 0.9 * sum(history[0]["entropy"])
    for name in ("front.png", "variables.png", "front.md"):
        assert (found / name).stat().st_size > 100


def test_killed_search_goes_on_to_the_same_bits(folder: Path, found: Path) -> None:
    output = folder / "killed"
    output.mkdir()
    (output / "plan.json").write_bytes((found / "plan.json").read_bytes())  # the same costs
    path = output / "search.checkpoint"
    with subprocess.Popen(command(folder, output)) as process:
        while process.poll() is None:
            if path.exists() and checkpoint.read(path)[1]["done"] >= 24:
                break
            time.sleep(0.01)
        assert process.poll() is None, "it was done before it could be killed"
        process.kill()
    assert not (output / "front.json").exists()
    run(folder, output)
    (one, told), (other, retold) = (
        checkpoint.read(f / "search.checkpoint") for f in (found, output)
    )
    assert told == retold
    assert one.keys() == other.keys()
    for name in one:
        assert one[name].numpy().tobytes() == other[name].numpy().tobytes(), name
    assert facts(found)["front"] == facts(output)["front"]
    models = [modelfile.read(f / "front1.safetensors").networks for f in (found, output)]
    for name, data in models[0].items():
        for key, tensor in data.tensors.items():
            assert tensor.tobytes() == models[1][name].tensors[key].tobytes(), (name, key)


def test_two_processes_search_together(folder: Path, found: Path) -> None:
    output = folder / "two"
    output.mkdir()
    plan = json.loads((found / "plan.json").read_text()) | {"processes": 2}  # the same costs
    (output / "plan.json").write_text(json.dumps(plan))
    start = [str(BIN / "torchrun"), "--nproc-per-node", "2", "--standalone"]
    done = subprocess.run(
        [*start, *command(folder, output)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (one, _), (two, plain) = (checkpoint.read(f / "search.checkpoint") for f in (found, output))
    assert plain["done"] == 56
    # Halves of the same batches make the same weights but for round-off, until choices differ.
    apart = (one["b0.1"] - two["b0.1"]).abs().max()
    assert apart < 0.5 * one["b0.1"].abs().max()
    told = facts(output)
    assert (output / told["chosen"][0]["model"]).exists()
    # Both did their part of one search: what was drawn, told by the first update, is the same.
    first, second = (
        checkpoint.read(f / "search.checkpoint")[1]["history"][0] for f in (found, output)
    )
    assert first["best_architecture"] == second["best_architecture"]
    assert second["best"] == pytest.approx(first["best"], rel=0.02)
    with pytest.raises(ValueError, match="another search"):
        run(folder, output)  # one process draws other batches than two


def test_written_model_scores_in_the_engine_as_in_torch(folder: Path, found: Path) -> None:
    row = facts(found)["chosen"][-1]
    problem = supernet(folder, learned=True)
    path = found / row["model"]
    assert problem.error(to_chain(modelfile.read(path))) == pytest.approx(row["trained_error"])
    given = steps(whole(open_records([folder / "validation.nc"])).spread(300))
    native, torched = engine(path, given), to_chain(modelfile.read(path))
    with torch.no_grad():
        after = torched(given.environment, given.before, given.timestep).prognostic.numpy()
    scale = np.abs(after - given.before.numpy()).max(axis=0)
    close = np.abs(native - after) <= 2e-3 * scale + 1e-9 * np.abs(after)
    assert close.mean() > 0.999  # single precision may tip a threshold


def engine(path: Path, given: Any) -> Any:
    arrays = given.environment.numpy(), given.before.numpy()
    state = unpack(arrays[0], ENVIRONMENT) | unpack(arrays[1], PROGNOSTICS)
    assert len(set(given.timestep.tolist())) == 1
    after = load(path).step(state, float(given.timestep[0]))
    return np.stack([after[name] for name in names(PROGNOSTICS)], axis=1)


def test_every_option_runs_in_the_engine(folder: Path, tmp_path: Path) -> None:
    problem = supernet(folder, learned=False)
    slots = problem.slots
    given = steps(whole(open_records([folder / "validation.nc"])).spread(100))
    told = {"title": "t", "created": "", "teacher": "m7", "provenance": {}}
    for k in range(max(len(slot.options) for slot in slots)):
        architecture = tuple((k + place) % len(s.options) for place, s in enumerate(slots))
        chain = problem.chain(architecture)
        modelfile.write(to_model(chain, **told), tmp_path / "one.safetensors")  # type: ignore[arg-type]
        with torch.no_grad():
            after = chain(given.environment, given.before, given.timestep).prognostic.numpy()
        native = engine(tmp_path / "one.safetensors", given)
        scale = np.abs(after - given.before.numpy()).max(axis=0)
        close = np.abs(native - after) <= 2e-3 * scale + 1e-9 * np.abs(after)
        assert close.mean() > 0.999, problem.menu.short(architecture)
        config = problem.menu.config(architecture, TrainConfig())
        for name, network in chain.networks.items():
            other = config.networks()[name]
            assert isinstance(network, Network)
            assert network.describe() == other.describe(), name  # what is trained anew


def test_all_exact_has_no_error_and_costs_the_step(folder: Path) -> None:
    problem = supernet(folder, learned=False)
    exact = (0,) * len(problem.slots)
    assert problem.menu.short(exact) == "all exact"
    assert problem.validation_losses([exact], None)[0] < 1e-12
    assert dense.latency(problem.slots, exact) == pytest.approx(COSTS["step"])
    assert not problem.train_loss(exact, 0).requires_grad
    # A trunk that nothing uses is neither run nor paid for.
    idle = (*exact[:-3], 5, 1, 1)
    assert problem.menu.canonical(idle) == exact


def test_training_shared_weights_lowers_the_errors_of_steps(folder: Path) -> None:
    problem = supernet(folder, learned=True)
    trunk = {"condensation": "trunk", "coagulation": "trunk", "ageing": "trunk"}
    wanted = trunk | {
        "layer0": "dense32_silu",
        "layer1": "gated16_silu",
        "layer2": "low_rank32_silu",
    }
    architecture = tuple(
        s.options.index(wanted[s.name]) if s.name in wanted else len(s.options) - 1
        for s in problem.slots
    )
    (before,) = problem.validation_losses([architecture], None)
    weights = dense.search.Weights(problem, dense.SearchConfig(steps=100, rate=4e-3))
    losses = [weights.step(architecture, step) for step in range(100)]
    (after,) = problem.validation_losses([architecture], None)
    assert np.mean(losses[-10:]) < 0.3 * np.mean(losses[:10])
    assert after < 0.8 * before


def test_folder_of_another_search_is_refused(folder: Path, found: Path) -> None:
    with pytest.raises(ValueError, match="another search"):
        run(folder, found, seed=2)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"minutes": 0.0}, "minutes"),
        ({"samples": 1}, "samples"),
        ({"spans": (0.1, -1.0)}, "spans"),
        ({"buffer": 0}, "buffer"),
    ],
)
def test_bad_plan_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        search.SearchPlan(**given)


def test_unknown_layer_is_refused() -> None:
    with pytest.raises(ValueError, match="dense32_silu"):
        TrainConfig(trunk=("dense32",))
