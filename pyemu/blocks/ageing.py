"""Ageing of insoluble modes by a coating of sulfate: section 14 of the physics contract."""

import math

import torch
from torch import Tensor

from pyemu.blocks.modes import CARRIED, COATED, INSOLUBLE_NAMES, LN_SIGMA, MODE, Columns
from pyemu.blocks.numerics import ratio
from pyemu.blocks.settings import Settings

_LAYERS = 1.0
"""Monolayers that make a particle soluble [1]."""
_CROSS_SECTION = 2.39e-15
"""Of an H2SO4 molecule [cm2]."""
COATING_MIN = 2.2e-16
"""Molecules on a particle below which it is not coated [1]."""


def coating(settings: Settings, radius: Tensor, ln_coating: Tensor | None = None) -> Columns:
    """H2SO4 molecules that coat the mean insoluble particle, by mode.

    Parameters
    ----------
    radius
        (n, 7) [cm]
    ln_coating
        Learned, (n, 3) [1]
    """
    molecules = {}
    for place, mode in enumerate(INSOLUBLE_NAMES):
        # Square of the radius of average surface over the count median radius (section 4).
        surface = _LAYERS * 4.0 * settings.pi * math.exp(2.0 * LN_SIGMA[mode] ** 2)
        r = radius[:, MODE[mode]]
        if ln_coating is not None:
            molecules[mode] = torch.where(r > 0.0, torch.exp(ln_coating[:, place]), 0.0)
            continue
        molecules[mode] = surface / _CROSS_SECTION * r * r
    return molecules


def age(
    settings: Settings,
    coat: Columns,
    sulfate: Columns,
    start: Columns,
    start_mass: Columns,
    mass: Columns,
    number: Columns,
    moved: Columns,
) -> tuple[Columns, Columns]:
    """Let particles whose coating is complete join the soluble mode of their size.

    Nothing is remembered of a coating that is not.

    Parameters
    ----------
    coat, sulfate
        Molecules that coat a particle [1], and those there are [cm-3], by insoluble mode
    start, start_mass
        Numbers and masses before coagulation: the mean particle that ages
    mass, number
        By name and by mode; both are returned as ageing leaves them
    moved
        Gets `aged_*`
    """
    mass, number = dict(mass), dict(number)
    # The limited m7_2004 moves the mass of all that could be coated, as far as there is any. Else
    # aged particles take their mass along, which needs no limit here.
    generous = settings.limited_ageing and settings.older
    for mode, to in COATED.items():
        ages = (number[mode] >= settings.ageing_number_min) & (coat[mode] > COATING_MIN)
        coated = ratio(sulfate[mode], coat[mode], ages)
        aged = torch.minimum(number[mode], coated)
        moved[f"aged_num_{mode}"] = aged
        number[mode] = number[mode] - aged
        number[to] = number[to] + aged
        share = ratio(coated if generous else aged, start[mode], ages)
        # What stays is counted, not left over: particles that stay, and those lost within the mode.
        stays = number[mode] + moved.get(f"self_collided_{mode}", 0.0)
        kept = ratio(stays, start[mode], ages)
        for species in CARRIED[mode]:
            here, there = f"{species}_{mode}", f"{species}_{to}"
            amount = start_mass[here] * share
            if generous:
                amount = torch.minimum(amount, mass[here])
                mass[here] = mass[here] - amount
            else:
                mass[here] = torch.where(ages, start_mass[here] * kept, mass[here])
            moved[f"aged_{here}"] = amount
            mass[there] = mass[there] + amount
    return mass, number
