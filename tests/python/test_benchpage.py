"""The whole benchmark at tiny size: what it measures, what it writes, what it does without."""

import copy
import json
import re
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from pyemu import bench
from pyemu.bench import clock, page, rivals, roofline, run, sections
from pyemu.cli import app

TINY: dict[str, Any] = {
    "models": ("accurate", "converged"),
    "rounds": 2,
    "blocks": (1, 16, 64),
    "count": 128,
    "totals": (64, 128),
    "widths": (8, 16),
    "substeps": (1, 2),
    "torch_blocks": (16,),
    "slow": 1,
    "seconds": 0.01,
}

SMALL = rivals.Dense(widths=(32, 40, 24, 28))


def in_torch(network: rivals.Dense) -> Any:
    import torch

    return rivals.torch_module(network)(torch.from_numpy(network.inputs(96))).numpy()


def libtorch_is_built() -> bool:
    return rivals.libtorch_program().exists()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of a run of everything, with a frontier and a README beside them."""
    home = tmp_path_factory.mktemp("home")
    (home / "benchmarks").mkdir()
    marks = f"before\n{page.BEGIN}\nold\n{page.END}\nafter\n"
    (home / "README.md").write_text(marks)
    scores = {"ham2 x 1": 0.5, "ham2 x 2": 0.9, "accurate": 0.5, "converged": 0.8}
    points = [{"name": n, "scores": {"1800.0": {"mean": s}}} for n, s in scores.items()]
    (home / "benchmarks/frontier.json").write_text(json.dumps({"frontier": points}))
    with pytest.MonkeyPatch.context() as patch:
        if not libtorch_is_built():  # a compilation of half a minute
            patch.setattr(shutil, "which", lambda _: None)
        written = list(run.run(home / "benchmarks/results.json", None, TINY))
    assert [path.name for path in written] == [
        "results.json",
        "results.png",
        "RESULTS.md",
        "README.md",
    ]
    return home / "benchmarks"


@pytest.fixture(scope="module")
def results(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "results.json").read_text()))


def test_every_section_is_measured(results: dict[str, Any]) -> None:
    assert set(results["sections"]) == set(sections.SECTIONS)
    best = clock.sets()[0]
    steps = results["sections"]["steps"]["rows"]
    assert {row["how"] for row in steps} >= {
        "Fortran",
        "torch engine",
        *clock.sets(),
        f"{best}, single",
    }
    for block in TINY["blocks"]:
        assert page.find(steps, name="ham2", block=block)
        assert page.find(steps, name="converged", how=best, block=block)
    for name in ("steps", "trunk", "sizes", "threads", "cells", "accuracy"):
        for row in results["sections"][name]["rows"]:
            assert 0.0 < row["best"] <= row["lower"] <= row["median"] <= row["upper"]
    assert page.find(results["sections"]["threads"]["rows"], name="ham2", threads=1)
    assert results["machine"]["numpy"] == np.__version__
    assert results["machine"]["sets"][best] >= 4


def test_the_page_tells_the_numbers_of_the_json(folder: Path, results: dict[str, Any]) -> None:
    text = (folder / "RESULTS.md").read_text()
    extra = {"frontier": json.loads((folder / "frontier.json").read_text())["frontier"]}
    assert text == page.markdown(results | extra, ["results.png"])
    changed = copy.deepcopy(results)
    for row in changed["sections"]["steps"]["rows"]:
        row.update(dict.fromkeys(("median", "lower", "upper"), 7.77))
    steps = page.markdown(changed).partition("## Whole steps")[2].partition("## A network")[0]
    cells = re.findall(r"\| ([\d.]+ ±\d+%)", steps)
    assert set(cells) == {"7.77 ±0%"}
    assert page.NOT_YET in text.partition("## On a GPU")[2]
    table = "\n".join(page.headline(results))
    assert table in text
    readme = (folder.parent / "README.md").read_text()
    assert table in readme
    assert "old" not in readme
    assert (folder / "results.png").stat().st_size > 50_000


def test_sections_are_renewed_alone(folder: Path, results: dict[str, Any]) -> None:
    path = folder / "results.json"
    found = sections.measure(path, ["threads"], sections.Plan(**TINY))
    assert found["sections"]["steps"] == results["sections"]["steps"]
    assert found["sections"]["threads"] != results["sections"]["threads"]


def test_a_gpu_has_its_table(results: dict[str, Any]) -> None:
    found = {"device": "H200", "rows": [{"cells": 1000, "cells per s": 2.5e9}]}
    text = page.markdown(results | {"gpu": found}).partition("## On a GPU")[2]
    assert "device H200" in text
    assert "| 1000 | 2.5e+09 |" in text


def test_without_what_is_optional(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, results: dict[str, Any]
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.setattr(rivals, "_CACHE", tmp_path)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    found = sections.trunk(sections.Plan(**TINY))
    assert "not installed" in found["missing"]["ONNX Runtime"]
    assert "no C++ compiler" in found["missing"]["libtorch"]
    assert {row["name"] for row in found["rows"]} == {"native layers"}
    told = results["sections"]["trunk"] | found
    text = page.markdown(results | {"sections": {"trunk": told}})
    assert "ONNX Runtime: not installed: onnxruntime (pip install m7emu[bench])." in text
    assert f"Whole steps: {page.NOT_YET}." in text


@pytest.mark.parametrize("block", [1, 16, 48])
def test_layers_give_what_torch_gives(block: int) -> None:
    for name in clock.sets():
        contender, outputs = rivals.own(SMALL, 96, block, name)
        contender.seconds()
        np.testing.assert_allclose(outputs.reshape(96, 28), in_torch(SMALL), rtol=0, atol=1e-6)


def test_onnx_gives_what_torch_gives() -> None:
    pytest.importorskip("onnxruntime", reason="the extra m7emu[bench] is not installed")
    contender, outputs = rivals.onnx(SMALL, 96, 16)
    contender.seconds()
    np.testing.assert_allclose(outputs.reshape(96, 28), in_torch(SMALL), rtol=0, atol=1e-6)


@pytest.mark.skipif(not libtorch_is_built(), reason="`pyemu bench` builds libtorch's program")
def test_libtorch_gives_what_torch_gives() -> None:
    libtorch = rivals.Libtorch(SMALL, 96)
    libtorch.contender(48).seconds()
    outputs = libtorch.outputs()
    libtorch.close()
    np.testing.assert_allclose(outputs, in_torch(SMALL), rtol=0, atol=1e-6)


def test_the_engine_steps_as_from_python() -> None:
    """What is timed is the step: the same bits as `Emulator.step`, in every call and by threads."""
    from pyemu.emulator import load
    from pyemu.variables import ENVIRONMENT, PROGNOSTICS, names

    cells = clock.Cells(192, 64)
    clock.native("accurate", cells, threads=2).seconds()
    environment, prognostic = cells.matrices
    state = dict(zip(names(ENVIRONMENT), environment.T, strict=True))
    state |= dict(zip(names(PROGNOSTICS), prognostic.T, strict=True))
    after = load("accurate").step(state, clock.TIMESTEP)
    stepped = cells.prognostic.transpose(0, 2, 1).reshape(192, -1)
    for place, name in enumerate(names(PROGNOSTICS)):
        np.testing.assert_array_equal(stepped[:, place], after[name])


def test_parts_are_counted() -> None:
    """A trunk's multiply-adds are those of its layers; exact models have none in networks."""
    rates = roofline.rates(clock.sets()[-1], 64, repeats=1)
    assert all(rate > 1e6 for rate in rates.rate.values())
    found = roofline.parts(("accurate", "learned"), rates, rounds=1, count=64)
    assert not any(p.name == "networks" and p.model == "accurate" for p in found)
    (trunk,) = (p for p in found if p.name == "networks")
    layers = 16 * 24 + 24 * 24 + 24 * 26  # the trunk of `learned`: 24-24
    assert layers < trunk.operations["multiply, single"] < 4 * layers
    for part in found:
        assert part.cost > 0.0
        assert part.floor == max(part.multiply_adds, part.divisions, part.memory)
    again = roofline.parts(("accurate",), rates, rounds=1, count=64)
    assert [p.operations for p in again] == [p.operations for p in found if p.model == "accurate"]


