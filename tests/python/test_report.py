"""The report: one page that needs nothing else, of all kinds of results."""

import json
import re
from pathlib import Path

import pytest

from pyemu import comparison, online, report
from pyemu import evaluate as judged
from pyemu.emulator import path_of
from pyemu.files import write_json
from pyemu.judging import Judge
from pyemu.replay import Replay, replay
from pyemu.scorecard import figure
from pyemu.steps import native, on_cells

MODEL = path_of("first")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of all commands, small."""
    folder = tmp_path_factory.mktemp("report")
    config = online.OnlineConfig(
        model=MODEL, folder=folder, days=0.5, grid=(8, 6, 7), record_fraction=0.3, threads=1
    )
    facts = online.facts(config, online.run(config, lambda _: None))
    records = online.records(config)
    cells = judged.some_cells([records], None, 500)
    stepped = on_cells(native(MODEL))(cells)
    figure(cells, stepped.after, folder / "tendencies.png", "tendencies")
    comparison.series_figure(config, folder / "series.png")
    comparison.zonal_figure(config, folder / "zonal.png")
    place = {"model_file": str(MODEL), "folder": str(folder)}
    scores = {"evaluation": judged.score(cells, stepped).facts()}
    write_json(folder / "online.json", {**place, **facts, **scores})

    judge = Judge("first", "native", "cpu", lambda _: iter, lambda _: None)
    judge.score(cells, folder / "evaluate.png")
    judge.roll(0.1, 20, 1800.0, folder / "evaluate.png")
    kinds = zip(("tendencies", "groups", "rollout"), map(str, judge.written), strict=True)
    write_json(folder / "evaluate.json", {**judge.facts, "figures": dict(kinds)})

    for name, path, chosen in (
        ("states", folder / "host_m7.nc", "m7emu_host"),
        ("pairs", records, None),
    ):
        plan = Replay(model=MODEL, inputs=(path,), output=folder / f"{name}.nc", map=chosen)
        write_json(folder / f"{name}.json", replay(plan).facts)
    (folder / "other.json").write_text('{"something": "else"}')
    return folder


def test_page_holds_all_and_needs_nothing(results: Path, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    passed = report.write(sorted(results.glob("*.json")), page, "A title & more")
    assert passed == [results / "other.json"]
    text = page.read_text()
    assert "<title>A title &amp; more</title>" in text
    sources = re.findall(r'(?:src|href)="([^"]{0,20})', text)
    assert all(source.startswith(("data:image/png", "#s")) for source in sources)
    assert "http" not in text
    captions = re.findall(r"<figcaption><b>(.*?)\.</b> (.*?)</figcaption>", text)
    assert text.count("<figure") == len(captions)
    assert all(len(look) > 40 for _, look in captions)
    for title in (
        "Predicted against true tendencies",
        "Error by regime, level, timestep and condition",
        "Errors over time",
        "Global means over time",
        "Maps of column amounts, means over the run",
        "Zonal means of the last day",
        "Global mean profiles of the last day",
        "Budgets: what each process put in and took out",
        "Maps of tendencies, means over the levels",
        "Zonal means of tendencies",
        "Global mean profiles of tendencies",
    ):
        assert title in {name for name, _ in captions}, title
    score = json.loads((results / "evaluate.json").read_text())["model"]["mean_r2"]
    assert f"<b>{score:.6f}</b><span>mean tendency R2" in text
    assert "gives no uncertainty" in text


def test_calibration_is_shown_where_there_is_one(results: Path, tmp_path: Path) -> None:
    facts = json.loads((results / "evaluate.json").read_text())
    facts["model"]["calibration"] = {"coverage": 0.91, "skill": None, "ranks": 1}
    (tmp_path / "one.json").write_text(json.dumps(facts))
    report.write([tmp_path / "one.json"], tmp_path / "report.html")
    assert "below what is expected of 90 %" in (tmp_path / "report.html").read_text()


def test_refusals(results: Path, tmp_path: Path) -> None:
    page = tmp_path / "report.html"

    def refused(path: Path, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            report.write([path], page)

    refused(tmp_path / "none.json", "none.json: there is no such file")
    refused(results / "other.json", "no result among the files")
    (tmp_path / "broken.json").write_text("{")
    refused(tmp_path / "broken.json", "broken.json is no JSON")
    facts = json.loads((results / "evaluate.json").read_text())
    facts["figures"]["groups"] = "gone.png"
    (tmp_path / "gone.json").write_text(json.dumps(facts))
    refused(tmp_path / "gone.json", "gone.png: a result names it, but there is no such file")
    facts["model_file"] = str(path_of("accurate"))
    (tmp_path / "other.json").write_text(json.dumps(facts))
    with pytest.raises(ValueError, match="one report, one model"):
        report.write([results / "online.json", tmp_path / "other.json"], page)
    assert not page.exists()
