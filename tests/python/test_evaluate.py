"""Evaluation: scores that are known beforehand, baselines, the table, the figure, the command."""

import json
import re
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from typer.testing import CliRunner

from pyemu import baselines, evaluate, modelfile, reference, scorecard, train
from pyemu.cli import app
from pyemu.lessons import SCORED
from pyemu.records import KINDS, Cells, load, open_records
from pyemu.sampling import Sample, sample
from pyemu.trainconfig import TrainConfig


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


def test_truth_scores_one_and_persistence_nought(cells: Cells) -> None:
    perfect = evaluate.score(cells, evaluate.late(cells))
    assert perfect.mean == 1.0
    assert perfect.worst[1] == perfect.asinh == 1.0
    assert perfect.wrong_signs == 0.0
    assert perfect.negatives == 0
    assert max(perfect.closure.values()) < 1e-14
    assert set(perfect.regimes) <= set(KINDS)
    assert perfect.regimes["volcanic"] == 1.0
    still = evaluate.score(cells, evaluate.early(cells))
    assert all(score <= 0.0 for score in still.r2.values() if not np.isnan(score))
    assert still.mean > -0.2
    assert still.wrong_signs == 1.0


def test_what_is_wrong_is_counted(cells: Cells) -> None:
    after = evaluate.late(cells)
    after[3, SCORED.index("num_ks")] = -1.0
    after[:, SCORED.index("so4_as")] *= 1.5
    found = evaluate.score(cells, after)
    assert found.negatives == 1
    assert found.closure["so4"] > 1e-3
    assert found.closure["du"] < 1e-14
    flipped = 2.0 * evaluate.early(cells) - evaluate.late(cells)
    assert evaluate.score(cells, flipped).wrong_signs == 1.0


def test_water_counts_from_nought_where_it_is_not_recorded(cells: Cells) -> None:
    without = replace(cells, water=None)
    assert (evaluate.early(without)[:, -4:] == 0.0).all()
    with pytest.raises(ValueError, match="no water after the step"):
        evaluate.score(replace(cells, water_after=None), evaluate.early(cells))


def test_chain_runs_the_model(model: Path, cells: Cells) -> None:
    after, flags = evaluate.torch_engine(modelfile.read(model))(cells)
    found = evaluate.score(cells, after, flags)
    assert found.mean > 0.9
    assert max(found.closure.values()) < 1e-14
    assert found.negatives == 0
    assert sum(found.flags) == len(cells)


def test_native_engine_is_asked_by_timestep(cells: Cells, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reference stands in for the engine: the same contract, plus `flag`."""

    def step(state: dict[str, Any], timestep: float) -> dict[str, Any]:
        return reference.step(state, timestep) | {"flag": np.zeros(len(state["h2so4"]), np.int32)}

    loaded: list[Path] = []

    def load_it(path: Path) -> SimpleNamespace:
        loaded.append(path)
        return SimpleNamespace(step=step)

    monkeypatch.setitem(sys.modules, "pyemu.emulator", SimpleNamespace(load=load_it))
    after, flags = evaluate.native_engine(Path("some.safetensors"))(cells)
    assert loaded == [Path("some.safetensors")]
    assert np.array_equal(after, evaluate.late(cells))
    assert (flags == 0).all()


@pytest.mark.parametrize("kind", baselines.KINDS)
def test_baselines_learn_and_are_kept(kind: baselines.Kind, cells: Cells, tmp_path: Path) -> None:
    config = baselines.HarderConfig(kind=kind, epochs=15, batch=64)
    first = baselines.harder(config, cells, ["a"], tmp_path)
    kept = list(tmp_path.iterdir())
    assert len(kept) == 1
    stamp = kept[0].stat().st_mtime_ns
    again = baselines.harder(config, cells, ["a"], tmp_path)
    assert kept[0].stat().st_mtime_ns == stamp
    one, other = baselines.predict(first, cells), baselines.predict(again, cells)
    assert np.array_equal(one, other)
    assert one.shape == (len(cells), len(SCORED))
    assert np.isfinite(one).all()
    learnt = evaluate.score(cells, one)  # in its own space; the other is far off, as published
    own = learnt.r2 if kind == "z" else learnt.asinh_r2
    assert np.nanmedian(list(own.values())) > (0.5 if kind == "z" else 0.2)
    baselines.harder(config, cells, ["b"], tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def test_baseline_refusals() -> None:
    with pytest.raises(ValueError, match=re.escape("kind = 'x'; allowed is z, log")):
        baselines.HarderConfig(kind="x")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="epochs = 0"):
        baselines.HarderConfig(epochs=0)


def test_table_shows_all_measures(cells: Cells) -> None:
    from io import StringIO

    told = {"model": evaluate.score(cells, evaluate.late(cells))}
    console = Console(width=160, record=True, file=StringIO())
    console.print(scorecard.table(told, "a model"))
    text = console.export_text()
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
    written = ["--json", str(scores), "--figure", str(drawn)]
    result = CliRunner().invoke(app, ["evaluate", str(model), str(records), *given, *written])
    assert result.exit_code == 0, result.output
    told = json.loads(scores.read_text())
    assert told["model"]["mean_r2"] > 0.9
    assert told["persistence"]["mean_r2"] <= 0.0
    assert {"Harder z", "Harder log"} <= set(told)
    assert told["model"]["cells"] == 1500
    assert drawn.exists()


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
