"""What the networks are taught: the exact forms at the records' states, then the step itself."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from pyemu.blocks import ageing, coagulation, condensation, nucleation, properties, water
from pyemu.blocks.chain import Chain
from pyemu.blocks.learned import (
    MOLECULES,
    NETWORKS,
    TRUNK,
    Form,
    columns_of,
    particle_features,
)
from pyemu.blocks.modes import INSOLUBLE_NAMES
from pyemu.blocks.network import Network
from pyemu.blocks.numerics import columns, ratio
from pyemu.blocks.settings import Settings
from pyemu.feed import Places
from pyemu.metrics import SMALL, r2
from pyemu.records import WATERS, Cells
from pyemu.variables import DIAGNOSTICS, ENVIRONMENT, MASSES, NUMBERS, PROGNOSTICS, index, names

SCORED = (*names(PROGNOSTICS), *WATERS)
"""Variables whose tendencies are taught and judged."""
_WATER_PLACES = [index(name, DIAGNOSTICS) for name in WATERS]
_CHUNK = 8192
_SLIGHT = 1e-3
"""Weight that every cell has at least when some are drawn by it [1]."""
_WEIGHTS = (0.03, 30.0)
"""Bounds of what a lesson's cells count by the water that they hold [1]."""
_PIECE = 65536


class Lesson(NamedTuple):
    """Features and targets of a network, which features are there, and the targets' weights."""

    features: Tensor
    there: Tensor
    targets: Tensor
    known: Tensor


class Steps(NamedTuple):
    """A step's input and the tendencies it should make (n, 30), float64."""

    environment: Tensor
    before: Tensor
    timestep: Tensor
    water: Tensor
    truth: Tensor


Sheet = dict[str, Lesson]
Air = tuple[Tensor, Tensor, Tensor]
"""Pressure [Pa], temperature [K], relative humidity [1], (n,)."""


@torch.no_grad()
def lessons(settings: Settings, cells: Cells, learned: Mapping[str, Form] | Sequence[str]) -> Sheet:
    """Evaluate the exact forms of `learned` networks at the states before the step, float64.

    Names stand for what `pyemu.blocks.learned.NETWORKS` says that these networks read and give.
    """
    if not isinstance(learned, Mapping):
        learned = {name: NETWORKS[name] for name in learned}
    environment, before = _double(cells.environment), _double(cells.before).clamp(min=0.0)
    timestep = _double(cells.timestep)
    pieces = zip(*(x.split(_PIECE) for x in (environment, before, timestep)), strict=True)
    sheets = [_lessons(settings, air, state, dt, learned) for air, state, dt in pieces]
    return {
        name: Lesson(*(torch.cat(parts) for parts in zip(*(s[name] for s in sheets), strict=True)))
        for name in sheets[0]
    }


def _lessons(
    settings: Settings,
    environment: Tensor,
    state: Tensor,
    timestep: Tensor,
    learned: Mapping[str, Form],
) -> Sheet:
    pressure, temperature, humidity = (environment[:, index(n, ENVIRONMENT)] for n in _AIR)
    air = pressure, temperature, humidity
    mass = state[:, [index(v.name, PROGNOSTICS) for v in MASSES]]
    number = state[:, [index(v.name, PROGNOSTICS) for v in NUMBERS]]
    uptake = water.uptake(settings, *air)
    none = torch.zeros_like(number[:, 0])
    found = properties.particles(settings, uptake, mass, number, none)
    sheet: Sheet = {}
    for name, form in learned.items():
        if name == "water":
            sheet[name] = _solutions(settings, air)
        elif name == "salt":
            sheet[name] = _salts(humidity)
        elif name == "nucleation":
            gas = _gas_left(settings, environment, state, timestep, found, number)
            sheet[name] = _clusters(temperature, humidity, gas)
        else:
            sheet[name] = _rates(settings, form, air, found, number)
    return sheet


def single(sheet: Sheet) -> Sheet:
    """Give the lessons in float32, as the networks are trained."""
    return {
        name: Lesson(*(t.float() if t.is_floating_point() else t for t in lesson))
        for name, lesson in sheet.items()
    }


def take_lessons(sheet: Sheet, rows: Places) -> Sheet:
    """Pick cells."""
    chosen = torch.from_numpy(rows)
    return {name: Lesson(*(t[chosen] for t in lesson)) for name, lesson in sheet.items()}


