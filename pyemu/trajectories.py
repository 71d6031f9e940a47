"""Many boxes of air side by side, each a little different: where records get lifelike states.

As `pyemu.box`, with what a model's transport adds: mixing with other air, noise, passing clouds.
What drives the boxes does not depend on their state, so that several steps can ride in the same.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pyemu import states
from pyemu.scenarios import Forcing, scenario
from pyemu.variables import ENVIRONMENT, MODES, PROGNOSTICS, names

Array = NDArray[np.float64]
State = dict[str, Array]
Step = Callable[[State, float], Mapping[str, Array]]
"""As `pyemu.reference.step`: state and timestep [s] -> prognostics (and more) after the step."""

DAY, HOUR = 86400.0, 3600.0
SPIN_UP = 6.0 * HOUR
_NOON, _WARMEST = 12.0 * HOUR, 15.0 * HOUR
_SPREAD = 1.0
"""ln of the factor by which sources differ between boxes, standard deviation [1]."""
_CLOUDS = 3.0 * HOUR
_NOISE_MODE, _NOISE_SPECIES = 0.1, 0.02
"""ln of what transport does to a mode, and to each species of it, in an hour [1]."""


@dataclass(frozen=True, kw_only=True)
class _Drive:
    """Per box: amplitudes, emission rates [s-1] and loss rates [s-1] by variable."""

    production: Array
    warming: Array
    drying: Array
    emission: State
    loss: State


@dataclass(frozen=True, kw_only=True)
class Moment:
    """What a step of time does to all boxes: environment, air mixed in, noise by variable."""

    air: State
    other: NDArray[np.int64]
    noise: State


class Boxes:
    """Boxes of several regimes, all that drives them drawn from a generator.

    Parameters
    ----------
    regimes, count
        Kinds of air (`pyemu.scenarios`), and boxes of each.
    timestep
        [s]
    forcing
        Of another climate.
    mixing
        Time in which transport replaces a box's air by other air of its kind [days].
    """

    def __init__(
        self,
        regimes: Sequence[str],
        count: int,
        timestep: float,
        generator: np.random.Generator,
        forcing: Forcing | None = None,
        mixing: float = 1.0,
    ) -> None:
        forcing = forcing or Forcing()
        drawn = [states.sample(count, int(generator.integers(2**31)), name) for name in regimes]
        self.initial: State = {k: np.concatenate([s[k] for s in drawn]) for k in drawn[0]}
        _force(self.initial, forcing)
        self.count, self.timestep = count, timestep
        self._mixing = mixing * DAY
        self._drive = _drive(regimes, count, forcing, generator)
        self._clock = generator.random(len(self)) * DAY
        self._generator = generator
        self._step = 0
        self._air = {name: self.initial[name].copy() for name in names(ENVIRONMENT)}

    def __len__(self) -> int:
        return len(self.initial["h2so4"])

    @property
    def start(self) -> State:
        """Prognostics before the first moment."""
        return {name: self.initial[name] for name in names(PROGNOSTICS)}

    def moment(self) -> Moment:
        """Draw what the next step of time brings."""
        self._weather(self._clock + self._step * self.timestep)
        self._step += 1
        other = self._alike()
        size, hours = len(self), math.sqrt(self.timestep / HOUR)
        normal = self._generator.standard_normal
        shake = {mode.name: np.exp(_NOISE_MODE * hours * normal(size)) for mode in MODES}
        noise: State = {}
        for variable in PROGNOSTICS:
            noise[variable.name] = np.exp(_NOISE_SPECIES * hours * normal(size))
            if variable.mode:
                noise[variable.name] = noise[variable.name] * shake[variable.mode]
        air = {name: value.copy() for name, value in self._air.items()}
        return Moment(air=air, other=other, noise=noise)

    def before(self, state: Mapping[str, Array], moment: Moment) -> State:
        """Mix with other air, deposit, disturb and emit: the state that M7 is given."""
        kept = math.exp(-self.timestep / self._mixing)
        moved: State = {}
        for name in names(PROGNOSTICS):
            mixed = kept * state[name] + (1.0 - kept) * self.initial[name][moment.other]
            mixed = mixed * np.exp(-self.timestep * self._drive.loss[name])
            moved[name] = mixed * moment.noise[name] + self.timestep * self._drive.emission[name]
        return moment.air | moved

    def _weather(self, moment: Array) -> None:
        """Set the environment at a time of day [s]; clouds come from and go to boxes alike."""
        air, initial, drive = self._air, self.initial, self._drive
        warm = np.cos(2.0 * math.pi * (moment - _WARMEST) / DAY)
        sun = np.maximum(np.cos(2.0 * math.pi * (moment - _NOON) / DAY), 0.0)
        air["temperature"] = initial["temperature"] + drive.warming * warm
        humidity = initial["relative_humidity"] - drive.drying * warm
        air["relative_humidity"] = np.clip(humidity, 0.0, 1.0)
        air["h2so4_production"] = drive.production * sun
        passing = self._generator.random(moment.size) < self.timestep / _CLOUDS
        cover = initial["cloud_fraction"][self._alike()]
        air["cloud_fraction"] = np.where(passing, cover, air["cloud_fraction"])

    def _alike(self) -> NDArray[np.int64]:
        """For each box another of the same regime, or itself."""
        size = len(self)
        chosen = self._generator.integers(self.count, size=size)
        return np.arange(size) // self.count * self.count + chosen


def trajectories(
    boxes: Boxes, moments: int, days: float, generator: np.random.Generator, drive: Step
) -> State:
    """States that boxes pass through, each before a step of M7.

    Parameters
    ----------
    moments
        States taken of a box, at random steps of `days`, or of as many steps as it takes; after
        six hours of spin-up.
    drive
        What moves the boxes along: M7, its sub-steps, or an emulator.

    Returns
    -------
    dict
        Environment and prognostics, (moments*len(boxes),): all boxes at the first moment, then at
        the second, and so on.
    """
    settle = math.ceil(SPIN_UP / boxes.timestep)
    steps = max(moments, round(days * DAY / boxes.timestep))
    chosen = {settle + int(s) for s in generator.choice(steps, moments, replace=False)}
    state: Mapping[str, Array] = boxes.start
    taken: list[State] = []
    for step in range(settle + steps):
        before = boxes.before(state, boxes.moment())
        if step in chosen:
            taken.append(before)
        state = drive(before, boxes.timestep)
    return {name: np.concatenate([one[name] for one in taken]) for name in taken[0]}


def _force(state: State, forcing: Forcing) -> None:
    """Turn present air into that of another climate."""
    state["temperature"] = state["temperature"] + forcing.warming
    for variable in PROGNOSTICS:
        if variable.mode:
            factor = forcing.factor(variable.mode, variable.species)
            state[variable.name] = state[variable.name] * factor


def _drive(
    regimes: Sequence[str], boxes: int, forcing: Forcing, generator: np.random.Generator
) -> _Drive:
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
        emission[f"num_{mode.name}"] = rate * forcing.factor(mode.name)
        emission |= {
            f"{name}_{mode.name}": mass * forcing.factor(mode.name, name)
            for name, mass in zip(
                mode.species, states.masses(mode, rate, radius, shares).values(), strict=True
            )
        }
        lifetime = np.array([plan.lifetime[mode.name] * DAY for plan in plans])
        loss |= {v.name: 1.0 / lifetime for v in PROGNOSTICS if v.mode == mode.name}
    noon = np.array([plan.production for plan in plans]) * factor[-1]
    return _Drive(
        production=noon * forcing.production + forcing.plume,
        warming=np.array([plan.warming for plan in plans]),
        drying=np.array([plan.drying for plan in plans]),
        emission=emission,
        loss=loss,
    )
