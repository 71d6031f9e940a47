"""The native engine through Python: the reference's step, in any block, order and thread."""

import copy
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import modelfiles
import numpy as np
import pytest
import torch
from helpers import OUTPUTS, Array, at, different
from modelfiles import CHAIN, FEATURES, PAIRS, TARGETS

import pyemu
from pyemu import emulator, metrics, modelfile, reference, states
from pyemu._bridge import ffi, lib
from pyemu.emulator import Emulator
from pyemu.exchange import to_chain
from pyemu.reference import Config, Profile
from pyemu.variables import MASSES, MODES, NUMBERS, SOLUBLE, names

PROFILES: tuple[Profile, ...] = ("ham2", "m7_2004")
AIR = {"pressure": 9e4, "temperature": 280.0, "relative_humidity": 0.6}
ABI = Path(__file__).parents[1] / "abi"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.safetensors"


def exact(path: Path, config: Config | None = None) -> Emulator:
    return emulator.load(modelfiles.write(path, modelfiles.metadata(config)))


def totals(state: dict[str, Array], after: dict[str, Array], timestep: float) -> dict[str, Array]:
    """Scale of each prognostic: all that there is of its kind in the cell."""
    supply = state["h2so4"] + np.maximum(state["h2so4_production"], 0.0) * timestep
    scale = {"h2so4": supply}
    for mass in MASSES:
        total: Array = sum(
            (state[m.name] for m in MASSES if m.species == mass.species), np.zeros(supply.size)
        )
        scale[mass.name] = total + (supply if mass.species == "so4" else 0.0)
    for number in NUMBERS:
        scale[number.name] = sum((state[n.name] for n in NUMBERS), after[number.name])
    return scale


def check(config: Config, state: dict[str, Array], timestep: float, path: Path) -> None:
    """Fractions within 2e-5 of the reference's, most of them much nearer; budgets closed."""
    ours = exact(path, config).step(state, timestep)
    real = reference.step(state, timestep, config=config)
    assert not ours["flag"].any()
    assert different(ours, real, ["negatives"]) == []
    for name, total in totals(state, real, timestep).items():
        # The nucleation rate, in single precision, goes with a high power of the gas.
        nucleates = name in ("h2so4", "num_ns")
        tolerance, usual = (1e-4, 3e-5) if nucleates else (2e-5, 1e-5)
        error = np.abs(ours[name] - real[name])
        assert (error <= tolerance * total).all(), name
        there = real[name] > 1e-3 * total
        relative = error[there] / real[name][there]
        assert relative.size == 0 or np.quantile(relative, 0.99) < usual, name
        assert (ours[name] >= 0.0).all(), name
    for kind, modes in (("wet_radius", MODES), ("density", MODES), ("dry_radius", SOLUBLE)):
        for mode in modes:
            name = f"{kind}_{mode.name}"
            # A mode that is all but emptied has residues, and of them no size worth the name.
            there = real[f"num_{mode.name}"] > 1e-6 * state[f"num_{mode.name}"] + 1e-10
            error = np.abs(ours[name][there] - real[name][there])
            relative = error / np.maximum(real[name][there], 1e-30)
            assert relative.size == 0 or np.quantile(relative, 0.999) < 2e-5, name
            assert (relative < 1e-3).all(), name
    closure(state, ours, timestep, config.profile)


def closure(
    state: dict[str, Array], after: dict[str, Array], timestep: float, profile: str
) -> None:
    gained = np.maximum(state["h2so4_production"] * timestep, -state["h2so4"])
    for species in ("so4", "bc", "oc", "ss", "du"):
        one, other = (
            sum((s[m.name] for m in MASSES if m.species == species), np.zeros(gained.size))
            for s in (state, after)
        )
        if species == "so4":
            one, other = one + state["h2so4"] + gained, other + after["h2so4"]
        assert other == pytest.approx(one, rel=1e-14, abs=1e-300), (species, profile)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("kind", ["mixed", "space_filling", "all_modes"])
@pytest.mark.parametrize("timestep", [60.0, 1800.0])
def test_reference(profile: Profile, kind: str, timestep: float, path: Path) -> None:
    check(Config(profile=profile), states.sample(4000, 11, kind), timestep, path)


@pytest.mark.parametrize(
    "switches",
    [
        {"condensation": False},
        {"coagulation": False},
        {"condensation": False, "coagulation": False, "nucleation": "none"},
        {"organic_nucleation": "activation"},
        {"organic_nucleation": "kinetic", "nucleation": "none"},
        {"reset_seasalt_sums": False},
        {"small_insoluble_volume": False},
        {"limited_ageing": False},
        {"source_coagulation": True},
        {"clip_weight_percent": True},
        {"sulfate_free_radius": True},
        {"densities": {"so4": 1.7, "bc": 1.8, "oc": 1.3, "ss": 2.2, "du": 2.5}},
        {"thresholds": "messy"},
        {"thresholds": "icon_ham"},
        {"water": "kappa"},
        {"water": "kappa", "thresholds": "icon_ham"},
        {"water": "kappa", "kappa_full_volume": True, "kappas": {"ss": 1.0, "bc": 0.1, "du": 0.03}},
    ],
    ids=str,
)
@pytest.mark.parametrize("profile", PROFILES)
def test_settings(profile: Profile, switches: dict[str, Any], path: Path) -> None:
    state = states.sample(2000, 12)
    state["forest_fraction"][:] = 0.4
    state["boundary_layer"][:] = np.arange(2000) % 2
    check(Config(profile=profile, **switches), state, 900.0, path)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("humidity", [(0.0, 0.01), (0.2, 0.95), (0.98, 1.0), (1.0, 1.0)], ids=str)
