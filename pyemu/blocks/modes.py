"""Where modes, species and pairs stand in the columns of the state, all asked of the one table."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from pyemu.blocks.numerics import columns
from pyemu.variables import (
    MASSES,
    MODES,
    SOLUBLE,
    Mode,
    Species,
    Variable,
    index,
    masses_in,
    masses_of,
    names,
)

Columns = dict[str, Tensor]
"""Name of a variable, or code of a mode, -> (n,)."""


def span(chosen: Sequence[str], table: Sequence[Variable | Mode | Species]) -> slice:
    """Find the columns of names that follow each other in a table."""
    places = [index(name, table) for name in chosen]
    first = min(places)
    assert places == list(range(first, first + len(places)))
    return slice(first, first + len(places))


MODE_NAMES = names(MODES)
SOLUBLE_NAMES = names(SOLUBLE)
INSOLUBLE_NAMES = tuple(mode.name for mode in MODES if not mode.soluble)
SALTY_NAMES = tuple(mode.name for mode in MODES if "ss" in mode.species)
SOLUBLE_MODES = span(SOLUBLE_NAMES, MODES)
SALTY_MODES = span(SALTY_NAMES, MODES)
SULFATE = span(names(masses_of("so4")), MASSES)
SEA_SALT = span(names(masses_of("ss")), MASSES)
assert tuple(mass.mode for mass in masses_of("so4")) == SOLUBLE_NAMES
assert tuple(mass.mode for mass in masses_of("ss")) == SALTY_NAMES == SOLUBLE_NAMES[-2:]

MODE = {name: index(name, MODES) for name in MODE_NAMES}
"""Column of each mode."""
MODE_OF_MASS = [MODE[str(mass.mode)] for mass in MASSES]
"""Column of the mode that carries each mass."""
CARRIED = {
    mode: {str(mass.species): index(mass.name, MASSES) for mass in masses_in(mode)}
    for mode in MODE_NAMES
}
"""Mode -> species -> column of the mass."""

LN_SIGMA = {mode.name: mode.ln_sigma for mode in MODES}
MEAN_TO_MEDIAN = {mode.name: mode.mean_to_median for mode in MODES}
LOWER_RADIUS = dict(zip(SOLUBLE_NAMES, (5e-8, 5e-7, 5e-6, 5e-5), strict=True))
"""Lower edge of the dry count median radius of a soluble mode [cm]."""
ABOVE = dict(pairwise(SOLUBLE_NAMES))
"""Mode -> the mode that it merges into."""
COATED = dict(zip(INSOLUBLE_NAMES, SOLUBLE_NAMES[1:], strict=True))
"""Insoluble mode -> the soluble mode of its size, which it joins when coated."""


def per_mode(mass: Tensor, modes: Sequence[str], weight: Mapping[str, float]) -> Tensor:
    """Sum the weighted species of each mode: mass (n, 18) -> (n, len(modes))."""
    each = mass.unbind(1)
    sums = []
    for mode in modes:
        parts = [weight[s] * each[place] for s, place in CARRIED[mode].items() if s in weight]
        sums.append(sum(parts, start=torch.zeros_like(mass[:, 0])))
    return columns(sums)


def by_name(matrix: Tensor, keys: Sequence[str]) -> Columns:
    """Name the columns of (n, k)."""
    return dict(zip(keys, matrix.unbind(1), strict=True))
