"""Initial states: samples of regimes or of the whole space, and their spin-up.

Number, dry radius and composition are sampled and masses computed from them, since masses and
numbers drawn apart give absurd radii (section 17 of the physics contract).
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaincinv
from scipy.stats import qmc

from pyemu import reference
from pyemu.regimes import REGIMES, SPACE_FILLING, Population, Range, Regime
from pyemu.state import pack, unpack
from pyemu.variables import (
    DIAGNOSTICS,
    ENVIRONMENT,
    MODES,
    PROGNOSTICS,
    SPECIES,
    Mode,
    index,
    names,
    unknown,
)

Array = NDArray[np.float64]
Uniform = Callable[[], Array]
"""Next column (ncell,) of a sample, uniform in [0, 1)."""

MIXED, SOBOL = "mixed", "space_filling"
TRACE = 1e-6
"""Volume fraction below which a sampled mode does not hold a species at all [1]."""
_OVERCAST = 0.05
_IONS: Range = (1.0, 60.0)


def sample(count: int, seed: int, kind: str = MIXED) -> dict[str, Array]:
    """Sample states: 8 environment and 26 prognostic variables, each (count,).

    Parameters
    ----------
    count
        Number of cells.
    seed
        The same seed gives the same states.
    kind
        A name of `pyemu.regimes.REGIMES`; "mixed", equal shares of all regimes in random order; or
        "space_filling", scrambled Sobol points over the ranges of section 17.

    Raises
    ------
    ValueError
        An unknown kind or a negative count.
    """
    if count < 0:
        raise ValueError(f"count = {count}; allowed is [0, inf)")
    if kind not in (*REGIMES, MIXED, SOBOL):
        raise ValueError(unknown(kind, (*REGIMES, MIXED, SOBOL)))
    generator = np.random.default_rng(seed)
    if kind == SOBOL:
        return _draw(SPACE_FILLING, count, _sobol(count, generator))
    if kind in REGIMES:
        return _draw(REGIMES[kind], count, _random(count, generator))
    state = {v.name: np.zeros(count) for v in ENVIRONMENT + PROGNOSTICS}
    share = generator.permutation(np.arange(count) % len(REGIMES))
    for number, regime in enumerate(REGIMES.values()):
        cells = np.flatnonzero(share == number)
        uniform = _random(cells.size, generator)
        for name, values in _draw(regime, cells.size, uniform).items():
            state[name][cells] = values
    return state


def typical(kind: str) -> dict[str, Array]:
    """Return one cell in the middle of the ranges of regime `kind`, without clouds."""
    if kind not in REGIMES:
        raise ValueError(unknown(kind, REGIMES))
    return _draw(REGIMES[kind], 1, lambda: np.full(1, 0.5)) | {"cloud_fraction": np.zeros(1)}


def spin_up(
    state: Mapping[str, ArrayLike], seconds: float, timestep: float, **options: Any
) -> dict[str, Array]:
    """Step the reference for a while, environment held, so that states sit where M7 puts them.

    Parameters
    ----------
    state
        As for `pyemu.reference.step`.
    seconds, timestep
        How long, in steps of how much [s]; at least one step is made.
    **options
        Passed to `pyemu.reference.step`.

    Returns
    -------
    dict
        Environment, prognostics and diagnostics, each (ncell,).
    """
    environment = unpack(pack(state)[0], ENVIRONMENT)
    current: Mapping[str, ArrayLike] = state
    for _ in range(max(1, round(seconds / timestep))):
        current = environment | reference.step(current, timestep, **options)
    kept = names(ENVIRONMENT + PROGNOSTICS + DIAGNOSTICS)
    return {name: np.asarray(current[name]) for name in kept}


def spun_up(count: int, seed: int = 1, threads: int = 0) -> dict[str, Array]:
    """Cloud-free states with production, of all regimes, after three hours of M7.

    The states of emulator.md section 5 on which M7's convergence is measured; environment,
    prognostics and diagnostics.
    """
    state = sample(count, seed)
    state["cloud_fraction"][:] = 0.0
    state["h2so4_production"][:] = np.maximum(state["h2so4_production"], 1.0)
    return spin_up(state, 3.0 * 3600.0, 900.0, threads=threads)


def masses(
    mode: Mode, number: Array, radius: Array, fractions: Mapping[str, Array]
) -> dict[str, Array]:
    """Compute the masses of a mode from number, radius and composition (Hatch-Choate).

    Parameters
    ----------
    number, radius
        [cm-3] and dry count median radius [cm], (ncell,).
    fractions
        Volume fraction by species [1], (ncell,); sulfate as H2SO4.

    Returns
    -------
    dict
        Masses by variable name: sulfate [molecules cm-3], others [ug m-3], (ncell,).
    """
    volume = number * 4.0 / 3.0 * math.pi * (radius / mode.mean_to_median) ** 3
    amounts = {}
    for name, fraction in fractions.items():
        species = SPECIES[index(name, SPECIES)]
        grams = volume * fraction * species.density
        amounts[f"{name}_{mode.name}"] = grams * species.per_gram
    return amounts


def _random(count: int, generator: np.random.Generator) -> Uniform:
    return lambda: generator.random(count)


def _sobol(count: int, generator: np.random.Generator) -> Uniform:
    """Scrambled Sobol points, a column at a time: as many as `_draw` takes."""
    columns = len(ENVIRONMENT) + len(PROGNOSTICS) + len(MODES)
    engine = qmc.Sobol(columns, rng=generator)
    points = engine.random_base2(max(count - 1, 0).bit_length())[:count]
    following = iter(points.T)
    return lambda: np.asarray(next(following))


def _draw(regime: Regime, count: int, uniform: Uniform) -> dict[str, Array]:
    """Turn uniform columns into states of a regime."""
    cloudy, cover = _share(uniform(), regime.cloudy)
    boundary_layer, _ = _share(uniform(), regime.boundary_layer)
    state = {
        "pressure": _logarithmic(uniform(), regime.pressure) * 100.0,
        "temperature": _linear(uniform(), regime.temperature),
        "relative_humidity": _linear(uniform(), regime.humidity),
        "cloud_fraction": np.where(cloudy, np.minimum(cover * (1.0 + _OVERCAST), 1.0), 0.0),
        "h2so4_production": _now_and_then(uniform(), 1.0 - regime.quiet, regime.production),
        "ion_pair_production": _logarithmic(uniform(), _IONS),
        "forest_fraction": uniform() * boundary_layer,
        "boundary_layer": boundary_layer.astype(np.float64),
        "h2so4": _now_and_then(uniform(), 1.0 - regime.quiet, regime.gas),
    }
    state |= {v.name: np.zeros(count) for v in PROGNOSTICS if v.name not in state}
    for mode in MODES:
        if mode.name in regime.modes:
            population = regime.modes[mode.name]
            number = _now_and_then(uniform(), population.presence, population.number)
            radius = _logarithmic(uniform(), population.radius) * 1e-4
            fractions = _composition(population, regime.missing, uniform)
            state |= {f"num_{mode.name}": number, **masses(mode, number, radius, fractions)}
    return state


def _composition(population: Population, missing: float, uniform: Uniform) -> dict[str, Array]:
    """Dirichlet volume fractions, with exact zeros; the main species where all are missing."""
    main = max(population.mixture, key=lambda name: population.mixture[name])
    shares = {}
    for name, weight in population.mixture.items():
        there, place = _share(uniform(), 1.0 - missing)
        shares[name] = np.where(there, gammaincinv(weight, place), 0.0)
    shares[main] = np.where(sum(shares.values()) > 0.0, shares[main], 1.0)
    total = sum(shares.values())
    kept = {name: np.where(share > TRACE * total, share, 0.0) for name, share in shares.items()}
    total = sum(kept.values())
    return {name: np.asarray(share / total) for name, share in kept.items()}


def _share(place: Array, share: float) -> tuple[NDArray[np.bool_], Array]:
    """Split uniform numbers: which lie in the first `share`, and where in it, uniform again."""
    inside = place < share
    return inside, np.where(inside, place / share if share else 0.0, 0.0)


def _now_and_then(place: Array, share: float, bounds: Range) -> Array:
    there, inner = _share(place, share)
    return np.where(there, _logarithmic(inner, bounds), 0.0)


def _linear(place: Array, bounds: Range) -> Array:
    low, high = bounds
    return low + (high - low) * place


def _logarithmic(place: Array, bounds: Range) -> Array:
    low, high = bounds
    return np.asarray(low * (high / low) ** place)
