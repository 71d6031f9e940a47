"""Training: it learns, goes on after a kill to the same bits, and runs in two processes."""

import csv
import re
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

from pyemu import loop, modelfile, train
from pyemu.blocks.chain import Chain
from pyemu.blocks.learned import NETWORKS
from pyemu.blocks.network import Network
from pyemu.blocks.settings import Settings
from pyemu.exchange import to_chain
from pyemu.feed import Feed, Places, held_out, whole
from pyemu.lessons import lessons, steps, tendencies
from pyemu.records import Cells, load, open_records
from pyemu.reference import Config, Profile
from pyemu.refine import improve
from pyemu.sampling import Sample, sample
from pyemu.trainconfig import TrainConfig

BIN = Path(sys.executable).parent
SMALL = """
coagulation = [16]
nucleation = [4]
forms_steps = 40
forms_rate = 0.01
forms_batch = 256
refine_steps = 4
refine_batch = 3000
step_steps = 12
step_batch = 64
buffer = 1100
calibration = 512
validation = 256
curve_every = 10
checkpoint_every = 8
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("train")
    sample(Sample(count=2000, timesteps=(450.0, 1800.0)), folder / "train.nc")
    sample(Sample(count=400, timesteps=(900.0,), part="validation"), folder / "validation.nc")
    (folder / "small.toml").write_text(SMALL)
    return folder


def command(folder: Path, output: Path) -> list[str]:
    names = ("train.nc", "--validation", "validation.nc", "--config", "small.toml")
    given = [str(folder / n) if "." in n else n for n in names]
    return [str(BIN / "pyemu"), "train", *given, "--output", str(output), "--threads", "1"]


def tensors(path: Path) -> dict[str, modelfile.Tensor]:
    networks = modelfile.read(path).networks
    return {f"{n}.{key}": t for n, data in networks.items() for key, t in data.tensors.items()}


@pytest.fixture(scope="module")
def trained(folder: Path) -> Path:
    output = folder / "whole.safetensors"
    subprocess.run(command(folder, output), check=True, capture_output=True)
    return output


def test_killed_run_goes_on_to_the_same_bits(folder: Path, trained: Path) -> None:
    output = folder / "killed.safetensors"
    checkpoint = output.with_suffix(".checkpoint")
    for wanted in (16, 42, 48):  # in the first stage, and in the second
        with subprocess.Popen(command(folder, output)) as process:
            while process.poll() is None:
                if checkpoint.exists() and done(checkpoint) >= wanted:
                    break
                time.sleep(0.01)
            assert process.poll() is None, "it was done before it could be killed"
            process.kill()
    assert not output.exists()
    subprocess.run(command(folder, output), check=True, capture_output=True)
    one, other = tensors(trained), tensors(output)
    assert one.keys() == other.keys()
    for name in one:
        assert one[name].tobytes() == other[name].tobytes(), name
    curves = [path.with_suffix(".csv").read_bytes() for path in (trained, output)]
    assert curves[0] == curves[1]
    assert not checkpoint.exists()


def read_curves(model: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(model.with_suffix(".csv").read_text().splitlines()))


def done(checkpoint: Path) -> int:
    from pyemu.checkpoint import read

    return int(read(checkpoint)[1]["done"])


def test_training_lowers_the_errors_and_says_so(trained: Path) -> None:
    rows = read_curves(trained)
    assert [int(row["step"]) for row in rows] == [10, 20, 30, 40, 44, 50, 56]
    assert {row["stage"] for row in rows} == {"forms", "refine", "step"}
    assert float(rows[3]["loss"]) < 0.8 * float(rows[0]["loss"])
    assert float(rows[4]["validation"]) < float(rows[3]["validation"])  # nucleation, refined
    assert float(rows[4]["mean_r2"]) > 0.5
    provenance = modelfile.read(trained).provenance
    assert provenance["scores"]["validation mean tendency R2"] >= float(rows[4]["mean_r2"])
    assert provenance["config"]["forms_steps"] == 40
    assert re.fullmatch("sha256:[0-9a-f]{64}", provenance["records"][0])


def test_two_processes_learn_together(folder: Path, trained: Path) -> None:
    output = folder / "two.safetensors"
    start = [str(BIN / "torchrun"), "--nproc-per-node", "2", "--standalone"]
    done = subprocess.run(
        [*start, *command(folder, output)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    one, two = (read_curves(p)[3] for p in (trained, output))
    assert float(two["validation"]) == pytest.approx(float(one["validation"]), rel=0.05)
    assert not output.with_suffix(".checkpoint").exists()


def test_checkpoint_of_another_run_is_refused(folder: Path) -> None:
    records = open_records(folder / "train.nc")
    files = train.Files(model=folder / "other.safetensors")
    config = TrainConfig.read(folder / "small.toml", forms_steps=4, step_steps=0)
    made = loop.Loop(config, train.settings(records), *held_out(records))
    made.step()
    from pyemu import checkpoint

    checkpoint.write(files.checkpoint, *made.state({"config": "another"}))
    with pytest.raises(ValueError, match="is the checkpoint of another run; delete it"):
        train.run(config, records, files)


def test_lessons_are_the_exact_forms(folder: Path) -> None:
    cells = load(open_records(folder / "train.nc"), slice(0, 300))
    settings = Settings.from_reference(Config())
    sheet = lessons(settings, cells, ("coagulation", "water"))
    kernel = sheet["coagulation"]
    assert kernel.features.shape == kernel.targets.shape == (300, 16)
    assert torch.isfinite(kernel.targets).all()
    assert 0.1 < kernel.known.double().mean() < 1.0
    water = sheet["water"]
    assert water.features.shape == (300, 3)
    percent = torch.exp(water.targets[:, :5])
    assert ((percent > 0.0) & (percent < 100.0)).all()


@pytest.mark.parametrize("profile", ["ham2", "m7_2004"])
def test_lessons_are_what_the_exact_chain_does(folder: Path, profile: Profile) -> None:
    """A network that gives its lesson's targets makes the exact step."""
    cells = load(open_records(folder / "train.nc"), slice(0, 500))
    settings = Settings.from_reference(Config(profile=profile))
    given = steps(cells)
    truth = tendencies(Chain(settings), given)
    for name in ("trunk", "water", "salt", "nucleation"):
        network = Network.hidden(*NETWORKS[name], (4,)).double()
        lesson = lessons(settings, cells, (name,))[name]
        network.forward = lambda *_, told=lesson.targets: told  # type: ignore[method-assign]
        scale = truth.abs().amax(dim=0).clamp(min=1e-30)
        change = tendencies(Chain(settings, {name: network}), given)
        assert ((change - truth).abs() / scale).max() < 1e-8, name


