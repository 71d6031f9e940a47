"""The harness runs and reports; no test depends on a time."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pyemu import bench, frontier, states
from pyemu.cli import app
from pyemu.emulator import shipped


def test_cost_has_a_row_for_each_profile_and_block() -> None:
    rows = bench.cost(20, rounds=2, blocks=(4, 16))
    assert [(row.name, row.block) for row in rows] == [
        ("ham2", 4),
        ("ham2", 16),
        ("m7_2004", 4),
        ("m7_2004", 16),
    ]
    for row in rows:
        assert 0.0 < row.best <= row.lower <= row.median <= row.upper


def test_spun_up_states_are_as_stated() -> None:
    state = states.spun_up(120)
    assert not state["cloud_fraction"].any()
    assert (state["h2so4_production"] > 0.0).all()


def test_more_substeps_come_closer() -> None:
    rows = bench.convergence(240, timesteps=(1800.0,), many=64)
    assert [row.substeps for row in rows[::2]] == list(bench.SUBSTEPS)
    against = [row for row in rows if row.truth == "64"]
    assert against[-1].mean > 0.99 > against[0].mean
    assert against[-1].worst > against[0].worst
    assert against[-1].asinh > against[0].asinh


def test_command(tmp_path: Path) -> None:
    facts, page = tmp_path / "facts.json", tmp_path / "new/convergence.md"
    options = ["--cells", "16", "--rounds", "1", "--json", str(facts), "--markdown", str(page)]
    result = CliRunner().invoke(app, ["bench", "--reference", "--convergence", *options])
    assert result.exit_code == 0, result.output
    told = json.loads(facts.read_text())
    assert set(told) == {"date", "machine", "system", "compiler", "reference", "convergence"}
    timed = [row["name"] for row in told["reference"]]
    assert timed == [n for n in ("ham2", "m7_2004", *shipped()) for _ in bench.BLOCKS]
    assert "GCC" in told["compiler"] or told["compiler"]
    assert "| 3600 | converged | 60 |" in page.read_text()


@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        (["--reference", "--json", "absent/facts.json"], 1, "there is no directory"),
    ],
)
def test_command_tells_what_is_wrong(options: list[str], status: int, message: str) -> None:
    result = CliRunner().invoke(app, ["bench", *options])
    assert result.exit_code == status
    assert message in result.output


def test_compiler_is_told_briefly() -> None:
    text = (
        "GCC version 12.2.0 -march=znver3 -mavx2 --param=l1-cache-size=48 -fPIC -O3 "
        "-fno-math-errno -fdiagnostics-color=always folder/name.p -J other"
    )
    assert bench.brief(text) == "GCC version 12.2.0 -march=znver3 -O3 -fno-math-errno"


def test_frontier(tmp_path: Path) -> None:
    points = frontier.frontier(
        ["accurate"],
        count=240,
        rounds=1,
        days=0.5,
        boxes=10,
        substeps=(1, 8),
        timesteps=(1800.0,),
        truth=32,
    )
    one, eight, exact = points
    assert [p.name for p in points] == ["ham2 x 1", "ham2 x 8", "accurate"]
    assert (one.substeps, exact.substeps, exact.teacher) == (1, None, "m7")
    assert one.cost < eight.cost
    for measure in ("mean", "worst", "asinh"):
        assert getattr(eight.scores[1800.0], measure) > getattr(one.scores[1800.0], measure)
    assert exact.scores[1800.0].mean == pytest.approx(one.scores[1800.0].mean, abs=1e-3)
    assert eight.rollout["mass"] < one.rollout["mass"]
    page = frontier.markdown(points, {"date": "2026-11-21T10", "machine": "m"}, "pyemu bench")
    assert page.count("| 1800 |") == 3
    frontier.figure(points, tmp_path / "f.png")
    assert (tmp_path / "f.png").stat().st_size > 20_000


def test_latency_has_what_a_search_asks_for() -> None:
    from pyemu.latency import table

    found = table(
        rounds=2, count=64, networks=("salt", "trunk"), hidden=((8,), (8, 16)), widths=(8,)
    )
    assert found["step"] > 0.0
    assert {"bypass", "salt:8", "salt:8-16", "trunk:8", "trunk:8-16"} <= set(found)
    layers = {name for name in found if name.count(":") == 2}
    assert layers == {
        *(f"dense:8:{activation}" for activation in ("relu", "silu", "tanh")),
        *(f"{operation}:8:silu" for operation in ("residual", "gated", "low_rank")),
    }
    assert all(abs(cost) < 1e9 for cost in found.values())
