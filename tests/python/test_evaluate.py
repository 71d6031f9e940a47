"""Evaluation: scores that are known beforehand, baselines, the table, the figure, the command."""

import json
import re
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from typer.testing import CliRunner

from pyemu import baselines, evaluate, modelfile, reference, scorecard, steps, train
from pyemu.cli import app
from pyemu.lessons import SCORED
from pyemu.records import KINDS, Cells, load, open_records
from pyemu.sampling import Sample, sample
from pyemu.steps import Stepped
from pyemu.trainconfig import TrainConfig
from pyemu.variables import SPECIES

Array = NDArray[np.float64]


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("evaluate") / "test.nc"
    sample(Sample(count=1500, timesteps=(600.0, 1800.0), part="test"), path)
    return path


@pytest.fixture(scope="module")
def cells(records: Path) -> Cells:
    return load(open_records(records))


@pytest.fixture(scope="module")
def model(records: Path) -> Path:
    path = records.parent / "model.safetensors"
    config = TrainConfig(
        coagulation=(8,), water=(), forms_steps=20, forms_batch=256, step_steps=0, validation=300
    )
    train.run(config, open_records(records), train.Files(model=path))
    return path


def scored(cells: Cells, after: Array) -> evaluate.Scores:
    return evaluate.score(cells, Stepped(after=after))


def test_truth_scores_one_and_persistence_nought(cells: Cells) -> None:
    perfect = scored(cells, evaluate.late(cells))
    assert perfect.mean == 1.0
    assert perfect.worst[1] == perfect.asinh == 1.0
    assert perfect.wrong_signs == 0.0
    assert perfect.negatives == 0
    assert max(perfect.closure.values()) < 1e-14
    assert set(perfect.groups["regimes"]) <= set(KINDS)
    assert perfect.groups["regimes"]["volcanic"].mean_r2 == 1.0
    for kind in ("levels", "timesteps", "conditions"):
        assert sum(group.cells for group in perfect.groups[kind].values()) == len(cells)
    assert list(perfect.groups["timesteps"]) == ["600", "1800"]
    still = scored(cells, evaluate.early(cells))
    assert all(score <= 0.0 for score in still.r2.values() if not np.isnan(score))
    assert still.mean > -0.2
    assert still.wrong_signs == 1.0


def test_uncertainty_is_judged_where_there_is_one(cells: Cells) -> None:
    truth = evaluate.late(cells)
    noise = np.random.default_rng(1).standard_normal(truth.shape)
    given = Stepped(
        after=truth + 0.1 * noise * (truth - evaluate.early(cells)).std(axis=0),
        uncertainty=np.full(len(cells), 0.1 * 1.16),  # chi of 30: 90 % below 1.16 sqrt(30)
    )
    found = evaluate.score(cells, given)
    assert found.calibration is not None
    assert found.calibration.coverage == pytest.approx(0.9, abs=0.03)
    assert "90 % coverage" in shown({"model": found})
    assert "90 % coverage" not in shown({"model": scored(cells, truth)})


def shown(told: dict[str, evaluate.Scores]) -> str:
    console = Console(width=160, record=True, file=StringIO())
    console.print(scorecard.table(told, "a model"))
    return console.export_text()


def test_what_is_wrong_is_counted(cells: Cells) -> None:
    after = evaluate.late(cells)
    after[3, SCORED.index("num_ks")] = -1.0
    after[:, SCORED.index("so4_as")] *= 1.5
    found = scored(cells, after)
    assert found.negatives == 1
    assert found.closure["so4"] > 1e-3
    assert found.closure["du"] < 1e-14
    flipped = 2.0 * evaluate.early(cells) - evaluate.late(cells)
    assert scored(cells, flipped).wrong_signs == 1.0


def test_water_counts_from_nought_where_it_is_not_recorded(cells: Cells) -> None:
    without = replace(cells, water=None)
    assert (evaluate.early(without)[:, -4:] == 0.0).all()
    with pytest.raises(ValueError, match="no water after the step"):
        scored(replace(cells, water_after=None), evaluate.early(cells))


