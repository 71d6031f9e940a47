"""How a step is judged: by tendencies, never by states, for which persistence scores about 1."""

import math
from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from pyemu.variables import GAS, SPECIES, masses_of, names

Array = NDArray[np.float64]
State = Mapping[str, Array]

SMALL = 1e-3
"""asinh(x/s) turns from linear to logarithmic at s = SMALL standard deviations of the tendency."""


def r2(truth: Array, predicted: Array) -> float:
    """Coefficient of determination, 1 - sum (truth - predicted)^2 / sum (truth - mean)^2.

    NaN where the truth does not vary (or is empty): such a variable says nothing.
    """
    spread = float(np.sum((truth - truth.mean()) ** 2)) if truth.size else 0.0
    return 1.0 - float(np.sum((truth - predicted) ** 2)) / spread if spread > 0.0 else math.nan


def asinh_r2(truth: Array, predicted: Array, small: float = SMALL) -> float:
    """R2 of asinh(x / s), s = `small` standard deviations of the truth: size and sign count."""
    scale = small * float(truth.std()) if truth.size else 0.0
    return r2(np.arcsinh(truth / scale), np.arcsinh(predicted / scale)) if scale else math.nan


def tendency_r2(
    before: State, truth: State, predicted: State, variables: Iterable[str]
) -> dict[str, float]:
    """R2 of the change of each variable, physical units; the timestep cancels.

    Parameters
    ----------
    before, truth, predicted
        States by name, (ncell,): before the step, after the true one, after the judged one.
    """
    return {
        name: r2(truth[name] - before[name], predicted[name] - before[name]) for name in variables
    }


def tendency_asinh_r2(
    before: State, truth: State, predicted: State, variables: Iterable[str], small: float = SMALL
) -> dict[str, float]:
    """Sign-aware asinh R2 of the change of each variable; arguments as of `tendency_r2`."""
    return {
        name: asinh_r2(truth[name] - before[name], predicted[name] - before[name], small)
        for name in variables
    }


def mean(scores: Mapping[str, float]) -> float:
    """Mean over the variables that vary; NaN if none does."""
    values = [score for score in scores.values() if not math.isnan(score)]
    return sum(values) / len(values) if values else math.nan


def worst(scores: Mapping[str, float]) -> tuple[str, float]:
    """Name and score of the worst variable; ("", NaN) if none varies."""
    values = {name: score for name, score in scores.items() if not math.isnan(score)}
    return min(values.items(), key=lambda item: item[1]) if values else ("", math.nan)


def total(state: State, species: str) -> Array:
    """Amount of a species over gas and modes, in its unit of mass, (ncell,)."""
    parts = [mass.name for mass in masses_of(species)]
    if species == "so4":
        parts += names(GAS)
    return np.asarray(np.sum([state[name] for name in parts], axis=0))


def closure(before: State, after: State, timestep: float) -> dict[str, Array]:
    """Relative closure error of each species: |after - before - source| / (before + source).

    The source of sulfur is `h2so4_production` [cm-3 s-1] of `before` times `timestep` [s], a sink
    at most the gas; other species have none. Arrays (ncell,), 0 where there is no such species.
    """
    errors = {}
    for species in names(SPECIES):
        given = total(before, species)
        if species == "so4":
            source = np.asarray(before.get("h2so4_production", 0.0)) * timestep
            given = given + np.maximum(source, -before["h2so4"])
        left = total(after, species)
        scale = np.maximum(given, left)
        errors[species] = np.abs(left - given) / np.where(scale > 0.0, scale, 1.0)
    return errors
