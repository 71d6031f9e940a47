"""The chain of blocks in torch against the reference, the golden file and the scalar reading."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import m7_scalar
import numpy as np
import pytest
import torch
from helpers import OUTPUTS
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pyemu import metrics, states
from pyemu._m7 import m7_config
from pyemu.blocks import coagulation, kappa, nucleation, water
from pyemu.blocks.chain import BLOCKS, INVALID, Chain, Output
from pyemu.blocks.learned import FORMS, MOLECULES, NETWORKS, PAIRS, particle_features
from pyemu.blocks.network import Layer, Network
from pyemu.blocks.numerics import cube_root, decay, lag
from pyemu.blocks.settings import Settings
from pyemu.reference import Config, Profile, Water, step
from pyemu.regimes import REGIMES
from pyemu.state import pack
from pyemu.variables import (
    DIAGNOSTICS,
    ENVIRONMENT,
    MASSES,
    MODES,
    NUMBERS,
    PROGNOSTICS,
    SOLUBLE,
    SPLIT,
    index,
    names,
)

GOLDEN = json.loads((Path(__file__).parents[1] / "golden/m7_golden.json").read_text())
CASES = [pytest.param(case, id=case["name"]) for case in GOLDEN["cases"]]
PROFILES: tuple[Profile, ...] = ("ham2", "m7_2004")
KINDS = ("mixed", "space_filling", *REGIMES)
TIMESTEPS = (60.0, 600.0, 1800.0, 3600.0)
CELLS = 300

hundreds = settings(max_examples=15, deadline=None, derandomize=True, database=None)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Threads that wait for each other cost more than they bring where others compute, too."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def chain(config: Config | None = None, **networks: Network) -> Chain:
    return Chain(Settings.from_reference(config or Config()), networks)


def tensors(state: Any, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    environment, prognostic = (torch.from_numpy(matrix).to(dtype) for matrix in pack(state))
    return environment, prognostic


def advance(
    state: Any,
    timestep: float | Tensor,
    config: Config | None = None,
    dtype: torch.dtype = torch.float64,
    **networks: Network,
) -> Output:
    with torch.no_grad():
        output = chain(config, **networks)(*tensors(state, dtype), timestep)
    assert isinstance(output, Output)
    return output


def by_name(output: Output) -> dict[str, Any]:
    found = dict(zip(names(PROGNOSTICS), output.prognostic.unbind(1), strict=True))
    found |= dict(zip(names(DIAGNOSTICS), output.diagnostic.unbind(1), strict=True))
    return {name: x.double().numpy() for name, x in (found | output.split).items()}


def zsr_uptake(*given: Any) -> water.Uptake:
    found = water.uptake(*given)
    assert isinstance(found, water.Uptake)
    return found


def compare(before: Any, after: Any, truth: Any) -> tuple[float, float]:
    """Shares of right outputs and moves; every prognostic right for what there is in all modes."""
    right: dict[bool, list[Any]] = {True: [], False: []}
    for name in (*OUTPUTS, *names(SPLIT)):
        error, there = np.abs(after[name] - truth[name]), np.abs(truth[name])
        start = np.abs(before.get(name, 0.0))
        if name.startswith("water_uptake"):  # a difference of two waters
            start = 1e3 * np.abs(truth[name.replace("water_uptake", "water")])
        right[name in names(SPLIT)].append(error <= 1e-9 * there + 1e-12 * start)
        if name in names(PROGNOSTICS):
            held = sum(truth[n] for n in OUTPUTS if n.split("_")[0] == name.split("_")[0])
            limit = 1e-9 * np.maximum(there, start) + 1e-12 * held
            assert (error <= limit).all(), name
    return float(np.mean(right[False])), float(np.mean(right[True]))


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("kind", KINDS)
def test_agrees_with_the_reference(kind: str, profile: Profile) -> None:
    config = Config(profile=profile)
    for seed, timestep in enumerate(TIMESTEPS):
        before = states.sample(CELLS, seed, kind)
        truth = step(before, timestep, config=config, split=True)
        shares = compare(before, by_name(advance(before, timestep, config)), truth)
        assert min(shares) >= 0.995, (timestep, shares)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize(
    "switches",
    [
        {"nucleation": "none"},
        {"organic_nucleation": "activation"},
        {"organic_nucleation": "kinetic", "nucleation": "none"},
        {"condensation": False},
        {"coagulation": False},
        {"condensation": False, "coagulation": False, "nucleation": "none"},
        {"thresholds": "tm5"},
        {"thresholds": "messy"},
        {"thresholds": "icon_ham"},
        {"densities": {"bc": 1.8, "oc": 1.3}},
        {"reset_seasalt_sums": False},
        {"small_insoluble_volume": False},
        {"limited_ageing": False},
        {"source_coagulation": True},
        {"clip_weight_percent": True},
        {"sulfate_free_radius": True},
        {"water": "kappa"},
        {"water": "kappa", "thresholds": "icon_ham"},
        {"water": "kappa", "kappa_full_volume": True, "kappas": {"ss": 1.0, "bc": 0.1, "du": 0.03}},
    ],
    ids=str,
)
def test_every_switch_agrees(switches: dict[str, Any], profile: Profile) -> None:
    config = Config(profile=profile, **switches)
    for kind in ("sparse", "mixed"):
        before = states.sample(CELLS, 21, kind)
        truth = step(before, 1800.0, config=config, split=True)
        shares = compare(before, by_name(advance(before, 1800.0, config)), truth)
        assert min(shares) >= 0.995, (kind, shares)


KAPPA_AIRS = {
    "dry": (0.0, 0.01),
    "usual": (0.2, 0.95),
    "humid": (0.98, 1.0),
    "saturated": (1.0, 1.0),
}


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("kind", ["mixed", "space_filling", "sparse", "sea_salt_plume"])
def test_kappa_water_agrees(kind: str, profile: Profile) -> None:
    config = Config(profile=profile, water="kappa", kappas={"ss": 1.0})
    for seed, (low, high) in enumerate(KAPPA_AIRS.values()):
        before = states.sample(CELLS, seed, kind)
        before["relative_humidity"] = np.linspace(low, high, CELLS)
        truth = step(before, 1800.0, config=config, split=True)
        shares = compare(before, by_name(advance(before, 1800.0, config)), truth)
        assert min(shares) >= 0.995, (low, shares)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_growth_solves_its_equation(dtype: torch.dtype) -> None:
    """Section 8.4 over all sizes and humidities."""
    generator = np.random.default_rng(5)
    count = 20000
    temperature = generator.uniform(150.0, 330.0, count)
    radius = 10.0 ** generator.uniform(-8.0, -2.0, count)
    factor = generator.choice([0.0, 1e-3, 0.06, 0.6, 1.12, 2.0], count)
    humidity = np.where(
        generator.random(count) < 0.5,
        generator.uniform(0.0, 1.0, count),
        1.0 - 10.0 ** generator.uniform(-9.0, 0.0, count),
    ).astype(np.float32)
    humidity[:10], humidity[10:20] = 0.0, 1.0
    given = [torch.tensor(x, dtype=dtype) for x in (temperature, humidity, radius, factor)]
    air = kappa.moist(given[0], given[1])
    volume = kappa.water_volume(air, given[2][:, None], given[3][:, None])[:, 0].double().numpy()
    # V (exp(A/(r G) - ln RH) - 1) = kappa, which does not cancel near saturation as the other form.
    h = kappa.KELVIN / (temperature * radius * np.cbrt(1.0 + volume))
    h -= np.log1p(
        humidity.astype(np.float64) - 1.0, where=humidity > 0.0, out=np.full(count, -99.0)
    )
    there = (factor > 0.0) & (h < 20.0)
    wrong = volume * np.expm1(np.minimum(h, 20.0)) / np.where(there, factor, 1.0) - 1.0
    assert there.mean() > 0.5
    assert (np.abs(wrong[there]) <= (1e-13 if dtype is torch.float64 else 4e-6)).all()
    assert (volume[h >= 20.0] < 1e-8).all()
    assert (volume[factor == 0.0] == 0.0).all()
    assert (volume[:10] == 0.0).all()


def test_new_particles_alone_agree() -> None:
    """Section 12 iii: nothing else in the air, so that only this decides what collides."""
    state: dict[str, Any] = {"pressure": 3e4, "temperature": 225.0, "relative_humidity": 0.6}
    state |= {"h2so4": 1e7, "num_ns": [1.0, 1e2, 1e4, 1e6], "so4_ns": [1e2, 1e4, 1e6, 1e8]}
    for corrected in (False, True):
        config = Config(source_coagulation=corrected)
        truth = step(state, 1800.0, config=config, split=True)
        assert (truth["nucleated_num"] > 1800.0).all()
        shares = compare(state, by_name(advance(state, 1800.0, config)), truth)
        assert min(shares) == 1.0, shares


@pytest.mark.parametrize("profile", PROFILES)
def test_single_precision_is_near(profile: Profile) -> None:
    """99 % of all outputs within 1e-4 of the reference, from the same rounded input."""
    for kind in ("mixed", "sparse"):
        environment, prognostic = tensors(states.sample(2000, 31, kind), torch.float32)
        before = dict(zip(names(ENVIRONMENT), environment.double().numpy().T, strict=True))
        before |= dict(zip(names(PROGNOSTICS), prognostic.double().numpy().T, strict=True))
        truth = step(before, 1800.0, profile)
        after = by_name(advance(before, 1800.0, Config(profile=profile), torch.float32))
        error = np.array([np.abs(after[n] - truth[n]) for n in OUTPUTS])
        size = np.array([np.abs(truth[n]) for n in OUTPUTS])
        start = np.array([np.broadcast_to(before.get(n, 0.0), size[0].shape) for n in OUTPUTS])
        assert np.mean(error <= 1e-4 * size + 1e-7 * start) >= 0.99, kind


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("case", CASES)
def test_real_m7(case: dict[str, Any], profile: Profile) -> None:
    real = case["after"][profile]
    state = {name: case[name] for name in ("pressure", "temperature", "relative_humidity")}
    state |= {name: case[name] for name in ("h2so4", "h2so4_production")}
    state |= dict(zip(names(MASSES), case["mass"], strict=True))
    state |= dict(zip(names(NUMBERS), case["number"], strict=True))
    expected = {"h2so4": real["h2so4"]}
    expected |= dict(zip(names(MASSES), real["mass"], strict=True))
    expected |= dict(zip(names(NUMBERS), real["number"], strict=True))
    for kind, modes in (("wet_radius", MODES), ("dry_radius", SOLUBLE), ("density", MODES)):
        expected |= {f"{kind}_{m.name}": x for m, x in zip(modes, real[kind], strict=True)}
    expected |= {f"water_{m.name}": x for m, x in zip(SOLUBLE, real["water"], strict=False)}
    after = by_name(advance(state, case["timestep"], Config(profile=profile)))
    assert set(expected) == set(OUTPUTS)
    for name, value in expected.items():
        residue = 1e-12 * state.get(name, 0.0)
        assert after[name][0] == pytest.approx(value, rel=1e-9, abs=residue), name


@hundreds
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from(KINDS),
    st.floats(1.0, 7200.0),
    st.sampled_from(PROFILES),
    st.sampled_from(["zsr", "kappa"]),
    st.sampled_from([torch.float64, torch.float32]),
)
def test_budgets_close_and_nothing_is_negative(
    seed: int, kind: str, timestep: float, profile: Profile, scheme: Water, dtype: torch.dtype
) -> None:
    state = states.sample(CELLS, seed, kind)
    if dtype is torch.float32:  # the budget of what the chain is given
        state = {name: x.astype(np.float32).astype(np.float64) for name, x in state.items()}
        timestep = float(np.float32(timestep))
    output = advance(state, timestep, Config(profile=profile, water=scheme), dtype)
    after = by_name(output)
    limit = 1e-14 if dtype is torch.float64 else 4e-7
    for species, error in metrics.closure(state, after, timestep).items():
        assert error.max() <= limit, species
    assert (output.prognostic >= 0.0).all()
    for name in (*OUTPUTS, *names(SPLIT)):
        assert np.isfinite(after[name]).all(), name
        assert (after[name] >= 0.0).all() or name.startswith("water"), name
    assert not output.flag.any()
    assert not output.negatives.any()


def test_a_sink_of_gas_takes_no_more_than_there_is() -> None:
    state = {"pressure": 9e4, "temperature": 280.0, "relative_humidity": 0.5, "h2so4": 1e6}
    state |= {"h2so4_production": -1e6, "num_as": 100.0, "so4_as": 1e9}
    for profile in PROFILES:
        for dtype in (torch.float32, torch.float64):
            after = by_name(advance(state, 1800.0, Config(profile=profile), dtype))
            assert 0.0 <= after["h2so4"][0] <= 0.1
            assert after["so4_as"][0] >= 1e9 * (1.0 - 1e-6)


def test_timestep_by_cell() -> None:
    state = states.sample(40, 3)
    each = torch.linspace(60.0, 3600.0, 40, dtype=torch.float64)
    together = advance(state, each)
    for place in (0, 17, 39):
        cell = {name: x[place : place + 1] for name, x in state.items()}
        alone = advance(cell, float(each[place]))
        assert torch.allclose(together.prognostic[place], alone.prognostic[0], rtol=1e-12)


def test_negatives_count_as_nothing_and_come_back() -> None:
    air = {"pressure": 9e4, "temperature": 280.0, "relative_humidity": 0.6, "so4_ks": [1e8] * 2}
    state: dict[str, Any] = air | {"num_ks": [1e3, 1e3], "bc_ks": [-1e-9, 0.0]}
    below = state | {"h2so4": [-1.0, 0.0], "num_ci": [-2.0, -1e-30]}
    output, truth = advance(below, 1800.0), step(below, 1800.0)
    assert output.negatives.tolist() == truth["negatives"].tolist() == [3, 1]
    after = by_name(output)
    for name in names(PROGNOSTICS):
        debt = np.minimum(below.get(name, 0.0), 0.0)
        assert after[name] == pytest.approx(truth[name] + debt, rel=1e-9, abs=1e-20), name


def test_bad_cells_are_flagged_and_left_alone() -> None:
    environment, prognostic = tensors(states.sample(8, 5))
    environment, prognostic = environment.clone(), prognostic.clone()
    place = {name: index(name, ENVIRONMENT) for name in names(ENVIRONMENT)}
    environment[0, place["temperature"]] = torch.nan
    environment[1, place["pressure"]] = 0.0
    environment[2, place["relative_humidity"]] = 1.01
    environment[3, place["relative_humidity"]] = 1.0 + 5e-7
    prognostic[4, index("so4_as", PROGNOSTICS)] = torch.inf
    timestep = torch.full((8,), 1800.0, dtype=torch.float64)
    timestep[5] = 0.0
    environment.requires_grad_()
    output = chain()(environment, prognostic, timestep)
    assert output.flag.tolist() == [INVALID, INVALID, INVALID, 0, INVALID, INVALID, 0, 0]
    assert output.flag.dtype == output.negatives.dtype == torch.int32
    bad = output.flag == INVALID
    assert torch.equal(output.prognostic[bad], prognostic[bad])
    assert not output.diagnostic[bad].any()
    whole = chain()(environment[6:], prognostic[6:], 1800.0)
    assert torch.allclose(output.prognostic[6:], whole.prognostic, rtol=1e-13)
    torch.autograd.backward(output.prognostic[~bad].sum())
    assert environment.grad is not None
    assert environment.grad.isfinite().all()


def test_no_cells() -> None:
    output = chain()(torch.zeros(0, 8), torch.zeros(0, 26), 1800.0)
    assert output.prognostic.shape == (0, 26)
    assert output.diagnostic.shape == (0, 22)
    assert tuple(output.split) == names(SPLIT)


def test_nothing_is_left_on_another_device_and_nothing_waits() -> None:
    """On the meta device a constant of the CPU, or a value that is looked at, is an error."""
    learned = untrained_coagulation(), untrained_water()
    for config in (Config(), Config(profile="m7_2004"), Config(reset_seasalt_sums=False)):
        step_ = chain(config, coagulation=learned[0], water=learned[1]).to("meta")
        for networks in (step_, chain(config).to("meta")):
            output = networks(
                torch.empty(5, 8, device="meta"), torch.empty(5, 26, device="meta"), 60.0
            )
            assert output.prognostic.device.type == "meta"


# --- Gradients ------------------------------------------------------------------------------------


def empty_cells() -> dict[str, Any]:
    """Nothing; number without mass; mass without number; one mode, or all but one; traces."""
    rows: list[dict[str, float]] = [{}, dict.fromkeys(names(NUMBERS), 10.0)]
    rows += [dict.fromkeys(names(MASSES), 1e-2), {"h2so4": 1e8}]
    full = {name: float(x[0]) for name, x in states.typical("all_modes").items()}
    full = {name: full[name] for name in names(PROGNOSTICS)}
    for mode in names(MODES):
        own = [n for n in full if n.endswith(f"_{mode}")]
        rows += [{n: full[n] for n in own}, full | dict.fromkeys(own, 0.0)]
        rows += [full | dict.fromkeys(own, tiny) for tiny in (1e-30, 1e-12, 1e-5)]
    air = {"pressure": 5e4, "temperature": 250.0, "relative_humidity": 0.7}
    columns = {n: np.array([row.get(n, 0.0) for row in rows]) for n in names(PROGNOSTICS)}
    return air | columns | {"h2so4_production": np.where(np.arange(len(rows)) % 2, 1e3, 0.0)}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("scheme", ["zsr", "kappa"])
@pytest.mark.parametrize("kind", ["mixed", "sparse", "space_filling", "empty"])
def test_gradients_are_finite(
    kind: str, scheme: Water, profile: Profile, dtype: torch.dtype
) -> None:
    state = empty_cells() if kind == "empty" else states.sample(2000, 41, kind)
    given = [x.requires_grad_() for x in tensors(state, dtype)]
    config = Config(profile=profile, water=scheme, organic_nucleation="kinetic")
    output = chain(config)(*given, 1800.0)
    loss = torch.zeros((), dtype=dtype)
    for values in (output.prognostic, output.diagnostic, *output.split.values()):
        loss = loss + torch.asinh(values).sum()
    for gradient in torch.autograd.grad(loss, given):
        assert gradient.isfinite().all(), gradient.isfinite().all(dim=0)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("scheme", ["zsr", "kappa"])
@pytest.mark.parametrize("kind", ["all_modes", "continental_clean", "sea_salt_plume"])
def test_gradients_are_right(kind: str, scheme: Water, profile: Profile) -> None:
    """Of relative changes of the output to relative changes of the input, by differences."""
    step_ = chain(Config(profile=profile, water=scheme))
    environment, prognostic = tensors(states.typical(kind))
    after = step_(environment, prognostic, 900.0)
    scale = torch.cat((after.prognostic, after.diagnostic), dim=1).clamp(min=1e-30)

    def relative(air: Tensor, state: Tensor) -> Tensor:
        output = step_(environment * torch.exp(air), prognostic * torch.exp(state), 900.0)
        joined = torch.cat((output.prognostic, output.diagnostic), dim=1)
        return torch.as_tensor(joined / scale)

    point = [torch.zeros_like(x, requires_grad=True) for x in (environment, prognostic)]
    assert torch.autograd.gradcheck(relative, point, eps=1e-6, atol=1e-5, rtol=1e-4)


def test_helpers_near_nothing() -> None:
    x = torch.tensor([0.0, 1e-12, 1e-3, 0.09999, 0.1, 5.0, 800.0], dtype=torch.float64)
    left, lost = decay(x)
    assert torch.allclose(left, torch.exp(-x), rtol=1e-15)
    assert lost.numpy() == pytest.approx(-np.expm1(-x.numpy()), rel=1e-15)
    wide = np.longdouble(x[1:].numpy())
    assert lag(x)[0] == 0.0
    series = wide / 2 * (1 - wide / 3 * (1 - wide / 4))
    direct = 1 + np.expm1(-wide) / wide
    expected = np.where(wide < 1e-2, series, direct).astype(np.float64)
    assert lag(x)[1:].numpy() == pytest.approx(expected, rel=1e-12)
    volumes = torch.tensor([0.0, 1e-28, 4e-22, 1e-12], requires_grad=True)
    roots = cube_root(volumes)
    assert roots.detach().numpy() == pytest.approx(np.cbrt(volumes.detach().numpy()), rel=3e-7)
    torch.autograd.backward(roots.sum())
    assert volumes.grad is not None
    assert volumes.grad.isfinite().all()


# --- Single blocks against the scalar reading -----------------------------------------------------


def scalar_air(state: Any, place: int) -> m7_scalar.Air:
    return m7_scalar.Air(
        pressure=float(state["pressure"][place]),
        temperature=float(state["temperature"][place]),
        humidity=float(state["relative_humidity"][place]),
        cloud=0.0,
        production=0.0,
        forest=0.0,
        in_boundary_layer=False,
    )


class Seen(NamedTuple):
    """What kernels are made from, float64: as the arguments of `coagulation.kernels`."""

    pressure: Tensor
    temperature: Tensor
    radius: Tensor
    density: Tensor
    number: Tensor

    def features(self) -> tuple[Tensor, Tensor]:
        return particle_features(self.pressure, self.temperature, self.radius, self.density)


def particles_of(count: int, seed: int, kind: str = "mixed") -> tuple[Any, Seen]:
    """States with their diagnostics by the reference."""
    state = states.sample(count, seed, kind)
    state = state | step(state, 1.0)
    air = (torch.from_numpy(state[name]) for name in ("pressure", "temperature"))
    particles = (
        torch.from_numpy(np.stack([state[f"{kind}_{mode.name}"] for mode in MODES], axis=1))
        for kind in ("wet_radius", "density", "num")
    )
    return state, Seen(*air, *particles)


def scalar_kernels(state: Any, place: int, profile: Profile = "ham2") -> list[float]:
    number, wet, density = (
        {mode.name: float(state[f"{kind}_{mode.name}"][place]) for mode in MODES}
        for kind in ("num", "wet_radius", "density")
    )
    air, scheme = scalar_air(state, place), m7_scalar.SCHEMES[profile]
    found = m7_scalar.kernels(number, wet, density, air, scheme)
    return [found[pair] for pair in PAIRS]


@pytest.mark.parametrize("profile", PROFILES)
def test_kernels_against_the_scalar_reading(profile: Profile) -> None:
    state, given = particles_of(300, 51, "sparse")
    settings_ = Settings.from_reference(Config(profile=profile))
    found = coagulation.kernels(settings_, *given).kernel.numpy()
    expected = np.array([scalar_kernels(state, place, profile) for place in range(300)])
    assert ((found == 0.0) == (expected == 0.0)).all()
    # Cancellation in the textbook form of the jump distance costs the scalar its last digits.
    assert found == pytest.approx(expected, rel=1e-7, abs=0.0)


def test_nucleation_against_the_published_evaluation() -> None:
    """Rows of section 18.4 of the contract: T, S, N, J, molecules per particle."""
    rows = np.array(
        [
            (298.15, 0.382, 1e10, 5.9296516, 9.3216531),
            (236.00, 0.55, 1e6, 3.43288624e-03, 4.36078020),
            (236.00, 0.55, 1e7, 1.66812653e02, 2.75751168),
            (236.00, 0.55, 1e9, 0.0, 0.0),
            (220.00, 0.55, 1e8, 0.0, 0.0),
            (250.00, 0.55, 1e10, 1e10, 1.30003285),
            (298.15, 0.90, 1e9, 1.57146470e-04, 10.2241071),
        ]
    )
    given = [torch.from_numpy(column.copy()) for column in rows[:, :3].T]
    found = nucleation.vehkamaki(Settings.from_reference(Config()), *given)
    for column, values in zip(rows[:, 3:].T, found, strict=True):
        assert values.numpy() == pytest.approx(column, rel=1e-8)
    single = nucleation.vehkamaki(Settings.from_reference(Config()), *(x.float() for x in given))
    assert single[0].dtype == torch.float32
    assert single[0].numpy() == pytest.approx(rows[:, 3], rel=1e-4)


# --- Settings -------------------------------------------------------------------------------------


def test_settings_hold_every_component() -> None:
    native = {name for name in dir(m7_config.m7_config_type) if not name.startswith("_")}
    native -= {"copy", "from_handle"}  # f90wrap's
    told = Settings.from_reference(Config(production_in_gas=True)).to_json()
    assert native - {"substeps", "substeps_max", "tolerance"} == set(told)


def test_settings_are_those_of_the_reference() -> None:
    config = Config(profile="m7_2004", thresholds="messy", densities={"oc": 1.3}, nucleation="none")
    found = Settings.from_reference(config)
    assert (found.profile, found.nucleation, found.older) == ("m7_2004", "none", True)
    assert found.number_min == 1e-7
    assert found.density == (1.841, 2.0, 1.3, 2.165, 2.65)
    assert found.avogadro == 6.02217e23
    assert found != Settings.from_reference(Config())


def test_settings_survive_json() -> None:
    config = Config(profile="m7_2004", source_coagulation=True, kappas={"ss": 1.0})
    found = Settings.from_reference(config)
    assert Settings.from_json(json.loads(json.dumps(found.to_json()))) == found


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"profile": "ham3"}, "profile = 'ham3'; allowed is 'ham2', 'm7_2004'"),
        ({"limited_ageing": 1}, "limited_ageing = 1; allowed is True, False"),
        ({"number_min": -1.0}, "number_min = -1.0; allowed is a finite number"),
        ({"number_min": float("nan")}, "number_min = nan; allowed is"),
        ({"pi": "3"}, "pi = '3'; allowed is"),
        ({"density": [1.0, 2.0]}, r"density = \(1.0, 2.0\); allowed is 5 finite numbers"),
        ({"density": [1.0, 2.0, 2.0, 0.0, 2.0]}, "density = .*; allowed is 5 finite numbers"),
        ({"numbr_min": 1.0}, "unknown name 'numbr_min'; did you mean 'number_min'"),
    ],
)
def test_bad_settings(change: dict[str, Any], message: str) -> None:
    given = Settings.from_reference(Config()).to_json()
    with pytest.raises(ValueError, match=message):
        Settings.from_json(given | change)


def test_missing_setting() -> None:
    given = Settings.from_reference(Config()).to_json()
    del given["pi"]
    with pytest.raises(ValueError, match="missing from the settings: pi"):
        Settings.from_json(given)


def test_forms_that_are_not_there_say_so() -> None:
    changed = replace(Settings.from_reference(Config()), nucleation="kazil_lovejoy2007")
    with pytest.raises(ValueError, match="nucleation = 'kazil_lovejoy2007' has no form"):
        Chain(changed)
    with pytest.raises(ValueError, match=r"networks of water and salt are of ZSR water"):
        chain(Config(water="kappa"), water=untrained_water())


# --- Networks -------------------------------------------------------------------------------------


def untrained_coagulation(*widths: int) -> Network:
    return Network.hidden(
        FORMS["coagulation"].features, FORMS["coagulation"].targets, widths or (8,)
    )


def untrained_water(*widths: int) -> Network:
    return Network.hidden(FORMS["water"].features, FORMS["water"].targets, widths or (8,))


def randomised(network: Network, seed: int = 7) -> Network:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in (*network.parameters(), *network.buffers()):
            tensor.copy_(0.5 + torch.rand(tensor.shape, generator=generator))
        network.feature_high.add_(2.0)
    return network


def train(
    network: Network, features: Tensor, targets: Tensor, there: Tensor, known: Tensor, steps: int
) -> None:
    """Calibrate, then AdamW with a cosine schedule on z-scored targets."""
    torch.manual_seed(1)
    network.calibrate(features, targets, there, known)
    x, y = features.float(), targets.float()
    optimiser = torch.optim.AdamW(network.parameters(), lr=4e-3, weight_decay=1e-5)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(steps):
        some = torch.randint(len(x), (512,))
        error = (network(x[some], there[some]) - y[some]) / network.target_scale
        loss = torch.where(known[some], error, 0.0).square().mean()
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
        schedule.step()


@pytest.fixture(scope="module")
def trained_coagulation(one_thread: None) -> Network:  # noqa: ARG001
    """Some 5 s on a core."""
    _, given = particles_of(60_000, 61)
    settings_ = Settings.from_reference(Config())
    kernel = coagulation.kernels(settings_, *given).kernel
    known = kernel > 0.0
    features, there = given.features()
    network = untrained_coagulation(48, 48)
    train(network, features, torch.log(torch.where(known, kernel, 1.0)), there, known, 2500)
    return network


def test_trained_kernels_are_near(trained_coagulation: Network) -> None:
    """Against the scalar reading, on states that were not trained on."""
    state, given = particles_of(300, 62)
    settings_ = Settings.from_reference(Config())
    features, known = given.features()
    with torch.no_grad():
        learned = trained_coagulation(features, known)
    found = coagulation.kernels(settings_, *given, learned)
    flag = trained_coagulation.flag(features, known)
    expected = np.array([scalar_kernels(state, place) for place in range(300)])
    there = expected > 0.0
    assert ((found.kernel.numpy() > 0.0) == there).all()
    error = np.abs(np.log(found.kernel.numpy()[there] / expected[there]))
    assert np.median(error) < 0.03
    assert np.quantile(error, 0.95) < 0.10
    assert float((flag == 0).double().mean()) > 0.9


def test_chain_with_a_network(trained_coagulation: Network) -> None:
    """Its tendencies are M7's within per cent, its budgets close as before."""
    state = states.sample(1000, 63)
    truth = step(state, 1800.0)
    after = by_name(advance(state, 1800.0, coagulation=trained_coagulation))
    for species, error in metrics.closure(state, after, 1800.0).items():
        assert error.max() <= 1e-14, species
    assert all((after[name] >= 0.0).all() for name in names(PROGNOSTICS))
    scores = metrics.tendency_r2(state, truth, after, ["num_ns", "num_ks", "num_as", "num_ki"])
    assert min(scores.values()) > 0.98, scores