def test_chain_runs_the_model(model: Path, cells: Cells) -> None:
    found = evaluate.score(cells, steps.on_cells(steps.in_torch(modelfile.read(model)))(cells))
    assert found.mean > 0.9
    assert max(found.closure.values()) < 1e-14
    assert found.negatives == 0
    assert sum(found.flags) == len(cells)


def test_records_are_stepped_by_timestep(cells: Cells) -> None:
    asked: list[float] = []

    def step(state: steps.State, timestep: float) -> dict[str, Any]:
        asked.append(timestep)
        flag = np.full(len(state["h2so4"]), 1 if timestep > 1000.0 else 0, np.int32)
        return reference.step(state, timestep) | {"flag": flag}

    stepped = steps.on_cells(step)(cells)
    assert asked == [600.0, 1800.0]
    assert np.array_equal(stepped.after, evaluate.late(cells))
    assert stepped.flags is not None
    assert np.array_equal(stepped.flags == 1, cells.timestep > 1000.0)
    assert stepped.uncertainty is None


def test_native_engine_and_torch_agree(model: Path, cells: Cells) -> None:
    one = steps.on_cells(steps.native(model))(cells)
    other = steps.on_cells(steps.in_torch(modelfile.read(model)))(cells)
    assert scored(replace(cells, after=one.after[:, :26]), other.after).mean > 0.9999


def test_levels_are_pressure_bands(cells: Cells) -> None:
    air = cells.environment.copy()
    air[:5, 0] = (1000e2, 850e2, 700e2, 250e2, 30e2)
    levels = evaluate.groups(replace(cells, environment=air))["levels"]
    order = list(evaluate.LEVELS)
    assert [next(n for n in order if levels[n][k]) for k in range(5)] == [
        order[0],
        order[0],
        order[1],
        order[3],
        order[4],
    ]


def test_two_half_steps_of_m7_differ_from_one(cells: Cells) -> None:
    """What the reference itself does, by hand for one variable; its limit knows no timestep."""
    one = steps.teacher(reference.Config())
    found = evaluate.consistency(one, cells)
    assert set(found) <= set(SCORED)
    some = cells.timestep == 1800.0
    state = steps.state_of(cells, some)
    half = one({**state, **one(state, 900.0)}, 900.0)["num_ns"]
    gap = half - one(state, 1800.0)["num_ns"]
    rest = evaluate.consistency(one, evaluate_some(cells, some))
    place = SCORED.index("num_ns")
    scale = (cells.after - cells.before)[some, place].std()
    assert rest["num_ns"] == pytest.approx(np.sqrt(np.mean(gap**2)) / scale)
    many = evaluate.consistency(steps.teacher(reference.Config(), 64), cells)
    assert np.mean(list(many.values())) < 0.3 * np.mean(list(found.values()))
    equal = replace(scored(cells, evaluate.late(cells)), consistency=found, own_consistency=found)
    assert equal.inconsistent == 0


def evaluate_some(cells: Cells, some: Any) -> Cells:
    kept: dict[str, Any] = {n: None if v is None else v[some] for n, v in vars(cells).items()}
    return Cells(**kept)


def test_other_teachers_are_refused(model: Path) -> None:
    content = modelfile.read(model)
    switches = {"profile": "ham2", "substeps": "1"}
    evaluate.check_teacher(content, switches)
    for substeps, made in (("converged", "converged"), ("240", "converged"), ("4", "4 sub-steps")):
        with pytest.raises(ValueError, match=f"taught by: teacher m7, not .*{made}"):
            evaluate.check_teacher(content, switches | {"substeps": substeps})
    with pytest.raises(ValueError, match="profile ham2, not m7_2004"):
        evaluate.check_teacher(content, {"profile": "m7_2004"})
    converged = replace(content, teacher="converged")
    evaluate.check_teacher(converged, switches | {"substeps": "240"})
    config, parts = evaluate.teacher_of(content)
    assert parts == 1
    assert replace(config, densities={}, kappas={}) == reference.Config()
    assert config.densities == {s.name: s.density for s in SPECIES}
    assert evaluate.teacher_of(converged)[1] == evaluate.MANY