def test_refining_small_networks(folder: Path) -> None:
    """A few Levenberg-Marquardt steps do what thousands of Adam's do not."""
    cells = load(open_records(folder / "train.nc"))
    lesson = lessons(Settings.from_reference(Config()), cells, ("salt",))["salt"]
    torch.manual_seed(1)
    network = Network.hidden(*NETWORKS["salt"], (8,))
    network.calibrate(lesson.features, lesson.targets, lesson.there, lesson.known)
    damping, errors = 0.1, []
    for _ in range(40):
        damping, error = improve(
            network, lesson.features, lesson.there, lesson.targets, lesson.known, damping
        )
        errors.append(error)
    assert errors[-1] < 1e-2 * errors[0]
    assert all(later <= 1.001 * earlier for earlier, later in pairwise(errors))


def test_exact_chain_makes_the_records_steps(folder: Path) -> None:
    given = steps(load(open_records(folder / "train.nc")))
    change = tendencies(Chain(Settings.from_reference(Config())), given)
    scale = given.truth.abs().amax(dim=0).clamp(min=1e-30)
    assert ((change - given.truth).abs() / scale).max() < 1e-6


def test_model_file_holds_the_chain(trained: Path) -> None:
    from pyemu.exchange import to_model

    model = modelfile.read(trained)
    chain = to_chain(model)
    again = to_model(
        chain,
        title=model.title,
        created=model.created,
        teacher=model.teacher,
        provenance=model.provenance,
    )
    assert again.metadata == model.metadata
    for name, data in model.networks.items():
        for key, tensor in data.tensors.items():
            assert np.array_equal(tensor, again.networks[name].tensors[key])