def test_trained_water_is_near() -> None:
    """Against the scalar reading: weight-% and density of the solution within per cent."""
    generator = np.random.default_rng(5)
    low, high = np.array([240.0, 0.05, 7.0]), np.array([320.0, 0.9, 11.5])
    features = torch.from_numpy(low + (high - low) * generator.random((20_000, 3)))
    settings_ = Settings.from_reference(Config())
    pressure, temperature, humidity = torch.exp(features[:, 2]), features[:, 0], features[:, 1]
    exact = zsr_uptake(settings_, pressure, temperature, humidity)
    solution = exact.solution(torch.tensor(MOLECULES, dtype=torch.float64).expand(20_000, 5))
    targets = torch.cat((torch.log(solution.weight_percent), solution.density), dim=1)
    network = untrained_water(24, 24)
    there, known = (torch.ones_like(x, dtype=torch.bool) for x in (features, targets))
    train(network, features, targets, there, known, 1500)
    learned = zsr_uptake(settings_, pressure, temperature, humidity, {"water": network})
    molecules = torch.exp(torch.rand(20_000, 1, dtype=torch.float64) * 23.0 + 2.0)
    with torch.no_grad():
        found = learned.solution(molecules)
    some = range(0, 20_000, 100)
    expected = np.array(
        [
            m7_scalar.sulfuric_solution(float(molecules[i, 0]), x[1], x[0], np.exp(x[2]))
            for i in some
            for x in [features[i].numpy()]
        ]
    )
    error = np.abs(np.log(found.weight_percent[:: some.step, 0].numpy() / expected[:, 0]))
    assert np.median(error) < 0.03
    error = np.abs(found.density[:: some.step, 0].numpy() - expected[:, 1])
    assert np.median(error) < 0.01
    after = by_name(advance(states.sample(200, 64), 1800.0, water=network))
    assert all(np.isfinite(after[name]).all() for name in OUTPUTS)


