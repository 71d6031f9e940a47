"""What holds in every step, of every profile, on thousands of states (section 18.1)."""

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
from helpers import OUTPUTS
from hypothesis import given, settings
from hypothesis import strategies as st

from pyemu import metrics, states
from pyemu.reference import Config, Profile, Water, step
from pyemu.regimes import REGIMES
from pyemu.variables import (
    MASSES,
    MODES,
    NUMBERS,
    PROGNOSTICS,
    SOLUBLE,
    SPECIES,
    SPLIT,
    masses_in,
    names,
)

CELLS = 200
KINDS = st.sampled_from(["sparse", "mixed", "space_filling", *REGIMES])
SEEDS = st.integers(0, 2**32 - 1)
TIMESTEPS = st.floats(1.0, 7200.0)
PROFILES = st.sampled_from(["ham2", "m7_2004"])
WATERS = st.sampled_from(["zsr", "kappa"])
SUBSTEPS = st.integers(1, 3)

thousands = settings(max_examples=25, deadline=None, derandomize=True, database=None)

ABOVE = {"ns": "ks", "ks": "as", "as": "cs"}
AGED = {"ki": "ks", "ai": "as", "ci": "cs"}


def run(
    seed: int, kind: str, timestep: float, profile: Profile, **options: Any
) -> tuple[dict[str, Any], dict[str, Any]]:
    before = states.sample(CELLS, seed, kind)
    return before, step(before, timestep, profile, split=True, **options)


def moves() -> dict[str, Counter[str]]:
    """What the split output must sum up to, per prognostic: +1 gained, -1 lost."""
    change: dict[str, Counter[str]] = {name: Counter() for name in names(PROGNOSTICS)}
    for name in names(SPLIT):
        kind, *rest = name.split("_")
        match kind, rest:
            case "condensed", [mode]:
                change["h2so4"][name] -= 1
                change[f"so4_{AGED.get(mode, mode)}"][name] += 1
            case "nucleated", [what]:
                change["h2so4"][name] -= int(what == "so4")
                change[f"{what}_ns"][name] += 1
            case "collided", [mode, _]:
                change[f"num_{mode}"][name] -= 1
            case "self", [_, mode]:
                change[f"num_{mode}"][name] -= 1
            case "coagulated", [what, donor, receiver]:
                change[f"{what}_{donor}"][name] -= 1
                change[f"{what}_{receiver}"][name] += 1
            case "aged", [what, mode]:
                change[f"{what}_{mode}"][name] -= 1
                change[f"{what}_{AGED[mode]}"][name] += 1
            case "merged", [what, mode]:
                change[f"{what}_{mode}"][name] -= 1
                change[f"{what}_{ABOVE[mode]}"][name] += 1
            case _:
                assert kind == "water", name
    return change


@thousands
@given(SEEDS, KINDS, TIMESTEPS, PROFILES, WATERS, SUBSTEPS)
def test_budgets_close_and_nothing_is_negative(
    seed: int, kind: str, timestep: float, profile: Profile, water: Water, substeps: int
) -> None:
    before, after = run(seed, kind, timestep, profile, water=water, substeps=substeps)
    for species, error in metrics.closure(before, after, timestep).items():
        assert error.max() <= 1e-14, species
    for name in OUTPUTS:
        assert np.isfinite(after[name]).all(), name
        assert (after[name] >= 0.0).all() or name.startswith("water"), name
    for mode in SOLUBLE:
        # M7's fit of the water of H2SO4 turns negative below a molecule per particle (section 8.1).
        fit = after[f"so4_{mode.name}"] > after[f"num_{mode.name}"]
        assert (after[f"water_{mode.name}"][fit] >= 0.0).all(), mode.name
    assert not after["negatives"].any()