def test_batches_depend_on_seed_and_step_alone(folder: Path) -> None:
    share = whole(open_records(folder / "train.nc"))

    def feed(rank: int = 0, world: int = 1, seed: int = 1) -> Feed[Cells]:
        def take(cells: Cells, rows: Places) -> Cells:
            return Cells(
                environment=cells.environment[rows],
                before=cells.before[rows],
                after=cells.after[rows],
                timestep=cells.timestep[rows],
            )

        drawn = {"batch": 100, "buffer": 700, "seed": seed, "rank": rank, "world": world}
        return Feed(share, lambda cells: cells, take, **drawn)

    one, other = feed(), feed()
    straight = [one(step).before for step in range(25)]
    for step in (24, 3, 17, 0):
        assert np.array_equal(other(step).before, straight[step])
    seen = np.unique(np.concatenate(straight), axis=0)
    assert len(seen) > 1900  # a pass over the buffers leaves next to nothing out
    halves = [feed(rank, 2)(5).before for rank in (0, 1)]
    assert np.array_equal(np.sort(np.concatenate(halves), axis=0), np.sort(straight[5], axis=0))
    assert not np.array_equal(feed(seed=2)(5).before, straight[5])


def test_trajectories_are_held_out_whole(folder: Path) -> None:
    records = open_records(folder / "train.nc")
    share, held = held_out(records)
    number = records["trajectory"].to_numpy()
    assert not set(number[share.cells]) & set(number[held.cells])
    assert len(share) + len(held) == 2000
    assert 20 < len(held) < 300
    plain = records.drop_vars("trajectory")
    share, held = held_out(plain)
    assert share.cells.max() < held.cells.min()
    with pytest.raises(ValueError, match="too few trajectories to hold some out"):
        held_out(records.isel(cell=slice(0, 5)))


def test_networks_may_be_left_out(folder: Path) -> None:
    records = open_records(folder / "train.nc")
    for learned in (("water",), ("coagulation", "water"), ("salt", "nucleation")):
        widths = {name: (4,) if name in learned else () for name in NETWORKS}
        config = TrainConfig.read(folder / "small.toml", forms_steps=2, step_steps=1, **widths)
        model = train.run(config, records, train.Files(model=folder / "one.safetensors"))
        assert set(model.networks) == set(learned)
        assert {form for b in model.chain for form in b.forms} == set(learned)


def test_nothing_to_learn_makes_the_exact_model_at_once(folder: Path) -> None:
    files = train.Files(model=folder / "exact.safetensors")
    model = train.run(TrainConfig(), open_records(folder / "train.nc"), files)
    assert not model.networks
    assert {block.form for block in model.chain} == {"exact"}
    assert model.provenance["scores"]["validation worst tendency R2"] > 1.0 - 1e-9
    assert read_curves(files.model) == []


def test_kappa_water_makes_an_exact_model(tmp_path: Path) -> None:
    plan = Sample(count=2000, timesteps=(1800.0,), config=Config(water="kappa"))
    sample(plan, tmp_path / "kappa.nc")
    files = train.Files(model=tmp_path / "model.safetensors")
    records = open_records(tmp_path / "kappa.nc")
    model = train.run(TrainConfig(), records, files)
    assert not model.networks
    assert model.settings["water"] == "kappa"
    assert model.provenance["scores"]["validation worst tendency R2"] > 1.0 - 1e-9
    with pytest.raises(ValueError, match="are of ZSR water, not of kappa water"):
        train.run(TrainConfig(water=(4,), forms_steps=1, forms_batch=64), records, files)