@pytest.mark.parametrize("kind", ["mixed", "sparse", "space_filling", "sea_salt_plume"])
def test_kappa_water(
    kind: str, humidity: tuple[float, float], profile: Profile, path: Path
) -> None:
    """Sizes in float, water in double: as far as the reference's own form does not cancel."""
    state = states.sample(2000, 14, kind)
    state["relative_humidity"] = np.linspace(*humidity, 2000)
    still: dict[str, Any] = {"condensation": False, "coagulation": False, "nucleation": "none"}
    config = Config(profile=profile, water="kappa", **still)
    ours, real = exact(path, config).step(state, 1.0), reference.step(state, 1.0, config=config)
    assert not ours["flag"].any()
    for kind_, modes in (("wet_radius", MODES), ("density", MODES), ("dry_radius", SOLUBLE)):
        for mode in modes:
            name = f"{kind_}_{mode.name}"
            assert ours[name] == pytest.approx(real[name], rel=2e-6), name
    for mode in SOLUBLE:
        dry, water = real[f"dry_radius_{mode.name}"], real[f"water_{mode.name}"]
        error = np.abs(ours[f"water_{mode.name}"] - water)
        grain = 1e-14 * state[f"num_{mode.name}"] * 4.2e3 * dry**3  # of the dry particles' volume
        assert (error <= 1e-9 * water + grain).all(), mode.name


@pytest.fixture(scope="module")
def cells() -> dict[str, Array]:
    return states.sample(1000, 13)


@pytest.fixture(scope="module", params=["ham2", "m7_2004", "kappa", "learned", "stages"])
def model(request: pytest.FixtureRequest) -> Emulator:
    return emulator.load(ABI / f"{request.param}.safetensors")


@pytest.fixture(scope="module")
def whole(model: Emulator, cells: dict[str, Array]) -> dict[str, Array]:
    return model.step(cells, 1800.0)


class TestIndependence:
    @pytest.mark.parametrize("size", [1, 7, 16, 64])
    def test_blocks(
        self, model: Emulator, cells: dict[str, Array], whole: dict[str, Array], size: int
    ) -> None:
        for first in range(0, 210, size):
            part = slice(first, first + size)
            after = model.step(at(cells, part), 1800.0)
            assert not different(after, at(whole, part))

    def test_order(self, model: Emulator, cells: dict[str, Array], whole: dict[str, Array]) -> None:
        order = np.random.default_rng(3).permutation(1000)
        assert not different(model.step(at(cells, order), 1800.0), at(whole, order))

    @pytest.mark.parametrize("threads", [2, 3, 0])
    def test_threads(self, model: Emulator, cells: dict[str, Array], threads: int) -> None:
        many = {name: np.tile(values, 5) for name, values in cells.items()}
        one = model.step(many, 1800.0)
        assert not different(model.step(many, 1800.0, threads=threads), one)

    def test_again(self, model: Emulator, cells: dict[str, Array], whole: dict[str, Array]) -> None:
        assert not different(model.step(cells, 1800.0), whole)


def test_input_is_unchanged(path: Path) -> None:
    state = states.sample(100, 14)
    before = copy.deepcopy(state)
    exact(path).step(state, 1800.0)
    assert not different(state, before, before)


def test_nothing_and_scalars(path: Path) -> None:
    model = exact(path)
    assert model.step({name: np.zeros(0) for name in AIR}, 1800.0)["flag"].shape == (0,)
    after = model.step(AIR, 1800.0)
    assert set(after) == {*OUTPUTS, "flag", "uncertainty", "negatives"}
    assert all(after[name][0] == 0.0 for name in names(MASSES + NUMBERS))


def test_steps_can_follow_each_other(path: Path) -> None:
    model = exact(path)
    air = {"h2so4_production": 1e4, **AIR}
    after = model.step({**model.step({**air, "h2so4": 1e7}, 900.0), **air}, 900.0)
    assert after["num_ns"][0] >= 0.0


@pytest.mark.parametrize("profile", PROFILES)
def test_single_precision(profile: Profile, path: Path) -> None:
    """Masses and numbers move in single precision: budgets close to 1e-6, fractions as before."""
    model = exact(path, Config(profile=profile))
    state = {k: v.astype(np.float32).astype(float) for k, v in states.sample(2000, 15).items()}
    real = reference.step(state, 1800.0, profile)
    after = step_float(model, state, 1800.0)
    for name, total in totals(state, real, 1800.0).items():
        tolerance = 2e-4 if name == "num_ns" else 1e-5
        assert (np.abs(after[name] - real[name]) <= tolerance * total + 1e-30).all(), name
        assert (after[name] >= 0.0).all(), name


def step_float(model: Emulator, state: dict[str, Array], timestep: float) -> dict[str, Array]:
    environment, prognostic = (np.asfortranarray(m, np.float32) for m in pyemu.state.pack(state))
    ncell = len(environment)
    block = ffi.new("m7emu_block_float *")
    block.struct_size = ffi.sizeof("m7emu_block_float")
    block.kproma, block.kbdim, block.klev, block.timestep = ncell, ncell, 1, timestep

    def column(matrix: Any, place: int) -> Any:
        return ffi.cast("float *", matrix.ctypes.data) + place * ncell

    for place, variable in enumerate(pyemu.variables.ENVIRONMENT):
        setattr(block, variable.name, column(environment, place))
    block.h2so4, block.mass = column(prognostic, 0), column(prognostic, 1)
    block.number = column(prognostic, 1 + len(MASSES))
    assert model._advance(block) == lib.M7EMU_OK
    return pyemu.state.unpack(prognostic.astype(float), pyemu.variables.PROGNOSTICS)


@pytest.mark.parametrize("timestep", [60.0, 1800.0])
def test_shipped_learned_model(timestep: float) -> None:
    """Processes learned: near M7 on states that no trajectory of its records holds."""
    model = emulator.load("learned")
    exactly = {"properties", "water", "number", "transfer", "merging"}
    chain_ = json.loads(model.metadata)["chain"]
    assert {link["block"] for link in chain_ if link["form"] == "exact"} == exactly
    state = states.sample(6000, 18)
    ours, real = model.step(state, timestep), reference.step(state, timestep)
    closure(state, ours, timestep, "ham2")
    scores = metrics.tendency_r2(state, real, ours, names(pyemu.variables.PROGNOSTICS))
    assert metrics.mean(scores) > 0.999
    assert metrics.worst(scores)[1] > 0.99
    assert (ours["flag"] == 0).mean() > 0.98
    assert all((ours[name] >= 0.0).all() for name in OUTPUTS)


