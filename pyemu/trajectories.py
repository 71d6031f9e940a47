"""Many boxes of air side by side, each a little different: where records get lifelike states.

As `pyemu.box`, with what a model's transport adds: mixing with other air, noise, passing clouds.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pyemu import reference, states
from pyemu.scenarios import scenario
from pyemu.variables import ENVIRONMENT, MODES, PROGNOSTICS, names

Array = NDArray[np.float64]
State = dict[str, Array]

DAY, HOUR = 86400.0, 3600.0
SPIN_UP = 6.0 * HOUR
_NOON, _WARMEST = 12.0 * HOUR, 15.0 * HOUR
_SPREAD = 1.0
"""ln of the factor by which sources differ between boxes, standard deviation [1]."""
_MIXING = 1.0 * DAY
_CLOUDS = 3.0 * HOUR
_NOISE_MODE, _NOISE_SPECIES = 0.1, 0.02
"""ln of what transport does to a mode, and to each species of it, in an hour [1]."""


@dataclass(frozen=True, kw_only=True)
class _Forcing:
    """Per box: amplitudes, emission rates [s-1] and loss rates [s-1] by variable."""

    production: Array
    warming: Array
    drying: Array
    emission: State
    loss: State


def trajectories(
    regimes: Sequence[str],
    boxes: int,
    moments: int,
    timestep: float,
    generator: np.random.Generator,
    config: reference.Config,
    substeps: int = 1,
    threads: int = 1,
) -> State:
    """States that boxes pass through, each before a step of M7.

    Parameters
    ----------
    regimes, boxes
        Kinds of air (`pyemu.scenarios`), and boxes of each.
    moments
        States taken of a box, at random steps of its day; after six hours of spin-up.
    timestep
        [s]
    config, substeps, threads
        As for `pyemu.reference.step`.

    Returns
    -------
    dict
        Environment and prognostics, (moments*len(regimes)*boxes,): all boxes at the first moment,
        then at the second, and so on.
    """
    drawn = [states.sample(boxes, int(generator.integers(2**31)), name) for name in regimes]
    initial = {name: np.concatenate([state[name] for state in drawn]) for name in drawn[0]}
    count = boxes * len(regimes)
    forcing = _forcing(regimes, boxes, generator)
    clock = generator.random(count) * DAY
    settle = math.ceil(SPIN_UP / timestep)
    steps = max(moments, round(DAY / timestep))
    chosen = {settle + int(s) for s in generator.choice(steps, moments, replace=False)}
    state = {name: initial[name] for name in names(PROGNOSTICS)}
    air = {name: initial[name].copy() for name in names(ENVIRONMENT)}
    taken: list[State] = []
    for step in range(settle + steps):
        _weather(air, initial, forcing, clock + step * timestep, boxes, timestep, generator)
        before = air | _transported(state, initial, forcing, boxes, timestep, generator)
        if step in chosen:
            taken.append({name: value.copy() for name, value in before.items()})
        after = reference.step(before, timestep, config=config, substeps=substeps, threads=threads)
        state = {name: after[name] for name in state}
    return {name: np.concatenate([one[name] for one in taken]) for name in taken[0]}


def _forcing(regimes: Sequence[str], boxes: int, generator: np.random.Generator) -> _Forcing:
    """Each regime's scenario, its sources stronger or weaker by box."""
    count = boxes * len(regimes)
    factor = np.exp(_SPREAD * generator.standard_normal((len(MODES) + 1, count)))
    plans = [scenario(name) for name in regimes for _ in range(boxes)]
    emission: State = {v.name: np.zeros(count) for v in PROGNOSTICS}
    loss: State = {v.name: np.zeros(count) for v in PROGNOSTICS}
    for place, mode in enumerate(MODES):
        told = [plan.sources.get(mode.name) for plan in plans]
        rate = np.array([s.number / HOUR if s else 0.0 for s in told]) * factor[place]
        radius = np.array([s.radius * 1e-4 if s else 0.0 for s in told])
        shares = {
            name: np.array([s.mixture.get(name, 0.0) if s else 0.0 for s in told])
            for name in mode.species
        }
        emission[f"num_{mode.name}"] = rate
        emission |= states.masses(mode, rate, radius, shares)
        lifetime = np.array([plan.lifetime[mode.name] * DAY for plan in plans])
        loss |= {v.name: 1.0 / lifetime for v in PROGNOSTICS if v.mode == mode.name}
    return _Forcing(
        production=np.array([plan.production for plan in plans]) * factor[-1],
        warming=np.array([plan.warming for plan in plans]),
        drying=np.array([plan.drying for plan in plans]),
        emission=emission,
        loss=loss,
    )


def _weather(
    air: State,
    initial: State,
    forcing: _Forcing,
    moment: Array,
    boxes: int,
    timestep: float,
    generator: np.random.Generator,
) -> None:
    """Set the environment at a time of day [s]; clouds come from and go to boxes alike."""
    warm = np.cos(2.0 * math.pi * (moment - _WARMEST) / DAY)
    sun = np.maximum(np.cos(2.0 * math.pi * (moment - _NOON) / DAY), 0.0)
    air["temperature"] = initial["temperature"] + forcing.warming * warm
    humidity = initial["relative_humidity"] - forcing.drying * warm
    air["relative_humidity"] = np.clip(humidity, 0.0, 1.0)
    air["h2so4_production"] = forcing.production * sun
    passing = generator.random(moment.size) < timestep / _CLOUDS
    other = _alike(moment.size, boxes, generator)
    cover = np.where(passing, initial["cloud_fraction"][other], air["cloud_fraction"])
    air["cloud_fraction"] = cover


def _transported(
    state: State,
    initial: State,
    forcing: _Forcing,
    boxes: int,
    timestep: float,
    generator: np.random.Generator,
) -> State:
    """Mix with other air of the same kind, emit, deposit, and disturb whole modes and species."""
    count = state["h2so4"].size
    other = _alike(count, boxes, generator)
    hours = math.sqrt(timestep / HOUR)
    kept = math.exp(-timestep / _MIXING)
    shake = {
        mode.name: np.exp(_NOISE_MODE * hours * generator.standard_normal(count)) for mode in MODES
    }
    moved: State = {}
    for variable in PROGNOSTICS:
        name = variable.name
        mixed = kept * state[name] + (1.0 - kept) * initial[name][other]
        mixed = mixed * np.exp(-timestep * forcing.loss[name])
        noise = np.exp(_NOISE_SPECIES * hours * generator.standard_normal(count))
        noise = noise * shake[variable.mode] if variable.mode else noise
        moved[name] = mixed * noise + timestep * forcing.emission[name]
    return moved


def _alike(count: int, boxes: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """For each box another of the same regime, or itself."""
    return np.arange(count) // boxes * boxes + generator.integers(boxes, size=count)