def test_learned_solution_of_exact_values_is_exact() -> None:
    """The five sizes say all there is to say of section 8.1's regressions."""
    settings_ = Settings.from_reference(Config())
    pressure, temperature, humidity = torch.tensor(
        [[9e4, 5e4], [280.0, 255.0], [0.5, 0.8]], dtype=torch.float64
    )
    exact = zsr_uptake(settings_, pressure, temperature, humidity)
    told = exact.solution(torch.tensor(MOLECULES, dtype=torch.float64).expand(2, 5))
    molecules = torch.tensor([[5.0, 3e3, 2e6, 1e9]], dtype=torch.float64).expand(2, 4)
    truth = exact.solution(molecules)
    for cell in range(2):
        network = untrained_water(4).double()
        network.target_mean.copy_(torch.cat((told.weight_percent[cell].log(), told.density[cell])))
        some = slice(cell, cell + 1)
        with torch.no_grad():
            learned = zsr_uptake(
                settings_, pressure[some], temperature[some], humidity[some], {"water": network}
            )
            found = learned.solution(molecules[:1])
        assert torch.allclose(found.weight_percent[0], truth.weight_percent[cell], rtol=1e-9)
        assert torch.allclose(found.density[0], truth.density[cell], rtol=1e-9)


def test_networks_survive_as_tensors() -> None:
    for name, network in (
        ("coagulation", randomised(untrained_coagulation(5, 3))),
        ("water", randomised(untrained_water(4))),
    ):
        description = json.loads(json.dumps(network.describe()))
        given = network.to_tensors(name)
        assert all(tensor.dtype == torch.float32 for tensor in given.values())
        assert {f"{name}.0.weight", f"{name}.0.bias", f"{name}.bypass"} <= set(given)
        again = Network.from_tensors(name, description, given)
        x = torch.rand(9, len(network.features))
        assert torch.equal(again(x), network(x))
        assert torch.equal(again.flag(3.0 * x), network.flag(3.0 * x))
        assert (again.features, again.targets) == (network.features, network.targets)


