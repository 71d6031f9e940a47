"""The step in stages, in torch and in the engine: against ever shorter steps of M7."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from pyemu import emulator, metrics, modelfile, reference, states
from pyemu.blocks.chain import Chain
from pyemu.blocks.settings import Profile, Settings, Water
from pyemu.exchange import exact_model
from pyemu.records import WATERS
from pyemu.state import pack
from pyemu.variables import DIAGNOSTICS, ENVIRONMENT, MASSES, NUMBERS, PROGNOSTICS, names

Array = NDArray[np.float64]
JUDGED = (*names(PROGNOSTICS), *WATERS)


def chain(integration: tuple[int, int], **config: Any) -> Chain:
    return Chain(Settings.from_reference(reference.Config(**config)), integration=integration)


def in_torch(made: Chain, state: dict[str, Array], timestep: float) -> dict[str, Array]:
    with torch.no_grad():
        out = made(*map(torch.from_numpy, pack(state)), timestep)
    columns = torch.cat([out.prognostic, out.diagnostic], dim=1).numpy().T
    return dict(zip(names(PROGNOSTICS + DIAGNOSTICS), columns, strict=True))


def in_engine(
    path: Path,
    integration: tuple[int, int],
    state: dict[str, Array],
    timestep: float,
    **config: Any,
) -> dict[str, Array]:
    given = reference.Config(**config)
    model = exact_model(given, title="t", command="", integration=integration)
    modelfile.write(model, path / "stages.safetensors")
    air = {name: state[name] for name in names(ENVIRONMENT + PROGNOSTICS)}
    return emulator.load(path / "stages.safetensors").step(air, timestep)


def scores(
    state: dict[str, Array], truth: dict[str, Array], after: dict[str, Array]
) -> tuple[float, float]:
    found = metrics.tendency_r2(state, truth, after, JUDGED)
    return metrics.mean(found), metrics.worst(found)[1]


@pytest.fixture(scope="module")
def cells() -> dict[str, Array]:
    return states.spun_up(2000, 5)


@pytest.mark.parametrize("timestep", [450.0, 1800.0])
def test_many_strides_are_what_short_steps_tend_to(
    cells: dict[str, Array], timestep: float
) -> None:
    few = {name: value[:400] for name, value in cells.items()}
    truth = reference.step(few, timestep, substeps=240)
    mean, worst = scores(few, truth, in_torch(chain((4, 60)), few, timestep))
    assert mean > 0.998
    assert worst > 0.98


@pytest.mark.parametrize("timestep", [450.0, 900.0, 1800.0])
def test_two_stages_beat_fifteen_steps(
    cells: dict[str, Array], timestep: float, tmp_path: Path
) -> None:
    truth = reference.step(cells, timestep, substeps=240)
    mean, worst = scores(cells, truth, in_engine(tmp_path, (2, 8), cells, timestep))
    assert mean > 0.99
    assert worst > 0.8  # two cells of 2000 with bursts of nucleation at 225 K decide it
    assert mean > scores(cells, truth, reference.step(cells, timestep, substeps=15))[0]


def test_two_stages_with_kappa_water(tmp_path: Path) -> None:
    cells = states.spun_up(1000, 5)
    truth = reference.step(cells, 900.0, water="kappa", substeps=240)
    mean, worst = scores(cells, truth, in_engine(tmp_path, (2, 8), cells, 900.0, water="kappa"))
    assert mean > 0.99
    assert worst > 0.8


@pytest.mark.parametrize("scheme", ["zsr", "kappa"])
@pytest.mark.parametrize("profile", ["ham2", "m7_2004"])
@pytest.mark.parametrize("kind", ["mixed", "all_modes", "space_filling"])
def test_engine_and_torch_agree(kind: str, profile: Profile, scheme: Water, tmp_path: Path) -> None:
    state = states.sample(3000, 6, kind)
    config: dict[str, Any] = {"profile": profile, "water": scheme}
    ours = in_torch(chain((2, 6), **config), state, 1800.0)
    engine = in_engine(tmp_path, (2, 6), state, 1800.0, **config)
    for name in names(PROGNOSTICS):
        change = np.abs(ours[name] - state[name])
        error = np.abs(engine[name] - ours[name])
        # Nine in ten within float's precision; a threshold missed by a hair may change the rest.
        allowed = 2e-3 * change + 2e-6 * np.abs(state[name])
        assert np.mean(error <= allowed) > 0.9, name
        assert metrics.r2(ours[name] - state[name], engine[name] - state[name]) > 0.99, name


@pytest.mark.parametrize("profile", ["ham2", "m7_2004"])
@pytest.mark.parametrize("timestep", [60.0, 3600.0])
def test_budgets_close_and_nothing_is_negative(
    profile: Profile, timestep: float, tmp_path: Path
) -> None:
    state = states.sample(3000, 7, "space_filling")
    # A mode that is missing, and cells without air's gas or particles.
    state["num_ns"][::3] = state["so4_ns"][::3] = 0.0
    state["h2so4"][::5] = 0.0
    for name in names(PROGNOSTICS):
        state[name][::50] = 0.0
    for after in (
        in_torch(chain((2, 6), profile=profile), state, timestep),
        in_engine(tmp_path, (2, 6), state, timestep, profile=profile),
    ):
        errors = metrics.closure(state, after, timestep)
        assert all(error.max() <= 1e-14 for error in errors.values())
        assert all((after[name] >= 0.0).all() for name in names(PROGNOSTICS))
        assert all(np.isfinite(value).all() for value in after.values())


def test_a_burst_that_takes_all_gas_leaves_none_below_zero(tmp_path: Path) -> None:
    """Cold air without production, where nucleation would take more than there is."""
    state = states.sample(400, 9, "clean_stratosphere")
    for name in names(NUMBERS + MASSES):
        state[name][:] *= 1e-4
    state["temperature"][:] = np.linspace(195.0, 200.0, 400)
    state["h2so4"][:] = np.geomspace(1e5, 1e9, 400)
    state["h2so4_production"][:] = state["cloud_fraction"][:] = 0.0
    for timestep in (60.0, 1800.0):
        after = in_engine(tmp_path, (2, 8), state, timestep)
        assert (after["h2so4"] >= 0.0).all()


@pytest.mark.parametrize("beside", [False, True])
def test_a_burst_begins_when_the_gas_falls_to_where_clusters_form(
    beside: bool, cells: dict[str, Array], tmp_path: Path
) -> None:
    # So much gas that clusters are too small to nucleate until most of the step is over.
    clean = {name: np.zeros(1) for name in names(ENVIRONMENT + PROGNOSTICS)}
    clean |= {
        "pressure": np.array([23020.0]),
        "temperature": np.array([242.5]),
        "relative_humidity": np.array([0.187]),
        "h2so4": np.array([3.819e9]),
        "so4_as": np.array([9.871e8]),
        "num_as": np.array([2.6]),
    }
    if beside:  # cells without a burst stand beside it in the engine's lanes
        clean = {name: np.concatenate([x, cells[name][:40]]) for name, x in clean.items()}
    formed = reference.step(clean, 450.0, substeps=240)["num_ns"][0]
    soon = reference.step(clean, 300.0, substeps=240)["num_ns"][0]
    assert formed > 1e8
    assert soon < 1.0
    for after in (
        in_torch(chain((1, 12)), clean, 450.0),
        in_engine(tmp_path, (1, 12), clean, 450.0),
    ):
        assert after["num_ns"][0] == pytest.approx(formed, rel=0.5)
    assert in_engine(tmp_path, (1, 12), clean, 300.0)["num_ns"][0] < 1.0


def test_a_burst_does_not_depend_on_the_cells_beside_it(tmp_path: Path) -> None:
    """With sinks so large that the gas is gone while strides are still short."""
    count, together = 300, 64
    random = np.random.default_rng(1)

    def drawn(low: float, high: float) -> Array:
        return np.asarray(10.0 ** random.uniform(low, high, count))

    none = {name: np.zeros(count) for name in names(ENVIRONMENT + PROGNOSTICS)}
    so4 = drawn(10.0, 14.0)
    given = none | {
        "pressure": random.uniform(1e4, 9e4, count),
        "temperature": random.uniform(200.0, 275.0, count),
        "relative_humidity": random.uniform(0.05, 1.0, count),
        "h2so4": drawn(8.0, 14.0),
        "so4_as": so4,
        "num_as": so4 / drawn(6.0, 8.8),
    }
    warm = {"pressure": 9e4, "temperature": 295.0, "relative_humidity": 0.5, "h2so4": 1e4}
    cold = {"pressure": 2e4, "temperature": 220.0, "relative_humidity": 0.5, "h2so4": 3e7}

    def beside(neighbour: dict[str, float]) -> dict[str, Array]:
        rows = {name: np.full((count, together), neighbour.get(name, 0.0)) for name in given}
        for name, value in given.items():
            rows[name][:, 0] = value
        after = in_engine(tmp_path, (1, 12), {k: x.ravel() for k, x in rows.items()}, 1800.0)
        return {name: after[name][::together] for name in names(PROGNOSTICS + DIAGNOSTICS)}

    alone = beside(dict.fromkeys(given, 0.0) | {"pressure": 1e5, "temperature": 300.0})
    assert (alone["num_ns"] > 1.0).sum() > 20
    for neighbour in (warm, cold):
        for name, value in beside(neighbour).items():
            np.testing.assert_array_equal(value, alone[name], err_msg=name)


def test_cloudy_gas_goes_to_droplets(cells: dict[str, Array]) -> None:
    few = {name: value[:300].copy() for name, value in cells.items()}
    few["cloud_fraction"][:] = 0.5
    truth = reference.step(few, 1800.0, substeps=240)
    after = in_torch(chain((2, 8)), few, 1800.0)
    change = truth["h2so4"] - few["h2so4"]
    assert metrics.r2(change, after["h2so4"] - few["h2so4"]) > 0.99
    for name in ("so4_as", "so4_cs"):
        assert metrics.r2(truth[name] - few[name], after[name] - few[name]) > 0.98, name


def test_switched_off_processes_do_nothing() -> None:
    state = states.sample(200, 8, "all_modes")
    still = chain((2, 4), condensation=False, coagulation=False, nucleation="none")
    state["h2so4_production"][:] = 1e4
    after = in_torch(still, state, 600.0)
    assert after["h2so4"] == pytest.approx(state["h2so4"] + 6e6)
    insoluble = ("num_ki", "num_ai", "num_ci", "du_ai", "bc_ki")
    assert all(after[name] == pytest.approx(state[name], rel=1e-12) for name in insoluble)


@pytest.mark.parametrize("integration", [(2, 0), (0, 3), (-1, 2)])
def test_half_an_integration_is_refused(integration: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="stages of"):
        chain(integration)