def test_everyone_takes_turns() -> None:
    order: list[str] = []

    def contender(name: str, turns: int) -> clock.Contender:
        def seconds() -> float:
            order.append(name)
            return float(len(order))

        return clock.Contender(
            name=name, block=1, cells=10, seconds=seconds, turns=turns, elsewhere=True
        )

    fast, slow = clock.race([contender("fast", 9), contender("slow", 2)], rounds=5)
    assert order.count("fast") == 1 + 2 * 5  # one warm round, two runs in each other
    assert order.count("slow") == 1 + 2
    assert {*order[:2]} == {*order[2:5]} == {"fast", "slow"}
    assert (fast.cells, slow.name) == (10, "slow")


def test_a_turn_that_lost_the_core_is_tried_again() -> None:
    calls: list[float] = []

    def seconds() -> float:
        calls.append(0.0)
        time.sleep(0.01)  # the core is another's
        return 1.0

    (cost,) = clock.race(
        [clock.Contender(name="sleeper", block=1, cells=1, seconds=seconds)], rounds=2
    )
    assert (cost.disturbed, len(calls)) == (1.0, 1 + 2 * (1 + 3))


def test_error_between_two_substeps() -> None:
    line = [(1.0, 0.1), (10.0, 0.001)]
    assert page.interpolated(line, 0.01) == pytest.approx(10.0**0.5)
    assert page.interpolated(line, 0.5) is None


def test_energy_is_that_of_the_packages(tmp_path: Path) -> None:
    assert sections.joules(tmp_path) is None
    for place, (name, used) in enumerate((("package-0", 3), ("dram", 5), ("package-1", 4))):
        domain = tmp_path / f"intel-rapl:{place}"
        domain.mkdir()
        (domain / "name").write_text(name + "\n")
        (domain / "energy_uj").write_text(f"{used}000000\n")
    assert sections.joules(tmp_path) == pytest.approx(7.0)


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (None, ["--sections", "steps,nonsense"], "section 'nonsense'; allowed is steps, trunk"),
        ("{}", ["--sections", "threads"], "not a file that `pyemu bench` wrote"),
        ('{"machine": {"machine": "abacus"}, "sections": {}}', [], "is of abacus, this machine"),
        (None, ["--model", "absent", "--sections", "cells"], "no model is shipped"),
    ],
)
def test_command_tells_what_is_wrong(
    tmp_path: Path, content: str | None, options: list[str], message: str
) -> None:
    path = tmp_path / "results.json"
    if content:
        path.write_text(content)
    result = CliRunner().invoke(app, ["bench", "--results", str(path), *options])
    assert result.exit_code == 1
    assert message in " ".join(result.output.split())


def test_cells_are_whole_calls() -> None:
    with pytest.raises(ValueError, match="100 cells are not whole calls of 16"):
        clock.Cells(100, 16)
    assert bench.brief("GCC 12 -O3 -Wall") == "GCC 12 -O3"