def test_network_is_what_the_model_file_says() -> None:
    """The formula in the docstring of pyemu.modelfile, in NumPy."""
    network = randomised(untrained_water(4))
    given = {k.removeprefix("water."): v.numpy() for k, v in network.to_tensors("water").items()}
    x = np.random.default_rng(3).random((5, 3)).astype(np.float32)
    z = (x - given["feature_mean"]) / given["feature_scale"]
    h = z @ given["0.weight"].T + given["0.bias"]
    h = h / (1.0 + np.exp(-h))
    h = h @ given["1.weight"].T + given["1.bias"]
    y = given["target_mean"] + given["target_scale"] * (h + z @ given["bypass"].T)
    assert network(torch.from_numpy(x)).detach().numpy() == pytest.approx(y, rel=1e-5)


def test_a_feature_that_is_not_there_is_its_mean() -> None:
    network = randomised(untrained_water(4))
    x, there = torch.rand(4, 3), torch.tensor([True, False, True])
    filled = torch.where(there, x, network.feature_mean)
    assert torch.allclose(network(x, there.expand(4, 3)), network(filled))


def test_flags_by_range() -> None:
    network = untrained_water(4)
    network.feature_low.copy_(torch.zeros(3))
    network.feature_high.copy_(torch.tensor([1.0, 1.0, 2.0]))
    x = torch.full((6, 3), 0.5)
    x[:, 2] = torch.tensor([0.0, 2.0, 2.5, -0.9, 3.1, -1.1])
    assert network.flag(x).tolist() == [0, 0, 1, 1, 2, 2]
    assert network.flag(x, torch.tensor([True, True, False]).expand(6, 3)).tolist() == [0] * 6


