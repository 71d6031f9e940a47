"""Sampled states: reproducible, in range, with the radii that were asked for."""

import math
from typing import Any

import numpy as np
import pytest
from helpers import different

from pyemu import states
from pyemu.reference import Config, step
from pyemu.regimes import REGIMES, SPACE_FILLING, Regime
from pyemu.variables import ENVIRONMENT, MODES, NUMBERS, PROGNOSTICS, masses_in, names

EVERYTHING = names(ENVIRONMENT + PROGNOSTICS)
KINDS = [*REGIMES, "mixed", "space_filling"]


@pytest.mark.parametrize("kind", KINDS)
def test_same_seed_same_states(kind: str) -> None:
    one, again, other = (states.sample(333, seed, kind) for seed in (5, 5, 6))
    assert not different(one, again, EVERYTHING)
    assert different(one, other, EVERYTHING)


@pytest.mark.parametrize("kind", KINDS)
def test_states_are_complete_and_taken_by_the_reference(kind: str) -> None:
    state = states.sample(500, 1, kind)
    assert tuple(sorted(state)) == tuple(sorted(EVERYTHING))
    assert all(value.shape == (500,) for value in state.values())
    assert all((value >= 0.0).all() for value in state.values())
    assert not step(state, 1800.0)["negatives"].any()


@pytest.mark.parametrize(("kind", "regime"), [*REGIMES.items(), ("space_filling", SPACE_FILLING)])
def test_ranges(kind: str, regime: Regime) -> None:
    state = states.sample(2000, 2, kind)
    inside("pressure", state["pressure"] / 100.0, regime.pressure)
    inside("temperature", state["temperature"], regime.temperature)
    inside("relative_humidity", state["relative_humidity"], regime.humidity)
    inside("h2so4", state["h2so4"][state["h2so4"] > 0.0], regime.gas)
    cloudy = np.mean(state["cloud_fraction"] > 0.0)
    assert cloudy == pytest.approx(regime.cloudy, abs=0.05)
    assert state["cloud_fraction"].max() <= 1.0
    for mode in MODES:
        number = state[f"num_{mode.name}"]
        if mode.name not in regime.modes:
            assert not number.any()
            continue
        population = regime.modes[mode.name]
        inside(mode.name, number[number > 0.0], population.number)
        assert np.mean(number > 0.0) == pytest.approx(population.presence, abs=0.05)
        mass = sum(state[m.name] for m in masses_in(mode.name))
        assert ((np.asarray(mass) > 0.0) == (number > 0.0)).all()


def inside(name: str, values: Any, bounds: tuple[float, float]) -> None:
    low, high = bounds
    assert values.min() >= low * (1.0 - 1e-12), name
    assert values.max() <= high * (1.0 + 1e-12), name
    assert values.max() > low + 0.5 * (high - low), name


def test_sparse_states_lack_modes_and_species() -> None:
    state = states.sample(4000, 3, "sparse")
    for name in names(NUMBERS):
        assert np.mean(state[name] == 0.0) == pytest.approx(0.35, abs=0.03)
        assert state[name][state[name] > 0.0].min() < 1e-6
    empty = np.all([state[name] == 0.0 for name in names(NUMBERS)], axis=0)
    assert empty.any()
    assert ((state["num_ks"] > 0.0) & (state["so4_ks"] == 0.0)).any()
    assert (state["h2so4"] == 0.0).any()
    assert (state["cloud_fraction"] == 1.0).any()


def test_all_modes_are_there() -> None:
    state = states.sample(1000, 4, "all_modes")
    assert all((state[name] > 0.0).all() for name in names(NUMBERS))


def test_mixed_has_all_regimes_in_equal_shares() -> None:
    """Coarse particles without nucleation and insoluble modes mark the sea-salt plume."""
    count = 200 * len(REGIMES)
    state = states.sample(count, 5)
    plume = (state["num_ns"] == 0.0) & (state["num_cs"] >= 1.0) & (state["num_ki"] == 0.0)
    assert int(plume.sum()) == pytest.approx(200, abs=100)
    assert len(np.unique(state["pressure"])) == count


def test_space_filling_is_even() -> None:
    state = states.sample(1024, 6, "space_filling")
    for name, bounds in (("temperature", (180.0, 320.0)), ("relative_humidity", (0.0, 1.0))):
        counts, _ = np.histogram(state[name], bins=16, range=bounds)
        assert set(counts) == {64}
    counts, _ = np.histogram(np.log10(state["pressure"]), bins=16, range=(3.0, math.log10(1.05e5)))
    assert set(counts) == {64}


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: str(mode.name))
def test_masses_have_the_radius_asked_for(mode: Any) -> None:
    """M7's own dry radius of sampled masses is the sampled radius."""
    radius = np.array([1e-7, 2e-6, 3e-5])
    number = np.array([1e3, 1.0, 1e-2])
    shares = {name: np.full(3, 0.0) for name in mode.species}
    shares[mode.species[0]] += 0.4
    shares[mode.species[-1]] += 0.6
    if "ss" in shares:  # its ion pairing with sulfate has another volume
        shares |= {"oc": np.full(3, 0.6), mode.species[-1]: np.zeros(3)}
    state = states.masses(mode, number, radius, shares) | {f"num_{mode.name}": number}
    air = {"pressure": 1e5, "temperature": 290.0, "relative_humidity": 0.6}
    config = Config(profile="m7_2004", condensation=False, coagulation=False, nucleation="none")
    after = step(air | state, 1.0, config=config)
    kind = "dry_radius" if mode.soluble else "wet_radius"
    assert after[f"{kind}_{mode.name}"] == pytest.approx(radius, rel=2e-5, abs=0.0)


def test_typical_lies_within_its_regime() -> None:
    state = states.typical("marine_boundary_layer")
    assert state["cloud_fraction"] == 0.0
    assert state["num_as"] == pytest.approx(np.sqrt(10.0 * 300.0))


def test_spin_up_is_repeated_steps() -> None:
    state = states.sample(50, 8)
    spun = states.spin_up(state, 3600.0, 1800.0, profile="m7_2004")
    first = step(state, 1800.0, "m7_2004")
    air = {name: state[name] for name in names(ENVIRONMENT)}
    assert not different(spun, step(air | first, 1800.0, "m7_2004"))
    assert not different(spun, state, names(ENVIRONMENT))


def test_misuse() -> None:
    with pytest.raises(ValueError, match="unknown name 'volcano'; did you mean 'volcanic'"):
        states.sample(10, 1, "volcano")
    with pytest.raises(ValueError, match="count = -1"):
        states.sample(-1, 1)
    with pytest.raises(ValueError, match="unknown name 'mixed'"):
        states.typical("mixed")
    assert states.sample(0, 1, "space_filling")["pressure"].shape == (0,)
