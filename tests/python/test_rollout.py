"""Rollouts: all runs see the same weather, errors that are known, boxes that leave the teacher."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from pyemu import integrals, reference, rollcard, states, steps
from pyemu.rollout import QUANTITIES, RolloutConfig, rollout
from pyemu.variables import MODES, NUMBERS, names

Array = NDArray[np.float64]
CONFIG = RolloutConfig(days=2.0, boxes=40)
M7 = steps.teacher(reference.Config())


def test_same_step_has_no_error_and_sub_steps_have_a_known_one() -> None:
    found = rollout(CONFIG, M7, {"same": M7, "4": steps.teacher(reference.Config(), 4)})
    same, four = found["same"], found["4"]
    for quantity in QUANTITIES:
        assert np.nanmax(same.error[quantity]) == 0.0
        assert same.error[quantity].shape == (8, 40)
    assert not same.diverged.any()
    assert same.days[-1] == 2.0
    assert 1e-3 < four.median("total number") < 0.02  # measured: 0.005 over 300 boxes
    assert four.worst_box("total number") > 10.0 * four.median("total number")
    assert four.facts()["median"]["num_ns"] > 0.02


def test_runs_do_not_depend_on_those_beside_them() -> None:
    four = steps.teacher(reference.Config(), 4)
    alone = rollout(CONFIG, M7, {"4": four})["4"]
    beside = rollout(CONFIG, M7, {"same": M7, "4": four})["4"]
    for quantity in QUANTITIES:
        assert np.array_equal(alone.error[quantity], beside.error[quantity], equal_nan=True)
    other = rollout(RolloutConfig(days=2.0, boxes=40, seed=2), M7, {"4": four})["4"]
    assert not np.array_equal(alone.error["num_ks"], other.error["num_ks"], equal_nan=True)


def test_native_engine_follows_m7() -> None:
    exact = rollout(CONFIG, M7, {"accurate": steps.native("accurate")})["accurate"]
    assert exact.median("number above 50 nm") < 1e-5
    assert sum(exact.flags) == 40 * 96
    assert not exact.diverged.any()


def leaves(what: str) -> steps.Step:
    """M7 with one box gone wrong in one way."""

    def step(state: steps.State, timestep: float) -> Mapping[str, NDArray[Any]]:
        after = {name: value.copy() for name, value in M7(state, timestep).items()}
        if what == "invalid":
            after["num_as"][3] = math.nan
        elif what == "negative":
            after["bc_ki"][3] = -1e-12
        else:
            for name in names(NUMBERS):
                after[name][3] *= 5.0
        return after

    return step


@pytest.mark.parametrize("what", ["invalid", "negative", "far"])
def test_boxes_that_diverge_are_counted(what: str) -> None:
    found = rollout(CONFIG, M7, {what: leaves(what)})[what]
    assert found.diverged[3]
    assert found.diverged.sum() == 1
    assert np.isfinite(found.error["num_ks"][:, 4:]).any()


def test_table_and_figure(tmp_path: Path) -> None:
    found = rollout(CONFIG, M7, {"same": M7, "4": steps.teacher(reference.Config(), 4)})
    assert rollcard.table(CONFIG, found, "M7").row_count == len(QUANTITIES) + 2
    rollcard.figure(CONFIG, found, tmp_path / "r.png", "title")
    with Image.open(tmp_path / "r.png") as image:
        assert len(image.getcolors(1 << 24) or ()) > 50


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"days": 0.001}, "hold no step of 1800"),
        ({"boxes": 3}, "boxes = 3; allowed is"),
        ({"mixing": 0.0}, "mixing = 0"),
        ({"forcing": "plus_5k"}, "did you mean 'plus_4k'"),
    ],
)
def test_refusals(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RolloutConfig(**wrong)


def one_mode(name: str, number: float, radius: float) -> dict[str, Array]:
    mode = next(m for m in MODES if m.name == name)
    state = {v: np.zeros(1) for v in (*names(NUMBERS),)}
    for m in MODES:
        state |= {f"{s}_{m.name}": np.zeros(1) for s in m.species}
    shares = {mode.species[0]: np.ones(1)}
    state |= states.masses(mode, np.full(1, number), np.full(1, radius), shares)
    return state | {
        f"num_{name}": np.full(1, number),
        "temperature": np.full(1, 298.0),
        "pressure": np.full(1, 101325.0),
    }


def test_number_above_is_the_log_normal_tail() -> None:
    at_median = one_mode("as", 100.0, integrals.CLOUD)
    assert integrals.dry_radius(at_median, MODES[2])[0] == pytest.approx(integrals.CLOUD)
    assert integrals.number_above(at_median)[0] == pytest.approx(50.0)
    below = one_mode("as", 100.0, integrals.CLOUD / 1.59)  # one standard deviation
    assert integrals.number_above(below)[0] == pytest.approx(15.8655, rel=1e-4)
    assert integrals.total_number(below)[0] == 100.0


def test_condensation_sink_has_its_limits() -> None:
    """Large particles: 4 pi D times their mean radius; small ones: speed of the gas."""
    diffusivity, number = 0.094, 100.0
    for radius, kind in ((1.0, "large"), (1e-9, "small")):
        wet = {f"wet_radius_{m.name}": np.zeros(1) for m in MODES} | {
            "wet_radius_as": np.full(1, radius)
        }
        sink = integrals.condensation_sink(one_mode("as", number, 1e-6), wet)[0]
        ln_sigma = math.log(1.59)
        if kind == "large":
            mean = radius * math.exp(ln_sigma**2 / 2.0)
            assert sink == pytest.approx(4.0 * math.pi * diffusivity * number * mean, rel=1e-3)
        else:
            speed = 100.0 * math.sqrt(8.0 * 8.31446 * 298.0 / (math.pi * 0.098079))
            square = radius**2 * math.exp(2.0 * ln_sigma**2)
            assert sink == pytest.approx(math.pi * speed * number * square, rel=1e-3)