# --- networks ------------------------------------------------------------------------------------


def forward(entry: dict[str, Any], tensors: dict[str, Any], prefix: str, features: Array) -> Array:
    """Evaluate a network as `pyemu.modelfile` tells it; NaN features count as their mean."""
    t = {name.removeprefix(prefix + "."): x.astype(float) for name, x in tensors.items()}
    z = np.nan_to_num((features - t["feature_mean"]) / t["feature_scale"])
    h = z
    functions: dict[str, Callable[[Array], Array]] = {
        "none": lambda x: x,
        "relu": lambda x: np.maximum(x, 0.0),
        "silu": lambda x: x / (1.0 + np.exp(-x)),
        "tanh": np.tanh,
    }
    for place, layer in enumerate(entry["layers"]):
        inner = t[f"{place}.factor"] @ h if "rank" in layer else h
        bent = functions[layer["activation"]](t[f"{place}.weight"] @ inner + t[f"{place}.bias"])
        if layer["operation"] == "residual":
            bent = h + bent
        if layer["operation"] == "gated":
            bent = bent * (t[f"{place}.gate_weight"] @ h + t[f"{place}.gate_bias"])
        h = bent
    if entry.get("bypass", True):
        h = h + t["bypass"] @ z
    return np.asarray(t["target_mean"] + t["target_scale"] * h)


@pytest.mark.parametrize("activation", ["none", "relu", "silu", "tanh"])
@pytest.mark.parametrize("pair", PAIRS)
def test_kernel_network(pair: str, activation: str, path: Path) -> None:
    """The number that a mode loses to another and to itself tells the kernels."""
    first, second = pair.split("_")
    still = Config(condensation=False, nucleation="none")
    meta, tensors = modelfiles.with_network(
        modelfiles.metadata(still), "coagulation", widths=(13, 5), activation=activation
    )
    model = emulator.load(modelfiles.write(path, meta, tensors))
    state: dict[str, Any] = {**AIR, **particles(first), **particles(second)}
    unmoved = reference.step(
        state, 1.0, config=Config(condensation=False, coagulation=False, nucleation="none")
    )
    features = [np.log(unmoved[f"wet_radius_{m.name}"][0] or np.nan) for m in MODES]
    features += [unmoved[f"density_{m.name}"][0] or np.nan for m in MODES]
    features += [AIR["temperature"], np.log(AIR["pressure"])]
    ln_kernel = forward(meta["networks"]["coagulation"], tensors, "coagulation", np.array(features))
    kernel = dict(zip(PAIRS, np.exp(ln_kernel), strict=True))
    timestep = 600.0
    itself = f"{first}_{first}"
    a = 0.5 * kernel[itself] if itself in kernel else 0.0
    b = 0.0 if first == second else kernel[pair] * state[f"num_{second}"]
    if pair == "as_ki":  # what collides is KI's loss
        first, second, a = "ki", "as", 0.5 * kernel["ki_ki"]
        b = kernel["as_ki"] * state["num_as"]
    if pair == "ks_ki":
        first, second, a = "ki", "ks", 0.5 * kernel["ki_ki"]
        b = kernel["ks_ki"] * state["num_ks"]
    n = state[f"num_{first}"]
    u = -np.expm1(-b * timestep) / b if b > 0.0 else timestep
    expected = n * np.exp(-b * timestep) / (1.0 + a * n * u)
    after = model.step(state, timestep)
    assert after[f"num_{first}"][0] == pytest.approx(expected, rel=1e-5)


def particles(mode: str) -> dict[str, float]:
    """A mode that does not merge upward."""
    mass = next(m.name for m in MASSES if m.mode == mode)
    amount = {"ns": 1e5, "ks": 1e8, "as": 1e9, "cs": 1e9, "ki": 1e-2, "ai": 1.0, "ci": 1.0}
    number = {"ns": 1e3, "ks": 1e3, "as": 1e3, "cs": 1.0, "ki": 1e3, "ai": 1.0, "ci": 1e-2}
    return {mass: amount[mode], f"num_{mode}": number[mode]}


OPERATIONS = {
    "dense": (),
    "residual": ("dense", "residual"),
    "gated": ("gated", "gated", "gated"),
    "low rank": ("low_rank", "low_rank", "low_rank"),
}


@pytest.mark.parametrize("bypass", [True, False])
@pytest.mark.parametrize("activation", ["none", "relu", "silu", "tanh"])
@pytest.mark.parametrize("operations", OPERATIONS)
def test_water_network(operations: str, activation: str, bypass: bool, path: Path) -> None:
    """Quartics through five sizes, of every operation a layer can have."""
    still = Config(condensation=False, coagulation=False, nucleation="none")
    meta, tensors = modelfiles.with_network(
        modelfiles.metadata(still), "water", widths=(9, 9), activation=activation,
        operations=OPERATIONS[operations], bypass=bypass,
    )  # fmt: skip
    model = emulator.load(modelfiles.write(path, meta, tensors))
    state = {**AIR, "relative_humidity": 0.97, "temperature": 235.0, **particles("ks")}
    features = np.array([240.0, 0.90, np.log(AIR["pressure"])])
    told = forward(meta["networks"]["water"], tensors, "water", features)
    sizes = np.log([1e1, 1e4, 1e7, 1e10, 1e13])
    x = np.log(state["so4_ks"] / state["num_ks"])
    percent, density = (
        np.polyval(np.polyfit(sizes - sizes[2], y, 4), x - sizes[2])
        for y in (np.exp(told[:5]), told[5:])
    )
    after = model.step(state, 600.0)
    assert after["density_ks"][0] == pytest.approx(np.clip(density, 1.0, 1.841), rel=1e-5)
    grams = state["so4_ks"] * 98.0734 / 6.02214e23
    water = grams * (100.0 / np.clip(percent, 1e-3, 100.0) - 1.0) * 1e3
    assert after["water_ks"][0] == pytest.approx(water, rel=2e-5)