def test_calibrated_bypass_is_the_linear_regression() -> None:
    generator = torch.Generator().manual_seed(2)
    x = 5.0 + torch.rand(500, 3, generator=generator, dtype=torch.float64)
    slope = torch.randn(10, 3, generator=generator, dtype=torch.float64)
    y = x @ slope.T + 7.0
    network = untrained_water(4)
    network.calibrate(x, y)
    with torch.no_grad():
        assert network(x).numpy() == pytest.approx(y.numpy(), rel=1e-4)
    assert not network.flag(x.float()).any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"water.0.weight": None}, r"tensor 'water.0.weight' is missing"),
        (
            {"water.bypass": torch.zeros(2, 3)},
            r"'water.bypass' has shape \(2, 3\); needed is \(10, 3\)",
        ),
        ({"water.0.bias": torch.full((8,), torch.nan)}, r"tensor 'water.0.bias' is not finite"),
    ],
)
def test_bad_tensors(change: dict[str, Any], message: str) -> None:
    network = untrained_water(8)
    given = network.to_tensors("water") | change
    given = {name: tensor for name, tensor in given.items() if tensor is not None}
    with pytest.raises(ValueError, match=message):
        Network.from_tensors("water", network.describe(), given)


def test_bad_layers() -> None:
    with pytest.raises(ValueError, match="operation = 'gate'; allowed is 'dense', 'residual'"):
        Layer(inputs=2, outputs=2, operation="gate")
    with pytest.raises(ValueError, match="activation = 'gelu'; allowed is"):
        Layer(inputs=2, outputs=2, activation="gelu")
    with pytest.raises(ValueError, match="a residual layer of 2 inputs and 3 outputs"):
        Layer(inputs=2, outputs=3, operation="residual")
    for wrong in ({"operation": "low_rank"}, {"operation": "dense", "rank": 2}):
        with pytest.raises(ValueError, match=r"rank = \d of operation"):
            Layer(inputs=2, outputs=2, **wrong)
    form = FORMS["water"]
    with pytest.raises(ValueError, match="do not lead from 3 features to 10 targets"):
        Network(form.features, form.targets, [Layer(inputs=3, outputs=3)])


