"""Long runs of many boxes: a model moves them for weeks, beside the teacher, in the same weather.

All that drives the boxes (`pyemu.trajectories.Boxes`) is drawn once for all runs, so that they
differ by their step alone.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyemu import integrals
from pyemu.scenarios import FORCINGS, PRESENT, SCENARIOS
from pyemu.steps import Step
from pyemu.trajectories import DAY, HOUR, Boxes
from pyemu.variables import MASSES, MODES, NUMBERS, PROGNOSTICS, SPECIES, masses_of, names, unknown

Array = NDArray[np.float64]
Watch = Callable[[Sequence[Any]], Iterable[Any]]

INTEGRALS = ("total number", "number above 50 nm", "condensation sink")
BURDENS = tuple(f"total {name}" for name in names(SPECIES))
QUANTITIES = (*INTEGRALS, *BURDENS, *names(MASSES), *names(NUMBERS))
"""What is compared; 50 nm is a dry radius."""
_OF_MASS = (*names(MASSES),)
_NOTABLE = 0.01
"""Share of a box's mean below which an amount is compared with that share instead [1]."""
_FACTOR, _LAST = 2.0, 7.0
_BEYOND = 1e25
"""No amount is so large; steps refuse 1e30."""


@dataclass(frozen=True, kw_only=True)
class RolloutConfig:
    """Runs of `boxes` boxes, alike many of each scenario, over `days` in steps of `timestep` [s].

    `mixing` [days] is in what time transport replaces a box's air: longer than for records (one
    day), so that errors have time to grow. States are compared every `every` [s].
    """

    days: float = 30.0
    boxes: int = 300
    timestep: float = 1800.0
    mixing: float = 5.0
    forcing: str = PRESENT
    every: float = 6.0 * HOUR
    seed: int = 1

    def __post_init__(self) -> None:
        if not self.days * DAY >= self.timestep > 0.0:
            raise ValueError(f"{self.days} days hold no step of {self.timestep} s")
        if self.boxes < len(SCENARIOS):
            raise ValueError(f"boxes = {self.boxes}; allowed is [{len(SCENARIOS)}, inf)")
        if not self.mixing > 0.0:
            raise ValueError(f"mixing = {self.mixing} days; allowed is above 0")
        if self.forcing not in FORCINGS:
            raise ValueError(unknown(self.forcing, FORCINGS))


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """Errors of a run against the teacher's.

    `error` maps quantities to (times, boxes): |run - teacher| over the teacher's, or over 1 % of
    the box's mean where that is more; NaN in boxes that never have it. `diverged` (boxes,) tells
    which left the teacher: not finite, absurd or negative at any time, or in the last week out by
    more than a factor of two in an integral or in a species' total, in the median over the week:
    a burst of nucleation that comes a day late is none. `flags` counts steps by flag, 0 to 3.
    """

    days: Array
    regimes: tuple[str, ...]
    error: Mapping[str, Array]
    diverged: NDArray[np.bool_]
    flags: tuple[int, ...]

    def median(self, quantity: str) -> float:
        """Median error over boxes and time."""
        return float(np.nanmedian(self.error[quantity]))

    def worst_box(self, quantity: str) -> float:
        """Median error over time of the worst box."""
        there = ~np.isnan(self.error[quantity]).all(axis=0)
        return float(np.nanmedian(self.error[quantity][:, there], axis=0).max())

    @property
    def mass(self) -> float:
        """Largest median error among masses by mode and species."""
        return max(self.median(name) for name in _OF_MASS)

    def facts(self) -> dict[str, Any]:
        """All of it as JSON takes it."""
        return {
            "median": {q: self.median(q) for q in self.error},
            "worst_box": {q: self.worst_box(q) for q in self.error},
            "last": {q: float(np.nanmedian(e[-1])) for q, e in self.error.items()},
            "diverged": int(self.diverged.sum()),
            "boxes": len(self.diverged),
            "flags": list(self.flags),
        }