@pytest.mark.parametrize("humidity", [0.2, 0.4499, 0.45, 0.8, 1.0])
def test_salt_network(humidity: float, path: Path) -> None:
    """Water per mole as learned; below the deliquescence threshold sea salt is dry exactly."""
    still = Config(condensation=False, coagulation=False, nucleation="none")
    meta, tensors = modelfiles.with_network(modelfiles.metadata(still), "salt", widths=(7,))
    model = emulator.load(modelfiles.write(path, meta, tensors))
    state = {**AIR, "relative_humidity": humidity, "ss_cs": 5.0, "num_cs": 0.1}
    features = np.array([humidity, np.log(1.01 - humidity)])
    held = np.exp(forward(meta["networks"]["salt"], tensors, "salt", features))[0]
    expected = 5.0 * 1e-6 / 58.443 * held if humidity >= 0.45 else 0.0
    after = model.step(state, 600.0)
    assert after["water_cs"][0] == pytest.approx(expected, rel=1e-5, abs=0.0)


NUCLEATING = {**AIR, "temperature": 240.0, "relative_humidity": 0.8}


@pytest.mark.parametrize(
    ("rate", "cluster", "forms"),
    [(1e3, 4.01, True), (1e3, 3.99, False), (1.01e-7, 50.0, True), (0.99e-7, 50.0, False)],
)
def test_nucleation_network(rate: float, cluster: float, forms: bool, path: Path) -> None:
    """What a network says counts within M7's limits; beyond them exactly nothing forms."""
    meta, tensors = modelfiles.with_network(
        modelfiles.metadata(Config(condensation=False, coagulation=False)), "nucleation"
    )
    for name in ("bypass", "2.weight", "2.bias"):
        tensors[f"nucleation.{name}"][:] = 0.0
    molecules = 0.3 * cluster
    tensors["nucleation.target_mean"][:] = np.log([rate, cluster, molecules])
    model = emulator.load(modelfiles.write(path, meta, tensors))
    after = model.step({**NUCLEATING, "h2so4": 1e9}, 600.0)
    assert after["num_ns"][0] == pytest.approx(rate * 600.0 if forms else 0.0, rel=1e-5, abs=0.0)
    assert after["so4_ns"][0] == pytest.approx(after["num_ns"][0] * molecules, rel=1e-5, abs=0.0)
    assert after["so4_ns"][0] + after["h2so4"][0] == pytest.approx(1e9, rel=1e-15)
    assert model.step(NUCLEATING, 600.0)["num_ns"][0] == 0.0  # no gas


@pytest.mark.parametrize("mode", [m.name for m in MODES])
def test_sink_network(mode: str, path: Path) -> None:
    """The gas that one mode takes tells its sink; other, empty modes take exactly none."""
    config = Config(coagulation=False, nucleation="none")
    meta, tensors = modelfiles.with_network(
        modelfiles.metadata(config), "condensation", widths=(6,)
    )
    model = emulator.load(modelfiles.write(path, meta, tensors))
    state: dict[str, Any] = {**AIR, **particles(mode), "h2so4": 1e6}
    still = Config(condensation=False, coagulation=False, nucleation="none")
    unmoved = reference.step(state, 1.0, config=still)
    features = [np.log(unmoved[f"wet_radius_{m.name}"][0] or np.nan) for m in MODES]
    # An NS mode without particles has a radius nevertheless, of its virtual particle.
    features += [AIR["temperature"], np.log(AIR["pressure"])]
    ln_sink = forward(meta["networks"]["condensation"], tensors, "condensation", np.array(features))
    sink = np.exp(ln_sink[[m.name for m in MODES].index(mode)]) * state[f"num_{mode}"]
    after = model.step(state, 60.0)
    assert after["h2so4"][0] == pytest.approx(1e6 * np.exp(-sink * 60.0), rel=1e-5)
    empty = model.step({**AIR, "h2so4": 1e6, "h2so4_production": 1e3}, 60.0)
    assert empty["h2so4"][0] == pytest.approx(1e6 + 6e4, rel=1e-15)


@pytest.mark.parametrize("mode", ["ki", "ai", "ci"])
def test_coating_network(mode: str, path: Path) -> None:
    """As many particles age as the sulfate that condensed can coat."""
    config = Config(coagulation=False, nucleation="none")
    meta, tensors = modelfiles.with_network(modelfiles.metadata(config), "ageing", widths=(5,))
    tensors["ageing.target_mean"][:] = 20.0
    model = emulator.load(modelfiles.write(path, meta, tensors))
    state: dict[str, Any] = {**AIR, **particles(mode), "h2so4": 1e8}
    before = reference.step(state, 60.0, config=config)
    coated = 1e8 - before["h2so4"][0]
    still = Config(condensation=False, coagulation=False, nucleation="none")
    unmoved = reference.step(state, 1.0, config=still)
    features = np.array(
        [np.log(unmoved[f"wet_radius_{m}"][0] or np.nan) for m in ("ki", "ai", "ci")]
    )
    coat = np.exp(forward(meta["networks"]["ageing"], tensors, "ageing", features))
    each = coat[("ki", "ai", "ci").index(mode)]
    lost = state[f"num_{mode}"] - model.step(state, 60.0)[f"num_{mode}"][0]
    assert lost == pytest.approx(min(coated / each, state[f"num_{mode}"]), rel=1e-4)
    assert lost > 0.0