def test_forms() -> None:
    network = untrained_water()
    described = chain(water=network).describe()
    assert [link["block"] for link in described] == list(BLOCKS)
    assert described[BLOCKS.index("water")]["form"] == "network"
    settings_ = Settings.from_reference(Config())
    again = Chain.from_description(settings_, described, {"water": network})
    assert again.describe() == described
    with pytest.raises(ValueError, match="block 'water' needs network 'water', which is missing"):
        Chain.from_description(settings_, described, {})
    with pytest.raises(ValueError, match="the chain of blocks is not properties, water"):
        Chain.from_description(settings_, described[::-1], {"water": network})
    coagulating = [*described]
    coagulating[4] = {"block": "coagulation", "form": "network", "network": "water"}
    with pytest.raises(ValueError, match="a network gives other targets than those of its block"):
        Chain.from_description(settings_, coagulating, {"water": network})
    trunk = Network.hidden(*NETWORKS["trunk"], (4,))
    salt = Network.hidden(*FORMS["salt"], (4,))
    described = chain(trunk=trunk, wet=network, salt=salt).describe()
    assert [link.get("network") for link in described] == [
        None, "wet", "trunk", None, "trunk", None, None, "trunk", None
    ]  # fmt: skip
    assert described[1]["salt"] == "salt"
    found = Chain.from_description(
        settings_, described, {"trunk": trunk, "wet": network, "salt": salt}
    )
    assert found.describe() == described
    with pytest.raises(ValueError, match="networks 'trunk' and 'more', both coagulation"):
        chain(trunk=trunk, more=untrained_coagulation())
    for features, targets, message in (
        (("temperature",), ("ln_sink_ns",), "does not give just the targets"),
        (("ln_gas",), FORMS["salt"].targets, "reads features that salt does not know"),
        (
            FORMS["water"].features,
            FORMS["water"].targets + FORMS["salt"].targets,
            "water, salt cannot share a network",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            chain(odd=Network.hidden(features, targets, (4,)))
    odd = [link | {"form": "guess"} for link in described]
    with pytest.raises(ValueError, match="form = 'guess' of block 'properties'"):
        Chain.from_description(settings_, odd, {})


def test_gradients_reach_the_weights() -> None:
    """Also in cells that are empty, where kernels do not count."""
    _, given = particles_of(500, 65)
    features, there = given.features()
    network = Network.hidden(*NETWORKS["trunk"], (8,))
    network.calibrate(features, torch.full((500, len(network.targets)), -18.0), there)
    more = {name: randomised(Network.hidden(*FORMS[name], (4,))) for name in ("salt", "nucleation")}
    more |= {"trunk": network, "water": randomised(untrained_water(4))}
    step_ = Chain(Settings.from_reference(Config()), more)
    for state in (states.sample(500, 65), empty_cells()):
        output = step_(*tensors(state), 1800.0)
        loss = torch.asinh(output.prognostic).sum() + torch.asinh(output.diagnostic).sum()
        step_.zero_grad()
        torch.autograd.backward(loss)
        for parameter in step_.parameters():
            assert parameter.grad is not None
            assert parameter.grad.isfinite().all()
    assert network.bypass is not None
    assert network.bypass.grad is not None
    assert network.bypass.grad.any()