def test_records_of_a_converged_teacher_make_a_model_in_stages(tmp_path: Path) -> None:
    plan = Sample(count=400, kinds=("spun_up",), timesteps=(900.0,), substeps=60)
    sample(plan, tmp_path / "short.nc")
    files = train.Files(model=tmp_path / "model.safetensors")
    model = train.run(TrainConfig(), open_records(tmp_path / "short.nc"), files)
    assert (model.teacher, model.integration.stages, model.integration.strides) == (
        "converged", 1, 12,
    )  # fmt: skip
    assert model.provenance["scores"]["validation mean tendency R2"] > 0.97


def test_blocks_to_learn_are_asked_for_by_name() -> None:
    assert TrainConfig().learned == ()
    assert TrainConfig().learning(["coagulation"]).coagulation == (32, 32)
    assert TrainConfig(water=(4,)).learning(["water"]).water == (4,)
    foreign = TrainConfig(foreign_steps=7).learning((), foreign=["water"])
    assert (foreign.learned, foreign.step_steps) == (("water",), 7)
    with pytest.raises(ValueError, match="block 'merging' has no learned form"):
        TrainConfig().learning(["merging"])


def test_records_without_water_after_are_learned_from(folder: Path) -> None:
    records = open_records(folder / "train.nc")
    records = records.drop_vars([f"water_{mode}_after" for mode in ("ns", "ks", "as", "cs")])
    config = TrainConfig.read(folder / "small.toml", forms_steps=8, step_steps=4)
    model = train.run(config, records, train.Files(model=folder / "dry.safetensors"))
    assert np.isfinite(model.provenance["scores"]["validation mean tendency R2"])


def test_settings_come_from_the_records(folder: Path) -> None:
    records = open_records(folder / "train.nc")
    older = records.assign_attrs(profile="m7_2004", nucleation="none")
    assert train.settings(older).profile == "m7_2004"
    assert train.settings(older).nucleation == "none"
    assert train.settings(xr.Dataset()).profile == "ham2"
    with pytest.raises(ValueError, match="profile = 'm8'; allowed is"):
        train.settings(records.assign_attrs(profile="m8"))


def test_tensorboard_is_asked_for_by_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    files = train.Files(model=folder / "x.safetensors", tensorboard=folder / "events")
    with (
        pytest.raises(ValueError, match="TensorBoard is not installed"),
        train.tensorboard(files, 0),
    ):
        pass
    with train.tensorboard(files, 1) as write:  # only the first process writes
        write({"step": 1, "loss": 0.5})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("form_steps = 3", "unknown name 'form_steps'; did you mean 'forms_steps'?"),
        ("forms_steps = 0", "forms_steps = 0; allowed is [1, inf)"),
        ("forms_steps = 1.5", "forms_steps = 1.5; allowed is a value of type int"),
        ("forms_rate = 2", "forms_rate = 2.0; allowed is (0, 1)"),
        ("ema = 1.0", "ema = 1.0; allowed is [0, 1)"),
        ("coagulation = [0]", "coagulation = (0,); widths are [1, inf)"),
        ("foreign_steps = 0", "foreign_steps = 0; allowed is [1, inf)"),
        (
            "coagulation = [4]\ntrunk = [4]",
            "coagulation has a network of its own and is in the trunk",
        ),
        ("activation = 'gelu'", "activation = 'gelu'; allowed is"),
        ("seed = ", "bad.toml"),
    ],
)
def test_config_refusals(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=re.escape(message)):
        TrainConfig.read(path)


def test_command_refuses_plainly(folder: Path, tmp_path: Path) -> None:
    for output, records, message in (
        (tmp_path / "none" / "m.safetensors", folder / "train.nc", "there is no directory"),
        (tmp_path / "m.safetensors", tmp_path / "none.nc", "there is no such file"),
    ):
        done = subprocess.run(
            [str(BIN / "pyemu"), "train", str(records), "--output", str(output)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1
        assert message in done.stderr
        assert "Traceback" not in done.stderr