@pytest.mark.parametrize("profile", PROFILES)
def test_wild_networks_conserve(profile: Profile, path: Path) -> None:
    """Whatever a network says: nothing is negative or no number, budgets close."""
    state = states.sample(1000, 17, "sparse")
    for spread in (1.0, 30.0, 1e6):
        meta = modelfiles.metadata(Config(profile=profile))
        tensors: dict[str, Any] = {}
        for block in ("trunk", "water", "salt", "nucleation"):
            meta, more = modelfiles.with_network(
                meta, block, widths=(8, 8), operations=OPERATIONS["gated"]
            )
            more[f"{block}.target_scale"] *= np.float32(min(spread, 1e5))
            tensors |= more
        after = emulator.load(modelfiles.write(path, meta, tensors)).step(state, 900.0)
        closure(state, after, 900.0, profile)
        for name in OUTPUTS:
            assert np.isfinite(after[name]).all(), (name, spread)
            assert (after[name] >= 0.0).all(), (name, spread)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("operations", OPERATIONS)
def test_engine_is_the_chain_in_torch(operations: str, profile: Profile, path: Path) -> None:
    """Every block learned, states of every kind: same results, flags, closed budgets."""
    meta = modelfiles.metadata(Config(profile=profile))
    meta["variables"] += [
        {"name": v.name, "unit": v.unit, "role": v.role} for v in pyemu.variables.DIAGNOSTICS
    ]
    tensors: dict[str, Any] = {}
    for block in ("trunk", "water", "salt", "nucleation"):
        meta, more = modelfiles.with_network(
            meta, block, widths=(10, 10), operations=OPERATIONS[operations]
        )
        tensors |= more
    # Of the order of M7's: a mode that wild rates all but empty has residues alone to compare.
    for name in tensors:
        if name.endswith("target_scale"):
            tensors[name] *= np.float32(0.1)
    modelfiles.write(path, meta, tensors)
    chain = to_chain(modelfile.read(path))
    for kind in ("mixed", "sparse"):
        state = states.sample(1000, 17, kind)
        ours = emulator.load(path).step(state, 900.0)
        closure(state, ours, 900.0, profile)
        with torch.no_grad():
            given = map(torch.from_numpy, map(np.ascontiguousarray, pyemu.state.pack(state)))
            out = chain(*given, 900.0)
        # A cell within rounding of a hard limit may fall on either side of it.
        near = 0.998
        assert (out.flag.numpy() == ours["flag"]).mean() >= near
        for place, name in enumerate(names(pyemu.variables.PROGNOSTICS)):
            assert (ours[name] >= 0.0).all()
            truth = out.prognostic[:, place].numpy()
            error = np.abs(ours[name] - truth)
            total = totals(state, {n: ours[n] for n in ours}, 900.0)[name]
            assert (error <= 1e-4 * total + 1e-30).mean() >= near, name
        for place, name in enumerate(names(pyemu.variables.DIAGNOSTICS)):
            truth = out.diagnostic[:, place].numpy()
            mode = name.rpartition("_")[2]
            there = ours[f"num_{mode}"] > 1e-6 * state[f"num_{mode}"] + 1e-10
            error = np.abs(ours[name] - truth)[there]
            assert (error <= 1e-3 * np.abs(truth[there]) + 1e-30).mean() >= 0.99, name


def test_features_and_targets_in_any_order(path: Path) -> None:
    meta, tensors = modelfiles.with_network(modelfiles.metadata(), "coagulation", widths=(8,))
    state = states.sample(100, 16)
    one = emulator.load(modelfiles.write(path, meta, tensors)).step(state, 900.0)
    entry = meta["networks"]["coagulation"]
    turned = {**tensors}
    for name in ("feature_mean", "feature_scale", "feature_low", "feature_high"):
        turned[f"coagulation.{name}"] = tensors[f"coagulation.{name}"][::-1]
    for name in ("target_mean", "target_scale", "1.bias"):
        turned[f"coagulation.{name}"] = tensors[f"coagulation.{name}"][::-1]
    turned["coagulation.0.weight"] = tensors["coagulation.0.weight"][:, ::-1]
    turned["coagulation.1.weight"] = tensors["coagulation.1.weight"][::-1]
    turned["coagulation.bypass"] = tensors["coagulation.bypass"][::-1, ::-1]
    entry["features"], entry["targets"] = (
        FEATURES["coagulation"][::-1],
        TARGETS["coagulation"][::-1],
    )
    other = emulator.load(modelfiles.write(path, meta, turned)).step(state, 900.0)
    for name in OUTPUTS:
        assert other[name] == pytest.approx(one[name], rel=1e-4, abs=1e-12 + 1e-9 * one[name].max())


def test_guard(path: Path) -> None:
    """Flag 1 beyond the range of training, 2 beyond by more than half of it."""
    meta, tensors = modelfiles.with_network(modelfiles.metadata(), "coagulation", widths=(4,))
    place = FEATURES["coagulation"].index("temperature")
    tensors["coagulation.feature_low"][:] = -1e3
    tensors["coagulation.feature_high"][:] = 1e3
    tensors["coagulation.feature_low"][place] = 200.0
    tensors["coagulation.feature_high"][place] = 300.0
    model = emulator.load(modelfiles.write(path, meta, tensors))
    temperature = np.array([200.0, 250.0, 300.0, 199.0, 151.0, 149.0, 301.0, 349.0, 351.0])
    flag = model.step({**AIR, "temperature": temperature}, 900.0)["flag"]
    assert flag.tolist() == [0, 0, 0, 1, 1, 2, 1, 1, 2]


# --- what is refused -----------------------------------------------------------------------------

Edit = Callable[[dict[str, Any], dict[str, Any]], Any]


def setting(name: str, value: Any) -> Edit:
    return lambda meta, _: meta["settings"].__setitem__(name, value)


def learned(change: Edit, block: str = "coagulation") -> Edit:
    def edit(meta: dict[str, Any], tensors: dict[str, Any]) -> None:
        more, added = modelfiles.with_network(meta, block, widths=(4,))
        meta.update(more)
        tensors.update(added)
        change(meta, tensors)

    return edit


def layer(place: int, name: str, value: Any) -> Edit:
    return learned(
        lambda meta, _: meta["networks"]["coagulation"]["layers"][place].__setitem__(name, value)
    )