@thousands
@given(SEEDS, KINDS, TIMESTEPS, PROFILES, SUBSTEPS)
def test_split_output_sums_to_the_change(
    seed: int, kind: str, timestep: float, profile: Profile, substeps: int
) -> None:
    before, after = run(seed, kind, timestep, profile, substeps=substeps)
    made = before["h2so4_production"] * timestep
    for name, signs in moves().items():
        gained = sum((sign * after[moved] for moved, sign in signs.items()), np.zeros(CELLS))
        gained = gained + (made if name == "h2so4" else 0.0)
        size = before[name] + sum(abs(after[moved]) for moved in signs) + made * (name == "h2so4")
        error = np.abs(before[name] + gained - after[name])
        assert (error <= 2e-15 * len(signs) * substeps * size).all(), name
    for name in names(SPLIT):
        assert "water" in name or (after[name] >= 0.0).all(), name


@thousands
@given(SEEDS, KINDS, TIMESTEPS, PROFILES, WATERS)
def test_water_uptake_is_the_change_of_water(
    seed: int, kind: str, timestep: float, profile: Profile, water: Water
) -> None:
    start, first = run(seed, kind, timestep, profile, water=water)
    second = step(start | first, timestep, profile, water=water, split=True)
    for mode in SOLUBLE:
        once, twice = (after[f"water_{mode.name}"] for after in (first, second))
        error = np.abs(twice - once - second[f"water_uptake_{mode.name}"])
        there = first[f"num_{mode.name}"] > 1e-9
        close = error <= 1e-12 * np.maximum(np.abs(once), np.abs(twice))
        assert close[there].all(), mode.name


@thousands
@given(SEEDS, KINDS, TIMESTEPS, PROFILES)
def test_where_matter_may_go(seed: int, kind: str, timestep: float, profile: Profile) -> None:
    """Sea salt only AS to CS, dust and insoluble modes only lose, totals never gain particles."""
    before, after = run(seed, kind, timestep, profile)
    for name in ("ss_as", "du_ai", "du_ci", "bc_ki", "oc_ki", "num_ki", "num_ai", "num_ci"):
        assert (after[name] <= before[name] * (1.0 + 1e-15)).all(), name
    for name in ("ss_cs", "du_cs", "du_as", "num_cs"):
        lost = after["merged_du_as"] if name == "du_as" else 0.0
        assert (after[name] + lost >= before[name] * (1.0 - 1e-15)).all(), name
    still = after["merged_num_as"] == 0.0
    assert (after["ss_as"][still] == before["ss_as"][still]).all()
    coagulated = sum(after[n] for n in names(SPLIT) if n.startswith(("collided", "self_collided")))
    now, then = (sum(s[n] for n in names(NUMBERS)) for s in (after, before))
    most = then + after["nucleated_num"]
    assert (np.abs(now + coagulated - most) <= 1e-14 * most).all()


@thousands
@given(SEEDS, KINDS, TIMESTEPS, PROFILES, WATERS)
def test_diagnostics_are_physical(
    seed: int, kind: str, timestep: float, profile: Profile, water: Water
) -> None:
    _, after = run(seed, kind, timestep, profile, water=water)
    for mode in MODES:
        density = after[f"density_{mode.name}"]
        assert ((density == 0.0) | ((density > 0.999) & (density < 2.681))).all(), mode.name
        assert (after[f"wet_radius_{mode.name}"] < 1.0).all(), mode.name
    if water == "kappa":
        for mode in SOLUBLE:
            wet, dry = (after[f"{kind}_radius_{mode.name}"] for kind in ("wet", "dry"))
            assert (wet >= dry * (1.0 - 1e-15)).all(), mode.name


@thousands
@given(SEEDS, KINDS, TIMESTEPS)
def test_2004_leaves_a_twentieth_of_the_gas(seed: int, kind: str, timestep: float) -> None:
    before, after = run(seed, kind, timestep, "m7_2004")
    there = before["h2so4"] + before["h2so4_production"] * timestep
    quiet = after["nucleated_num"] == 0.0
    assert (after["h2so4"][quiet] >= 0.05 * there[quiet] * (1.0 - 1e-14)).all()


