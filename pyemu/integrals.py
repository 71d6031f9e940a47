"""What climate feels of an aerosol: integrals over its size distribution, from prognostics."""

import math
from collections.abc import Mapping

import numpy as np
from numpy.polynomial.hermite_e import hermegauss
from numpy.typing import NDArray
from scipy.special import erfc

from pyemu.variables import MODES, SPECIES, Mode, index

Array = NDArray[np.float64]
State = Mapping[str, Array]

CLOUD = 50e-7
"""Dry radius above which particles count as cloud condensation nuclei, 50 nm [cm]."""
_NODES, _WEIGHTS = hermegauss(7)
_GAS_CONSTANT = 8.31446
_MOLAR_MASS = 0.098079
"""Of H2SO4 [kg mol-1]."""


def total_number(state: State) -> Array:
    """Particles of all modes [cm-3], (ncell,)."""
    return np.asarray(np.sum([state[f"num_{mode.name}"] for mode in MODES], axis=0))


def dry_radius(state: State, mode: Mode) -> Array:
    """Dry count median radius [cm], (ncell,), 0 without particles (Hatch-Choate)."""
    number = state[f"num_{mode.name}"]
    volume = np.zeros_like(number)
    for name in mode.species:
        species = SPECIES[index(name, SPECIES)]
        volume = volume + state[f"{name}_{mode.name}"] / (species.per_gram * species.density)
    there = (number > 0.0) & (volume > 0.0)
    each = np.where(there, volume, 0.0) / np.where(there, number, 1.0)
    return np.asarray(np.cbrt(0.75 / math.pi * each) * mode.mean_to_median)


def number_above(state: State, radius: float = CLOUD) -> Array:
    """Particles of all modes above a dry radius [cm]: log-normal tails [cm-3], (ncell,)."""
    found = np.zeros_like(state["num_ns"])
    for mode in MODES:
        median = dry_radius(state, mode)
        there = median > 0.0
        place = np.log(radius / np.where(there, median, radius)) / (math.sqrt(2.0) * mode.ln_sigma)
        found = found + np.where(there, state[f"num_{mode.name}"] * 0.5 * erfc(place), 0.0)
    return found


def condensation_sink(state: State, wet_radius: State) -> Array:
    """Rate at which H2SO4 vapour meets particles [s-1], (ncell,).

    Fuchs and Sutugin (1971) with accommodation 1 over the log-normal modes; the diffusivity of
    H2SO4 is 0.094 cm2 s-1 at 298 K and 1013.25 hPa (Hanson and Eisele, 2000).

    Parameters
    ----------
    state
        With pressure [Pa] and temperature [K].
    wet_radius
        `wet_radius_<mode>` [cm], of the diagnostics.
    """
    temperature, pressure = state["temperature"], state["pressure"]
    diffusivity = 0.094 * (temperature / 298.0) ** 1.75 * (101325.0 / pressure)
    speed = 100.0 * np.sqrt(8.0 * _GAS_CONSTANT * temperature / (math.pi * _MOLAR_MASS))
    path = 3.0 * diffusivity / speed
    found = np.zeros_like(temperature)
    for mode in MODES:
        median = wet_radius[f"wet_radius_{mode.name}"]
        there = median > 0.0
        for node, weight in zip(_NODES, _WEIGHTS / math.sqrt(2.0 * math.pi), strict=True):
            radius = np.where(there, median, 1.0) * math.exp(mode.ln_sigma * node)
            knudsen = path / radius
            shape = (1.0 + knudsen) / (1.0 + (4.0 / 3.0 + 0.377) * knudsen + 4.0 / 3.0 * knudsen**2)
            part = weight * state[f"num_{mode.name}"] * radius * shape
            found = found + np.where(there, 4.0 * math.pi * diffusivity * part, 0.0)
    return found
