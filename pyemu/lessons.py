"""What the networks are taught: the exact forms at the records' states, then the step itself."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from pyemu.blocks import coagulation, properties, water
from pyemu.blocks.chain import Chain
from pyemu.blocks.network import Network
from pyemu.blocks.settings import Settings
from pyemu.feed import Places
from pyemu.metrics import SMALL, r2
from pyemu.records import WATERS, Cells
from pyemu.variables import DIAGNOSTICS, ENVIRONMENT, MASSES, NUMBERS, PROGNOSTICS, index, names

SCORED = (*names(PROGNOSTICS), *WATERS)
"""Variables whose tendencies are taught and judged."""
_WATER_PLACES = [index(name, DIAGNOSTICS) for name in WATERS]
_CHUNK = 8192
_PIECE = 65536


class Lesson(NamedTuple):
    """Features and targets of a network, and which count; all (n, ...)."""

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
def lessons(settings: Settings, cells: Cells, learned: Sequence[str]) -> Sheet:
    """Evaluate the exact forms of the `learned` blocks at the states before the step, float64."""
    environment, before = _double(cells.environment), _double(cells.before).clamp(min=0.0)
    pieces = zip(environment.split(_PIECE), before.split(_PIECE), strict=True)
    sheets = [_lessons(settings, air, state, learned) for air, state in pieces]
    return {
        name: Lesson(*(torch.cat(parts) for parts in zip(*(s[name] for s in sheets), strict=True)))
        for name in sheets[0]
    }


def _lessons(
    settings: Settings, environment: Tensor, state: Tensor, learned: Sequence[str]
) -> Sheet:
    pressure, temperature, humidity = (environment[:, index(n, ENVIRONMENT)] for n in _AIR)
    air = pressure, temperature, humidity
    mass = state[:, [index(v.name, PROGNOSTICS) for v in MASSES]]
    number = state[:, [index(v.name, PROGNOSTICS) for v in NUMBERS]]
    uptake = water.uptake(settings, *air)
    none = torch.zeros_like(number[:, 0])
    sheet: Sheet = {}
    if "coagulation" in learned:
        found = properties.particles(settings, uptake, mass, number, none)
        sheet["coagulation"] = _kernels(settings, air, found, number)
    if "water" in learned:
        dry = properties.dry_particles(settings, mass, number, none)
        sheet["water"] = _solutions(settings, air, dry.molecules)
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


def lesson_loss(network: Network, lesson: Lesson) -> Tensor:
    """Mean square error of the targets that count: ln K, ln W and density, all relative errors."""
    given = network(lesson.features, lesson.there)
    wrong = torch.where(lesson.known, given - lesson.targets, 0.0)
    return wrong.square().sum() / lesson.known.sum().clamp(min=1)


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


def _kernels(settings: Settings, air: Air, found: properties.Particles, number: Tensor) -> Lesson:
    pressure, temperature, _ = air
    state = (pressure, temperature, found.wet_radius, found.density)
    kernel = coagulation.kernels(settings, *state, number).kernel
    features, there = coagulation.kernel_features(*state)
    known = kernel > 0.0
    targets = torch.log(torch.where(known, kernel, 1.0))
    return Lesson(features=features, there=there, targets=targets, known=known)


def _solutions(settings: Settings, air: Air, molecules: Tensor) -> Lesson:
    acid = molecules > 0.0
    molecules = torch.where(acid, molecules, 1e3)
    solution = water.uptake(settings, *air).solution(molecules)
    fed: list[Tensor] = []  # what the chain itself would give a network
    blank = Network.hidden(water.FEATURES, water.TARGETS, ())
    blank.register_forward_pre_hook(lambda _, given: fed.append(given[0]))
    with torch.no_grad():
        water.uptake(settings, *air, blank).solution(molecules)
    features = fed[0]
    targets = torch.stack((torch.log(solution.weight_percent), solution.density), dim=-1)
    known = acid[..., None].expand_as(targets)
    return Lesson(
        features=features,
        there=acid[..., None].expand_as(features),
        targets=targets,
        known=known,
    )