def weighty(lesson: Lesson, count: int, seed: Sequence[int]) -> Lesson:
    """Draw `count` cells, those of much weight more often, and lower their weights by as much."""
    importance = lesson.known.mean(dim=1).double().numpy() + _SLIGHT
    importance = importance / importance.sum()
    rows = np.random.default_rng(list(seed)).choice(len(importance), count, p=importance)
    share = torch.from_numpy(importance[rows] * len(importance))[:, None]
    drawn = Lesson(*(t[torch.from_numpy(rows)] for t in lesson))
    return drawn._replace(known=drawn.known / share.to(drawn.known.dtype))


def lesson_loss(network: Network, lesson: Lesson) -> Tensor:
    """Weighted mean square error: of logarithms and densities, all relative errors."""
    given = network(lesson.features, lesson.there)
    wrong = torch.where(lesson.known > 0.0, given - lesson.targets, 0.0)
    return (lesson.known * wrong.square()).sum() / lesson.known.sum().clamp(min=1.0)


def steps(cells: Cells) -> Steps:
    """Collect steps; where the records have no water before the step, it counts from 0.

    Where they have none after it, its tendency is NaN, and neither taught nor judged.
    """
    before = np.zeros((len(cells), len(WATERS))) if cells.water is None else cells.water
    after = np.full_like(before, np.nan) if cells.water_after is None else cells.water_after
    late = np.concatenate([cells.after, after], axis=1)
    truth = late - np.concatenate([cells.before, before], axis=1)
    arrays = (cells.environment, cells.before, cells.timestep, before, truth)
    return Steps(*map(_double, arrays))


def take_steps(given: Steps, rows: Places) -> Steps:
    """Pick cells."""
    chosen = torch.from_numpy(rows)
    return Steps(*(t[chosen] for t in given))


def tendencies(chain: Chain, given: Steps) -> Tensor:
    """Tendencies over the step that the chain makes (n, 30)."""
    after = chain(given.environment, given.before, given.timestep)
    late = torch.cat([after.prognostic, after.diagnostic[:, _WATER_PLACES]], dim=1)
    change: Tensor = late - torch.cat([given.before, given.water], dim=1)
    return change


def step_loss(change: Tensor, truth: Tensor, scale: Tensor, asinh: float) -> Tensor:
    """Huber loss of the tendencies over their spread `scale`, plus `asinh` times that of asinh.

    Parameters
    ----------
    change, truth
        (n, 30)
    scale
        Standard deviation of the true tendencies, 0 where they do not vary (30,).
    """
    varies = scale > 0.0
    unit = torch.where(varies, scale, 1.0)
    wrong = ((change - truth) / unit)[:, varies]
    loss = torch.nn.functional.huber_loss(wrong, torch.zeros_like(wrong))
    if asinh:
        small = SMALL * unit
        bent = (torch.asinh(change / small) - torch.asinh(truth / small))[:, varies]
        loss = loss + asinh * bent.square().mean()
    return loss


@torch.no_grad()
def judge(chain: Chain, given: Steps) -> dict[str, float]:
    """R2 of each variable's tendency in physical units."""
    count = len(given.before)
    parts = [Steps(*(t[i : i + _CHUNK] for t in given)) for i in range(0, count, _CHUNK)]
    change = torch.cat([tendencies(chain, part) for part in parts]).numpy()
    truth = given.truth.numpy()
    return {name: r2(truth[:, i], change[:, i]) for i, name in enumerate(SCORED)}


_AIR = ("pressure", "temperature", "relative_humidity")


