"""Scores and closures on states whose answer is known."""

import math

import numpy as np
import pytest
from scipy.stats import chi2

from pyemu import metrics
from pyemu.uncertainty import calibration, scaled_error
from pyemu.variables import PROGNOSTICS, names

TRUTH = np.array([1.0, 2.0, 3.0, 4.0])


def test_r2() -> None:
    assert metrics.r2(TRUTH, TRUTH) == 1.0
    assert metrics.r2(TRUTH, np.full(4, TRUTH.mean())) == 0.0
    assert metrics.r2(TRUTH, TRUTH + np.array([0.5, -0.5, 0.5, -0.5])) == pytest.approx(0.8)
    assert metrics.r2(TRUTH, -TRUTH) < -1.0


def test_r2_says_nothing_without_variation() -> None:
    assert math.isnan(metrics.r2(np.zeros(3), np.ones(3)))
    assert math.isnan(metrics.asinh_r2(np.zeros(3), np.ones(3)))
    assert math.isnan(metrics.r2(np.zeros(0), np.zeros(0)))


def test_asinh_r2_sees_small_tendencies_and_signs() -> None:
    truth = np.array([-1e4, -1e2, -1.0, 1.0, 1e2, 1e4])
    small_lost = np.where(np.abs(truth) < 1e3, 0.0, truth)
    assert metrics.r2(truth, small_lost) > 0.999
    assert metrics.asinh_r2(truth, truth) == 1.0
    assert metrics.asinh_r2(truth, small_lost) < 0.95
    assert metrics.asinh_r2(truth, np.abs(truth)) < 0.0


def test_tendencies_not_states() -> None:
    """A state that hardly moves scores 0 when persistence is predicted."""
    before = {"num_ks": 1e6 + TRUTH}
    truth = {"num_ks": before["num_ks"] + TRUTH}
    assert metrics.tendency_r2(before, truth, truth, ["num_ks"]) == {"num_ks": 1.0}
    still = metrics.tendency_r2(before, truth, before, ["num_ks"])["num_ks"]
    assert still == pytest.approx(1.0 - np.sum(TRUTH**2) / np.sum((TRUTH - 2.5) ** 2))
    assert metrics.tendency_asinh_r2(before, truth, truth, ["num_ks"]) == {"num_ks": 1.0}


def test_mean_and_worst_leave_out_what_does_not_vary() -> None:
    scores = {"a": 0.5, "b": math.nan, "c": 1.0}
    assert metrics.mean(scores) == 0.75
    assert metrics.worst(scores) == ("a", 0.5)
    assert math.isnan(metrics.mean({"b": math.nan}))
    assert metrics.worst({})[0] == ""


def test_closure() -> None:
    before = {name: np.array([0.0, 1.0, 2.0]) for name in names(PROGNOSTICS)}
    before["h2so4_production"] = np.array([0.0, 0.1, 0.0])
    after = {name: value.copy() for name, value in before.items()}
    after["so4_as"][1] += 180.0
    after["du_as"][2] += 0.5
    after["du_ci"][2] -= 0.5
    closed = metrics.closure(before, after, 1800.0)
    assert set(closed) == {"so4", "bc", "oc", "ss", "du"}
    assert all((error == 0.0).all() for error in closed.values())
    after["bc_ki"][2] *= 1.5
    assert metrics.closure(before, after, 1800.0)["bc"] == pytest.approx([0.0, 0.0, 1.0 / 9.0])


def test_closure_of_a_sink_ends_with_the_gas() -> None:
    before = {name: np.zeros(1) for name in names(PROGNOSTICS)} | {"h2so4": np.array([5.0])}
    after = before | {"h2so4": np.zeros(1)}
    closed = metrics.closure(before | {"h2so4_production": np.array([-1.0])}, after, 1800.0)
    assert closed["so4"] == 0.0


def test_calibration_of_a_normal_error() -> None:
    generator = np.random.default_rng(1)
    truth = generator.standard_normal((4000, 5)) * np.array([1.0, 10.0, 1e6, 1e-6, 3.0])
    sigma = np.exp(generator.standard_normal(4000) - 4.0)
    error = generator.standard_normal(truth.shape) * sigma[:, None] * truth.std(axis=0)
    # Of the mean square of five normal errors 90 % are below the quantile of chi2 over 5.
    bound = sigma * math.sqrt(chi2.ppf(0.9, 5) / 5.0)
    right = calibration(truth, truth - error, bound)
    assert right.coverage == pytest.approx(0.9, abs=0.01)
    assert right.ranks > 0.8
    for wrong in (bound / 3.0, 3.0 * bound, np.full(4000, np.median(bound))):
        assert calibration(truth, truth - error, wrong).skill < right.skill
    assert calibration(truth, truth - error, bound / 3.0).coverage < 0.1
    best = np.quantile(scaled_error(truth, truth - error), 0.9)
    assert calibration(truth, truth - error, np.full(4000, best)).skill == pytest.approx(0.0)
    twice = calibration(truth, truth - error, bound, 0.5 * truth.std(axis=0))
    assert twice.coverage == pytest.approx((scaled_error(truth, truth - error) <= bound / 2).mean())
