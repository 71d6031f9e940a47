"""Merging of NS, KS and AS upward where their particles have outgrown the mode: section 15."""

import math

import torch
from torch import Tensor

from pyemu.blocks.modes import (
    ABOVE,
    CARRIED,
    LN_SIGMA,
    LOWER_RADIUS,
    MEAN_TO_MEDIAN,
    Columns,
)
from pyemu.blocks.numerics import EPSILON, least, ratio
from pyemu.blocks.settings import Settings

_MUCH = 10.0
"""Dry radius over the mode's upper edge beyond which ham2 leaves nothing behind [1]."""


def merge(
    settings: Settings,
    dry_radius: Columns,
    mass: Columns,
    number: Columns,
    moved: Columns,
    slack: float = 0.0,
) -> tuple[Columns, Columns]:
    """Give masses by name and numbers by mode after merging, (n,) each; `moved` gets `merged_*`.

    What leaves each mode is found from the state before any of them has merged; `dry_radius` is
    that of the soluble modes [cm]. Means that exceed the middle by no more than the share `slack`
    stay.
    """
    after, number_after = dict(mass), dict(number)
    # The upper modes first, so that each has lost before it gains.
    for mode, above in reversed(ABOVE.items()):
        kept_mass, kept_number = _kept(settings, mode, dry_radius[mode], mass, number[mode], slack)
        leaves = (1.0 - kept_number) * number[mode]
        moved[f"merged_num_{mode}"] = leaves
        number_after[mode] = kept_number * number[mode]
        number_after[above] = number_after[above] + leaves
        for species in CARRIED[mode]:
            here, there = f"{species}_{mode}", f"{species}_{above}"
            leaves = (1.0 - kept_mass) * mass[here]
            moved[f"merged_{here}"] = leaves
            after[here] = kept_mass * mass[here]
            after[there] = after[there] + leaves
    return after, number_after


def edges(settings: Settings, mode: str) -> tuple[float, float, float]:
    """Volumes of the mean particle at a mode's middle radius and of its upper edge, and that edge.

    [cm3], [cm3], and the count median radius [cm]
    """
    lower, upper = LOWER_RADIUS[mode], LOWER_RADIUS[ABOVE[mode]]
    sphere = 4.0 * settings.pi / 3.0
    middle = sphere * (math.sqrt(lower * upper) / MEAN_TO_MEDIAN[mode]) ** 3
    edge = sphere * upper**3
    if settings.older:
        edge = edge / MEAN_TO_MEDIAN[mode] ** 3
    return middle, edge, upper


def _kept(
    settings: Settings, mode: str, dry_radius: Tensor, mass: Columns, number: Tensor, slack: float
) -> tuple[Tensor, Tensor]:
    """Shares of mass and number that stay in a mode, (n,).

    All until its mean particle outgrows that of the mode's middle radius; then the part below the
    upper edge, at the middle radius. Where what leaves would be smaller than the upper edge, fewer
    particles take the mass (ham2), or fewer and less of it (m7_2004).
    """
    weight = settings.dry_volumes
    volume = torch.zeros_like(number)
    for species in CARRIED[mode]:
        volume = volume + weight[species] * mass[f"{species}_{mode}"]
    middle, edge, upper = edges(settings, mode)

    radius_min = max(settings.merging_radius_min, least(dry_radius))
    grown = (number > settings.merging_number_min) & (dry_radius > radius_min)
    mean = ratio(volume, number, grown)
    grown = grown & (mean > middle * (1.0 + slack))
    mean = torch.where(grown, mean, 2.0 * middle)
    t = torch.log(upper / torch.where(grown, dry_radius, upper)) / LN_SIGMA[mode]
    below = 0.5 * torch.erfc(-math.sqrt(0.5) * t)
    below = torch.where(below < EPSILON, 0.0, below)
    if not settings.older:
        below = torch.where(dry_radius > _MUCH * upper, 0.0, below)
    small = mean - below * middle < edge * (1.0 - below)
    if settings.older:
        kept_number = torch.where(small, (edge - mean) / (edge - middle), below)
        kept_mass = kept_number * middle / mean
    else:
        kept_number = torch.where(small, 1.0 - (mean - below * middle) / edge, below)
        kept_mass = below * middle / mean
    grown = grown & ((1.0 - below) * number > (EPSILON if settings.older else 0.0))
    return torch.where(grown, kept_mass, 1.0), torch.where(grown, kept_number, 1.0)