def _double(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> Tensor:
    return torch.from_numpy(np.asarray(values, dtype=np.float64))


def _rates(
    settings: Settings, form: Form, air: Air, found: properties.Particles, number: Tensor
) -> Lesson:
    """Give what a network of the particles gives: sinks, kernels, coatings, or all of them."""
    pressure, temperature, _ = air
    radius = found.wet_radius
    kernel = coagulation.kernels(settings, pressure, temperature, radius, found.density, number)
    each = torch.ones_like(radius)
    sink = condensation.condensation_sink(settings, pressure, temperature, radius, each)
    coats = ageing.coating(settings, radius)
    coated = columns(coats[mode] for mode in INSOLUBLE_NAMES)
    values = torch.cat((sink.T, kernel.kernel.T, coated.T)).T  # as TRUNK has them
    values = values[:, columns_of(form.targets, TRUNK.targets)]
    features, there = particle_features(pressure, temperature, radius, found.density)
    places = columns_of(form.features, TRUNK.features)
    known = values > 0.0
    targets = torch.log(torch.where(known, values, 1.0))
    return Lesson(features[:, places], there[:, places], targets, known.double())


def _solutions(settings: Settings, air: Air) -> Lesson:
    """Sulfuric acid at the five sizes between which the learned form interpolates.

    Weighted by the water of the middle one, as the most dilute solutions hold most water.
    """
    features = water.solution_features(*air)
    molecules = torch.tensor(MOLECULES, dtype=features.dtype).expand(len(features), -1)
    if settings.by_kappa:
        raise ValueError("networks of water and salt are of ZSR water, not of kappa water")
    uptake = water.uptake(settings, *air)
    assert isinstance(uptake, water.Uptake)
    solution = uptake.solution(molecules)
    targets = torch.cat((torch.log(solution.weight_percent).T, solution.density.T)).T
    lesson = _of_all(features, targets)
    held = (1.0 / solution.weight_percent[:, len(MOLECULES) // 2, None]).clamp(*_WEIGHTS)
    return lesson._replace(known=lesson.known * held)


def _salts(humidity: Tensor) -> Lesson:
    """Water of the salts where they are not dry, weighted by how much of it there is.

    A step changes little of a sea salt particle's water, so that near saturation, where there is
    most of it, the learned form has to be right to 1e-5.
    """
    features = water.salt_features(humidity)
    targets = columns(torch.log(water.per_salt(features[:, 0], s)) for s in water.SALTS)
    lesson = _of_all(features, targets)
    held = torch.exp(targets).square().clamp(*_WEIGHTS)
    return lesson._replace(known=held * (humidity >= water.DELIQUESCENCE)[:, None])


def _of_all(features: Tensor, targets: Tensor) -> Lesson:
    there = torch.ones_like(features, dtype=torch.bool)
    return Lesson(features, there, targets, torch.ones_like(targets))


def _gas_left(
    settings: Settings,
    environment: Tensor,
    state: Tensor,
    timestep: Tensor,
    found: properties.Particles,
    number: Tensor,
) -> Tensor:
    """Gas that condensation leaves to nucleation, where there is no cloud [cm-3] (n,)."""
    pressure, temperature, cloud, production = (
        environment[:, index(n, ENVIRONMENT)]
        for n in ("pressure", "temperature", "cloud_fraction", "h2so4_production")
    )
    gas = state[:, index("h2so4", PROGNOSTICS)]
    production = torch.maximum(production, -gas / timestep)
    if settings.older or not settings.condensation:
        gas = (gas + production * timestep).clamp(min=0.0)
        production = torch.zeros_like(gas)
    if settings.condensation:
        sink = condensation.condensation_sink(
            settings, pressure, temperature, found.wet_radius, number
        )
        gas = condensation.condense(settings, timestep, cloud, production, gas, sink).gas
    if settings.older:
        return gas
    return ratio(gas, 1.0 - cloud, cloud < 1.0)


def _clusters(temperature: Tensor, humidity: Tensor, gas: Tensor) -> Lesson:
    """Rate and cluster, bent towards a constant where M7's limits make them 0 anyhow.

    Where the limits are far off, a network only has to stay on their other side; weights are
    greatest at the edge of a cluster of four, where M7 goes from its highest rates to none.
    """
    features, there = nucleation.features_of(temperature, humidity, gas)
    ln_rate, ln_cluster, fraction = nucleation.critical_cluster(*features.unbind(1))
    ln_least, ln_four = math.log(nucleation.RATES[0]), math.log(nucleation.LEAST_CLUSTER)
    targets = columns(
        (
            _bent(ln_rate.clamp(max=nucleation.LN_RATE_MAX), ln_least - 2.0, 4.0),
            -_bent(-_bent(ln_cluster, ln_four - 0.7, 0.5), -5.0, 1.0),
            -_bent(-_bent(ln_cluster + torch.log(fraction), -1.0, 0.5), -5.0, 1.0),
        )
    )
    fast, large = ln_rate > ln_least - 2.0, ln_cluster > ln_four - 0.5
    edge = 1.0 + 9.0 * torch.exp(-(((ln_cluster - ln_four) / 0.15) ** 2))
    known = columns(
        (
            torch.where(large, torch.where(fast, 1.0, 0.1), 1e-3),
            torch.where(fast, torch.where(large, 100.0 * edge, 10.0), 1e-2),
            torch.where(fast & large, 10.0, 1e-3),
        )
    )
    return Lesson(features, there, targets, known * (gas > 0.0)[:, None])


def _bent(x: Tensor, low: float, scale: float) -> Tensor:
    """Go on as a logarithm below `low`, smoothly."""
    below = torch.log1p((low - x).clamp(min=0.0) / scale)
    return torch.where(x < low, low - scale * below, x)