@thousands
@given(SEEDS, KINDS, TIMESTEPS, PROFILES)
def test_all_switched_off(seed: int, kind: str, timestep: float, profile: Profile) -> None:
    config = Config(profile=profile, nucleation="none", condensation=False, coagulation=False)
    before, after = run(seed, kind, timestep, profile, config=config)
    made = before["h2so4"] + before["h2so4_production"] * timestep
    assert after["h2so4"] == pytest.approx(made, rel=1e-15, abs=0.0)
    for name in names(MASSES + NUMBERS):
        assert (after[name] == before[name]).all(), name


@thousands
@given(SEEDS, KINDS, TIMESTEPS)
def test_merged_modes_of_2004_keep_the_middle_radius(seed: int, kind: str, timestep: float) -> None:
    """What stays has the dry radius sqrt(d_k d_k+1) (section 15, profile A)."""
    _, after = run(seed, kind, timestep, "m7_2004")
    edges = np.array([5e-8, 5e-7, 5e-6, 5e-5])
    for place, mode in enumerate(SOLUBLE[:2]):
        middle = math.sqrt(edges[place] * edges[place + 1])
        merged = (after[f"merged_num_{mode.name}"] > 0.0) & (after[f"num_{mode.name}"] > 1e-6)
        whole = merged & (after[f"so4_{mode.name}"] > 1e-3) & _all_counted(after, mode.name)
        if mode.name == "ks":
            whole &= after["merged_num_ns"] == 0.0
        radius = after[f"dry_radius_{mode.name}"][whole]
        assert radius == pytest.approx(middle, rel=1e-6, abs=0.0)


def _all_counted(after: dict[str, Any], mode: str) -> Any:
    """Cells whose particles hold no species in amounts that M7 neglects, 1e-15 ug (section 8.2)."""
    number = np.maximum(after[f"num_{mode}"], 1e-300)
    shares = [after[m.name] * 1e-6 / number for m in masses_in(mode) if m.species != "so4"]
    return np.all([(share == 0.0) | (share > 1e-14) for share in shares], axis=0)


@pytest.mark.parametrize("profile", ["ham2", "m7_2004"])
def test_nothing_in_nothing_out(profile: Profile) -> None:
    after = step({"pressure": 1e5, "temperature": 290.0, "relative_humidity": 0.7}, 3600.0, profile)
    assert all(after[name][0] == 0.0 for name in names(PROGNOSTICS))
    assert after["wet_radius_ns"][0] > 0.0, "the virtual cluster of section 16"


@pytest.mark.parametrize("profile", ["ham2", "m7_2004"])
def test_enough_sulfate_ages_all(profile: Profile) -> None:
    """With a monolayer for every particle the insoluble modes empty in one step (section 14)."""
    insoluble = {"num_ki": 10.0, "bc_ki": 1e-3, "num_ai": 1.0, "du_ai": 1e-2, "du_ci": 0.1}
    air = {"pressure": 1e5, "temperature": 290.0, "relative_humidity": 0.5, "num_ci": 0.01}
    before = air | insoluble | {"h2so4": 1e10}
    after = step(before, 3600.0, profile)
    assert after["num_ki"][0] == after["num_ai"][0] == after["num_ci"][0] == 0.0
    assert after["du_ai"][0] == after["du_ci"][0] == 0.0
    # ham2 moves the mean mass of the step's start, and coagulation has made fewer particles of it.
    assert after["bc_ki"][0] <= (1e-3 * 1e-4 if profile == "ham2" else 0.0)


def test_species_without_a_source_are_those_of_the_table() -> None:
    assert set(metrics.closure(states.sample(1, 1), states.sample(1, 1), 1.0)) == set(
        names(SPECIES)
    )