def tensor(name: str, place: Any, value: float) -> Edit:
    return learned(lambda _, tensors: tensors[f"coagulation.{name}"].__setitem__(place, value))


REFUSALS: dict[str, tuple[Edit, str]] = {
    "version": (lambda m, _: m.update(format_version=1), "format_version 1, this library reads 2"),
    "no version": (lambda m, _: m.pop("format_version"), "'format_version' is missing"),
    "version as text": (lambda m, _: m.update(format_version="1"), "expected a number"),
    "no integration": (lambda m, _: m.pop("integration"), "'integration' is missing"),
    "unknown integration": (
        lambda m, _: m.update(integration={"form": "leapfrog"}),
        'integration.form = "leapfrog"',
    ),
    "no stages": (
        lambda m, _: m.update(integration={"form": "stages", "stages": 0, "strides": 8}),
        "integration.stages = 0, expected 1 to 1000",
    ),
    "half strides": (
        lambda m, _: m.update(integration={"form": "stages", "stages": 2, "strides": 1.5}),
        "integration.strides = 1.5; a whole number expected",
    ),
    "no settings": (lambda m, _: m.pop("settings"), "'settings' is missing"),
    "no chain": (lambda m, _: m.pop("chain"), "'chain' is missing"),
    "unknown profile": (setting("profile", "ham3"), 'settings.profile = "ham3"; .*"ham2"'),
    "unknown water": (setting("water", "koehler"), 'settings.water = "koehler"; .*"kappa"'),
    "wild kappa": (setting("kappa", [11.0] * 5), r"settings.kappa = 11; allowed is \[0, 10\]"),
    "kappa with a network": (
        learned(setting("water", "kappa"), "water"),
        "networks of water and salt are of ZSR water",
    ),
    "kazil-lovejoy": (setting("nucleation", "kazil_lovejoy2007"), "settings.nucleation"),
    "unknown setting": (setting("magic", True), "settings: 'magic' is not known"),
    "missing setting": (lambda m, _: m["settings"].pop("pi"), "settings: 'pi' is missing"),
    "wrong type": (setting("condensation", 1), "condensation = 1, expected a boolean"),
    "wild pi": (setting("pi", 4.0), r"settings.pi = 4; allowed is \[3.14, 3.15\]"),
    "wild threshold": (setting("number_min", 0.0), "settings.number_min = 0; allowed"),
    "four densities": (setting("density", [1.0] * 4), "density has 4 numbers, expected 5"),
    "negative density": (setting("density", [-1.0] * 5), "density = -1; allowed"),
    "short chain": (lambda m, _: m["chain"].pop(), "chain has 8 blocks, expected 9"),
    "chain in disorder": (lambda m, _: m["chain"].reverse(), 'expected "properties"'),
    "unknown block": (
        lambda m, _: m["chain"][3].update(block="fission"),
        r'chain\[3\].block = "fission"',
    ),
    "unknown form": (lambda m, _: m["chain"][3].update(form="guess"), 'form = "guess"'),
    "block that is not learnt": (
        lambda m, _: m["chain"][8].update(form="network", network="x"),
        r"chain\[8\] \(merging\).form",
    ),
    "network that is not named": (
        lambda m, _: m["chain"][4].update(form="network"),
        r"chain\[4\]: 'network' is missing",
    ),
    "unlike blocks": (
        learned(
            lambda m, _: m["chain"][3].update(form="network", network="coagulation"),
        ),
        "network coagulation cannot serve both nucleation and coagulation",
    ),
    "too few targets for two blocks": (
        learned(
            lambda m, _: m["chain"][2].update(form="network", network="coagulation"),
        ),
        "network coagulation: 16 targets, expected 23",
    ),
    "residual that changes width": (
        layer(1, "operation", "residual"),
        "layer 1: residual with 4 inputs and 16 outputs",
    ),
    "no rank": (layer(0, "operation", "low_rank"), "layer 0: 'rank' is missing"),
    "no gate": (layer(0, "operation", "gated"), "tensor coagulation.0.gate_weight is missing"),
    "bypass as text": (
        learned(lambda m, _: m["networks"]["coagulation"].update(bypass="yes")),
        'bypass = "yes", expected a boolean',
    ),
    "bypass off but there": (
        learned(lambda m, _: m["networks"]["coagulation"].update(bypass=False)),
        "tensor coagulation.bypass belongs to no network",
    ),
    "unknown option": (lambda m, _: m["chain"][0].update(twice=True), "'twice' is not known"),
    "no network": (
        lambda m, _: m["chain"][4].update(form="network", network="x"),
        "networks: 'x' is missing",
    ),
    "wrong unit": (lambda m, _: m["variables"][0].update(unit="hPa"), 'unit "hPa", expected "Pa"'),
    "missing variable": (lambda m, _: m["variables"].pop(), "variables: 'num_ci' is missing"),
    "unknown variable": (
        lambda m, _: m["variables"].append({"name": "ozone", "unit": "1", "role": "gas"}),
        "variables: 'ozone' is not known",
    ),
    "unknown operation": (layer(0, "operation", "attention"), 'layer 0: operation = "attention"'),
    "unknown activation": (layer(1, "activation", "gelu"), 'layer 1: activation = "gelu"'),
    "wrong inputs": (layer(1, "inputs", 5), "layer 1: 5 inputs, expected 4"),
    "wrong outputs": (layer(1, "outputs", 15), r"shape \[16, 4\], expected \[15, 4\]"),
    "too wide": (layer(0, "outputs", 100000), "layer 0: 100000 outputs; this library runs"),
    "negative width": (layer(0, "outputs", -4), "outputs = -4; a whole number expected"),
    "no layers": (
        learned(lambda m, _: m["networks"]["coagulation"].update(layers=[])),
        "has no layers",
    ),
    "unknown feature": (
        learned(lambda m, _: m["networks"]["coagulation"]["features"].__setitem__(0, "moon")),
        'features = "moon"',
    ),
    "feature twice": (
        learned(lambda m, _: m["networks"]["coagulation"]["features"].__setitem__(0, "density_ns")),
        '"density_ns" twice',
    ),
    "missing target": (
        learned(lambda m, _: m["networks"]["coagulation"]["targets"].pop()),
        "15 targets, expected 16",
    ),
    "missing tensor": (
        learned(lambda _, t: t.pop("coagulation.0.weight")),
        "tensor coagulation.0.weight is missing",
    ),
    "wrong shape": (
        learned(lambda _, t: t.update({"coagulation.bypass": np.zeros((16, 15))})),
        r"coagulation.bypass: shape \[16, 15\], expected \[16, 16\]",
    ),
    "tensor of nobody": (
        lambda _, t: t.update(extra=np.zeros(3)),
        "tensor extra belongs to no network",
    ),
    "network of nobody": (
        learned(lambda m, _: m["chain"][4].update(form="exact")),
        "no block of the chain uses 'coagulation'",
    ),
    "NaN": (tensor("0.weight", (1, 2), np.nan), r"coagulation.0.weight holds -?nan at 18"),
    "infinity": (tensor("1.bias", 3, np.inf), "coagulation.1.bias holds inf at 3"),
    "zero scale": (tensor("feature_scale", 2, 0.0), "feature_scale of ln_wet_radius_as = 0"),
    "upside down": (tensor("feature_low", 0, 1e5), "feature_high of ln_wet_radius_ns"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_refusals(case: str, path: Path) -> None:
    change, message = REFUSALS[case]
    meta = modelfiles.metadata()
    tensors: dict[str, Any] = {}
    change(meta, tensors)
    modelfiles.write(path, meta, tensors)
    with pytest.raises(ValueError, match=message) as caught:
        emulator.load(path)
    assert str(path) in str(caught.value)


def header(change: Callable[[dict[str, Any]], Any]) -> Callable[[bytes], bytes]:
    """Change the header of a file with tensors a (4 bytes) and b (8 bytes)."""

    def edit(content: bytes) -> bytes:
        size = int.from_bytes(content[:8], "little")
        told = json.loads(content[8 : 8 + size])
        change(told)
        return modelfiles.framed(json.dumps(told).encode(), content[8 + size :])

    return edit


DAMAGES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda _: b"", "has 0 bytes"),
    "foreign": (lambda _: b"\x89HDF\r\n\x1a\n" * 99, "is not a model file"),
    "text": (lambda _: b"not a model\n" * 99, "is not a model file"),
    "cut header": (lambda c: c[:100], "is truncated: header of"),
    "cut data": (lambda c: c[:-1], "ends at byte 12 of 11"),
    "more data": (lambda c: c + b"0", "has 13 bytes of tensors, 12 expected"),
    "huge header": (lambda c: (1 << 40).to_bytes(8, "little") + c[8:], "at most 16777216"),
    "no JSON": (lambda c: c[:8] + b"{" + c[9:].replace(b":", b";"), "not JSON"),
    "other metadata": (
        header(lambda h: h.update(__metadata__={"format": "pt"})),
        "not a model of m7emu",
    ),
    "no metadata": (header(lambda h: h.pop("__metadata__")), "not a model of m7emu"),
    "metadata no JSON": (
        header(lambda h: h.update(__metadata__={"m7emu": "{"})),
        "'m7emu' that are not JSON",
    ),
    "overlap": (header(lambda h: h["b"].update(data_offsets=[0, 8])), "tensor b begins at byte 0"),
    "gap": (
        header(lambda h: h["b"].update(data_offsets=[5, 9], shape=[1])),
        "tensor b begins at byte 5, 4 expected",
    ),
    "outside": (header(lambda h: h["b"].update(data_offsets=[4, 99])), "ends at byte 99 of 12"),
    "backward": (header(lambda h: h["b"].update(data_offsets=[8, 4])), "end before they begin"),
    "negative offset": (header(lambda h: h["b"].update(data_offsets=[-4, 4])), "whole number"),
    "one offset": (header(lambda h: h["b"].update(data_offsets=[4])), "expected 2"),
    "wrong dtype": (header(lambda h: h["b"].update(dtype="F16")), 'b: dtype "F16", expected "F32"'),
    "shape and size": (header(lambda h: h["b"].update(shape=[3])), "span 8 bytes, its shape needs"),
    "overflowing shape": (header(lambda h: h["b"].update(shape=[2**29] * 9)), "its shape needs"),
    "wild shape": (header(lambda h: h["b"].update(shape=[2**62])), "too large"),
}