def rollout(
    config: RolloutConfig, teacher: Step, runs: Mapping[str, Step], watch: Watch = iter
) -> dict[str, Rollout]:
    """Run boxes with the teacher and with each of `runs` side by side, and compare.

    Parameters
    ----------
    watch
        Wraps the steps, to show progress.
    """
    regimes = tuple(SCENARIOS)
    each = config.boxes // len(regimes)
    generator = np.random.default_rng([config.seed, 0x726F6C6C])
    forcing = FORCINGS[config.forcing]
    boxes = Boxes(regimes, each, config.timestep, generator, forcing, config.mixing)
    riders = {"": teacher, **runs}
    state: dict[str, Mapping[str, Array]] = dict.fromkeys(riders, boxes.start)
    told: dict[str, list[dict[str, Array]]] = {name: [] for name in riders}
    bad = {name: np.zeros(len(boxes), dtype=bool) for name in riders}
    flags = {name: np.zeros(4, dtype=np.int64) for name in riders}
    steps = round(config.days * DAY / config.timestep)
    stride = max(1, round(config.every / config.timestep))
    times = []
    for step in watch(range(1, steps + 1)):
        moment = boxes.moment()
        for name, rider in riders.items():
            before = boxes.before(state[name], moment)
            after = rider(before, config.timestep)
            matrix = np.stack([after[n] for n in names(PROGNOSTICS)])
            wrong = ~(np.abs(matrix) < _BEYOND).all(axis=0)
            bad[name] |= wrong | (matrix < 0.0).any(axis=0)
            if wrong.any():  # the run goes on with what there was, so that others can be judged
                after = {n: np.where(wrong, before[n], after[n]) for n in names(PROGNOSTICS)} | {
                    n: np.where(wrong, 0.0, after[n]) for n in after if n.startswith("wet_radius")
                }
            state[name] = after
            if "flag" in after:
                flags[name] += np.bincount(after["flag"], minlength=4)
            if step % stride == 0 or step == steps:
                told[name].append(_quantities(moment.air, after))
        if step % stride == 0 or step == steps:
            times.append(step * config.timestep / DAY)
    days = np.array(times)
    series = {
        name: {q: np.stack([one[q] for one in run]) for q in QUANTITIES}
        for name, run in told.items()
    }
    truth = series.pop("")
    return {
        name: Rollout(
            days=days,
            regimes=tuple(np.repeat(regimes, each)),
            error={q: _error(truth[q], run[q]) for q in QUANTITIES},
            diverged=bad[name] | _diverged(days, truth, run),
            flags=tuple(flags[name].tolist()),
        )
        for name, run in series.items()
    }


def _quantities(air: Mapping[str, Array], after: Mapping[str, Array]) -> dict[str, Array]:
    found = {
        "total number": integrals.total_number(after),
        "number above 50 nm": integrals.number_above(after),
        "condensation sink": integrals.condensation_sink(
            {**air, **{n: after[n] for n in names(NUMBERS)}},
            {f"wet_radius_{m.name}": after[f"wet_radius_{m.name}"] for m in MODES},
        ),
    }
    for species in names(SPECIES):
        carried = [after[v.name] for v in masses_of(species)]
        found[f"total {species}"] = np.asarray(np.sum(carried, axis=0))
    return found | {n: np.asarray(after[n]) for n in (*names(MASSES), *names(NUMBERS))}


def _error(truth: Array, run: Array) -> Array:
    """Relative error (times, boxes)."""
    least = _NOTABLE * truth.mean(axis=0)
    scale = np.maximum(truth, least)
    there = np.broadcast_to(least > 0.0, truth.shape)
    never = np.where(run > 0.0, np.inf, np.nan)
    return np.where(there, np.abs(run - truth) / np.where(there, scale, 1.0), never)


def _diverged(
    days: Array, truth: Mapping[str, Array], run: Mapping[str, Array]
) -> NDArray[np.bool_]:
    """Which boxes are out by a factor in the last week (boxes,)."""
    last = days > days[-1] - _LAST
    out = np.zeros(truth["total number"].shape[1], dtype=bool)
    for quantity in (*INTEGRALS, *BURDENS):
        true, given = truth[quantity][last], run[quantity][last]
        there = true > 0.0
        ratio = np.where(there, given, 1.0) / np.where(there, true, 1.0)
        middle = np.median(ratio, axis=0)
        out |= ~((middle < _FACTOR) & (middle > 1.0 / _FACTOR))
    return out