@pytest.mark.parametrize("kind", baselines.KINDS)
def test_baselines_learn_and_are_kept(kind: baselines.Kind, cells: Cells, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    config = baselines.BaselineConfig(kind=kind, epochs=10, batch=64)
    first = baselines.trained(config, cells, ["a"], tmp_path)
    kept = list(tmp_path.iterdir())
    assert len(kept) == 1
    stamp = kept[0].stat().st_mtime_ns
    again = baselines.trained(config, cells, ["a"], tmp_path)
    assert kept[0].stat().st_mtime_ns == stamp
    one, other = baselines.predict(first, cells), baselines.predict(again, cells)
    assert np.array_equal(one, other)
    assert one.shape == (len(cells), len(SCORED))
    assert np.isfinite(one).all()
    learnt = scored(cells, one)  # in its own space; the other is far off, as published
    own = learnt.asinh_r2 if kind == "log" else learnt.r2
    assert np.nanmedian(list(own.values())) > (0.2 if kind == "log" else 0.5)
    baselines.trained(config, cells, ["b"], tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def test_baseline_refusals() -> None:
    with pytest.raises(ValueError, match=re.escape("kind = 'x'; allowed is z, log, mlp")):
        baselines.BaselineConfig(kind="x")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="epochs = 0"):
        baselines.BaselineConfig(epochs=0)


def test_table_shows_all_measures(cells: Cells) -> None:
    told = {"model": scored(cells, evaluate.late(cells))}
    text = shown(told)
    for name in ("mean tendency R2", "worst variable", "wrong signs", "closure SO4", "volcanic"):
        assert name in text
    assert all(name in text for name in SCORED)


def test_figure_is_drawn(cells: Cells, tmp_path: Path) -> None:
    path = tmp_path / "figure.png"
    scorecard.figure(cells, evaluate.late(cells), path, "all right")
    with Image.open(path) as image:
        assert image.size[0] > 1000
        assert len(image.getcolors(1 << 24) or ()) > 50
    assert [p.name for p in tmp_path.iterdir()] == ["figure.png"]


def test_command(model: Path, records: Path, tmp_path: Path) -> None:
    scores, drawn = tmp_path / "scores.json", tmp_path / "figure.png"
    given = ["--baselines", str(records), "--baseline-cells", "600", "--epochs", "2"]
    given += ["--ood", "double_dust", "--ood-cells", "640", "--rollout", "1", "--boxes", "10"]
    written = ["--json", str(scores), "--figure", str(drawn)]
    result = CliRunner().invoke(app, ["evaluate", str(model), str(records), *given, *written])
    assert result.exit_code == 0, result.output
    told = json.loads(scores.read_text())
    assert told["model"]["mean_r2"] > 0.9
    assert told["persistence"]["mean_r2"] <= 0.0
    assert set(baselines.LABELS.values()) <= set(told)
    assert told["model"]["inconsistent"] < len(SCORED)
    assert told["climates"]["double_dust"]["model"]["mean_r2"] > 0.9
    assert told["rollout"]["model"]["diverged"] == 0
    assert told["rollout"]["model"]["median"]["total number"] < 0.05
    assert told["model"]["cells"] == 1500
    for path in (drawn, tmp_path / "figure_groups.png", tmp_path / "figure_rollout.png"):
        with Image.open(path) as image:
            assert len(image.getcolors(1 << 24) or ()) > 20


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("model", "there is no such file"),
        ("records", "there is no such file"),
        ("figure", "is a directory"),
    ],
)
def test_command_refuses_plainly(
    wrong: str, message: str, model: Path, records: Path, tmp_path: Path
) -> None:
    given = {"model": str(model), "records": str(records), "figure": str(tmp_path / "f.png")}
    given[wrong] = str(tmp_path) if wrong == "figure" else str(tmp_path / "none.nc")
    result = CliRunner().invoke(
        app, ["evaluate", given["model"], given["records"], "--figure", given["figure"]]
    )
    assert result.exit_code == 1
    assert message in result.output
    assert not (tmp_path / "f.png").exists()