@pytest.mark.parametrize("case", DAMAGES)
def test_damages(case: str, path: Path) -> None:
    change, message = DAMAGES[case]
    tensors = {"a": np.zeros(1), "b": np.zeros(2)}
    path.write_bytes(change(modelfiles.content(modelfiles.metadata(), tensors)))
    with pytest.raises(ValueError, match=message) as caught:
        emulator.load(path)
    assert str(path) in str(caught.value)


def test_missing_files(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"no_such.safetensors.*No such file"):
        emulator.load(tmp_path / "no_such.safetensors")
    with pytest.raises(OSError, match="cannot be read"):
        emulator.load(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no model is shipped under this name.*'fast_'"):
        emulator.load("fast_")


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:x", "cuda:-1", ""])
def test_unknown_devices(device: str, path: Path) -> None:
    modelfiles.write(path, modelfiles.metadata())
    with pytest.raises(ValueError, match="device = "):
        emulator.load(path, device=device)


def test_unknown_engine(path: Path) -> None:
    with pytest.raises(ValueError, match="engine = 'magic'"):
        emulator.load(path, engine="magic")  # type: ignore[arg-type]


@pytest.mark.parametrize("timestep", [0.0, -1.0, np.nan, np.inf, 1e9])
def test_bad_timesteps(timestep: float, path: Path) -> None:
    with pytest.raises(ValueError, match="timestep"):
        exact(path).step(AIR, timestep)


def test_bad_threads(path: Path) -> None:
    with pytest.raises(ValueError, match="threads = -1"):
        exact(path).step(AIR, 1.0, threads=-1)


def test_bad_state(path: Path) -> None:
    with pytest.raises(ValueError, match=r"temperature = nan"):
        exact(path).step({**AIR, "temperature": np.nan}, 900.0)


# --- the package ---------------------------------------------------------------------------------


def test_metadata(path: Path) -> None:
    assert json.loads(exact(path).metadata) == modelfiles.metadata()


def test_load_is_at_the_top(path: Path) -> None:
    modelfiles.write(path, modelfiles.metadata())
    assert isinstance(pyemu.load(path), Emulator)


def test_files_of_the_abi_tests() -> None:
    """What tests/abi steps with is what this folder's helper writes."""
    for name, content in modelfiles.shared().items():
        if name != "learned.safetensors":  # random numbers may change with numpy
            assert (ABI / name).read_bytes() == content, f"write {ABI / name} again"


def test_tables_agree() -> None:
    from pyemu import modelspec

    assert modelspec.CHAIN == CHAIN
    for block, features in modelspec.FEATURES.items():
        assert list(features) == FEATURES[block]
        assert list(modelspec.TARGETS[block]) == TARGETS[block]


@pytest.fixture(scope="module")
def prefix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An installation of the C and Fortran sides, as a host's maintainer makes one."""
    root = Path(__file__).parents[2]
    place = tmp_path_factory.mktemp("install")
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}

    def run(*command: str) -> None:
        done = subprocess.run(
            command, cwd=root, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr

    run("meson", "setup", str(place / "build"), f"--prefix={place / 'prefix'}", "--libdir=lib",
        "-Dpython=false", "-Dhost=disabled")  # fmt: skip
    run("meson", "install", "-C", str(place / "build"), "--quiet")
    return place / "prefix"


def test_installed_program(prefix: Path, tmp_path: Path) -> None:
    """The example compiles with pkg-config's flags and gfortran alone, and runs."""
    environment = {
        **os.environ,
        "PKG_CONFIG_PATH": str(prefix / "lib/pkgconfig"),
        "LD_LIBRARY_PATH": str(prefix / "lib"),
    }

    def run(*command: str) -> str:
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    example = Path(__file__).parents[1] / "fortran/example.f90"
    flags = run("pkg-config", "--cflags", "--libs", "m7emu").split()
    run(
        "gfortran",
        "-std=f2018",
        "-Wall",
        "-Wextra",
        "-Werror",
        str(example),
        *flags,
        "-o",
        "example",
    )
    assert "particles" in run("./example", str(ABI / "ham2.safetensors"))
    model = emulator.load(ABI / "ham2.safetensors")
    after = model.step({**AIR, "h2so4": 1e7, "h2so4_production": 1e4, "so4_as": 1e9,
                        "num_as": 300.0}, 900.0)  # fmt: skip
    told = run("./example", str(ABI / "ham2.safetensors")).split()
    assert float(told[-1]) == pytest.approx(float(sum(after[n.name][0] for n in NUMBERS)))
    bad = subprocess.run(
        ["./example", "no_such_file"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert bad.returncode != 0
    assert "no_such_file: cannot be opened" in bad.stderr


CMAKE = """cmake_minimum_required(VERSION 3.16)
project(host LANGUAGES C Fortran)
find_package(m7emu 0.1 REQUIRED)
add_executable(in_c host.c)
target_link_libraries(in_c m7emu::m7emu)
add_executable(in_fortran ${EXAMPLE})
target_link_libraries(in_fortran m7emu::m7emu)
"""
IN_C = """#include <m7emu.h>
int main(void) { return m7emu_abi_version() != M7EMU_ABI_VERSION; }
"""


def test_installed_for_cmake(prefix: Path, tmp_path: Path) -> None:
    """A project finds the library wherever it was moved, links and runs; not a later version."""
    moved = tmp_path / "moved"
    shutil.copytree(prefix, moved, symlinks=True)
    (tmp_path / "CMakeLists.txt").write_text(CMAKE)
    (tmp_path / "host.c").write_text(IN_C)
    example = Path(__file__).parents[1] / "fortran/example.f90"
    cmake = ["cmake", "-S", str(tmp_path), "-B", str(tmp_path / "build")]
    cmake += [f"-DCMAKE_PREFIX_PATH={moved}", f"-DEXAMPLE={example}"]
    told_by(*cmake)
    told_by("cmake", "--build", str(tmp_path / "build"))
    told_by(str(tmp_path / "build/in_c"))
    told = told_by(str(tmp_path / "build/in_fortran"), str(ABI / "ham2.safetensors"))
    assert "particles" in "".join(told)
    (tmp_path / "CMakeLists.txt").write_text(CMAKE.replace("m7emu 0.1", "m7emu 0.2"))
    (tmp_path / "build/CMakeCache.txt").unlink()
    with pytest.raises(subprocess.CalledProcessError) as refused:
        told_by(*cmake)
    assert "m7emuConfig.cmake, version: 0.1.0" in refused.value.stderr


def told_by(tool: str, *options: str) -> list[str]:
    program = shutil.which(tool)
    assert program, f"{tool} is not there"
    done = subprocess.run([program, *options], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def test_library_exports_nothing_else(prefix: Path) -> None:
    library = str(prefix / "lib/libm7emu.so")
    exported = {line.split()[-1] for line in told_by("nm", "-D", "--defined-only", library)}
    header = (prefix / "include/m7emu.h").read_text()
    assert exported == {name for name in dir(lib) if name.startswith("m7emu_")}
    assert all(f"{name}(" in header for name in exported)
    needed = {
        line.split("[")[1].rstrip("]")
        for line in told_by("readelf", "-d", library)
        if "NEEDED" in line
    }
    assert needed <= {"libc.so.6", "libm.so.6", "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"}
