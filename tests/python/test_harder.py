"""Harder et al.'s seven measures against numbers worked out by hand; their arrays as records."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from pyemu import harder
from pyemu.cli import app
from pyemu.records import WATERS, load, open_records
from pyemu.variables import ENVIRONMENT, PROGNOSTICS, index, names


def states() -> tuple[dict[str, np.ndarray], ...]:
    """Three cells in which BC ages from KI to KS, and nothing else is there."""
    none = {name: np.zeros(3) for name in (*names(PROGNOSTICS), *WATERS)}
    before = none | {"bc_ki": np.array([2.0, 4.0, 6.0])}
    truth = before | {"bc_ki": np.array([1.0, 2.0, 3.0]), "bc_ks": np.array([1.0, 2.0, 3.0])}
    given = before | {"bc_ki": np.array([1.0, 2.0, 3.0]), "bc_ks": np.array([1.0, 2.0, -0.5])}
    return before, truth, given


def test_measures_by_hand() -> None:
    before, truth, given = states()
    found = harder.measures(before, truth, given)
    # KI is right (R2 = 1); KS is out by 3.5 in one cell of a variance of 2/3.
    square = 3.5**2 / 3.0
    assert found.r2 == pytest.approx((1.0 + 1.0 - square / (2.0 / 3.0)) / 2.0)
    logs = np.log(np.array([1.0, 2.0, 3.0]) + 1e-8)
    gap = (math.log(3.0 + 1e-8) - math.log(0.5 + 1e-8)) ** 2 / 3.0  # without its sign
    assert found.log_r2 == pytest.approx((1.0 + 1.0 - gap / logs.var()) / 2.0)
    assert found.rmse == pytest.approx(math.sqrt(square / (2.0 / 3.0) / 2.0))
    # BC of a mode is 1 in the mean of four; totals change by 0, 0 and -3.5.
    assert found.mass_bias == {"bc": pytest.approx(-3.5 / 3.0)}
    assert found.mass_rmse == pytest.approx(math.sqrt(square))
    assert found.negative_fraction == pytest.approx(1.0 / 3.0 / 26.0)
    # Of bc_ks -0.5/3 over its mean of 2, of bc_ki none.
    assert found.negative_mean == pytest.approx(-0.5 / 3.0 / 2.0 / 2.0)


def test_truth_is_perfect() -> None:
    before, truth, _ = states()
    found = harder.measures(before, truth, truth)
    assert (found.r2, found.log_r2, found.rmse, found.negative_fraction) == (1.0, 1.0, 0.0, 0.0)
    assert found.mass_bias == {"bc": 0.0}


def arrays(folder: Path) -> tuple[Path, Path]:
    generator = np.random.default_rng(1)
    x = generator.random((50, 32))
    x[:, :3] = 9e4, 280.0, 1.0 + 1e-3
    x[:, 7] = 0.0
    y = 0.1 * generator.random((50, 28))
    np.save(folder / "X_test.npy", x.astype(np.float32))
    np.save(folder / "y_test.npy", y.astype(np.float32))
    return folder / "X_test.npy", folder / "y_test.npy"


def test_arrays_become_records(tmp_path: Path) -> None:
    x, y = arrays(tmp_path)
    path = tmp_path / "harder.nc"
    result = CliRunner().invoke(app, ["harder", str(x), str(y), str(path)])
    assert result.exit_code == 0, result.output
    cells = load(open_records(path))
    given, moved = np.load(x).astype(float), np.load(y).astype(float)
    assert len(cells) == 50
    assert (cells.timestep == 450.0).all()
    for name, column in (("h2so4", 8), ("so4_ns", 9), ("bc_ki", 16), ("du_as", 21), ("du_ci", 24)):
        place = index(name, PROGNOSTICS)
        assert np.array_equal(cells.before[:, place], given[:, column])
        after = given[:, column] + moved[:, column - 8]
        assert np.allclose(cells.after[:, place], after, rtol=1e-15)
    assert np.array_equal(cells.before[:, index("num_ci", PROGNOSTICS)], given[:, 31])
    assert (cells.before[:, index("ss_as", PROGNOSTICS)] == 0.0).all()
    assert (cells.environment[:, index("relative_humidity", ENVIRONMENT)] == 1.0).all()
    assert cells.water_after is not None
    assert np.array_equal(cells.water_after, moved[:, 24:])


def test_refusals(tmp_path: Path) -> None:
    x, y = arrays(tmp_path)
    np.save(tmp_path / "short.npy", np.zeros((50, 24)))
    (tmp_path / "text.npy").write_text(json.dumps([1]))
    for pair, message in (
        ((tmp_path / "none.npy", y), "none.npy: there is no such file"),
        ((x, tmp_path / "short.npy"), r"short.npy has shape \(50, 24\), not \(n, 28\)"),
        ((tmp_path / "text.npy", y), "text.npy: it is no array of numpy"),
    ):
        with pytest.raises(ValueError, match=message):
            harder.read(*pair)
