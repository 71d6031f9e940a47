"""Condensation of H2SO4: section 9 of the physics contract (Fuchs 1959; Vignati 1999)."""

from typing import NamedTuple

import torch
from torch import Tensor

from pyemu.blocks.modes import INSOLUBLE_NAMES, MODE_NAMES, by_name
from pyemu.blocks.numerics import columns, decay, lag, least, ratio, row
from pyemu.blocks.settings import MOLAR_MASS_H2SO4, Settings

_ACCOMMODATION = {mode: 0.3 if mode in INSOLUBLE_NAMES else 1.0 for mode in MODE_NAMES}
"""Of H2SO4 on particles [1]."""
_GAS_CONSTANT = 8.314e7
"""[erg K-1 mol-1]"""
_EULER_LIMIT = 0.95
"""Share of the gas that m7_2004 condenses at most in a step [1]."""
LEAST_SINK, _LEAST_GAS = 1e-10, 1e-10
"""Sink below which ham2, gas below which m7_2004 lets nothing condense [s-1], [cm-3]."""
CLOUD_ORDER = ("cs", "as", "ks", "ns", "ci", "ai", "ki")
"""Cloud droplets form on the largest soluble mode there is."""


class Condensed(NamedTuple):
    """Where the gas went: left, and on each mode; all molecules cm-3."""

    gas: Tensor
    """(n,)"""
    on: Tensor
    """(n, 7)"""


def condensation_sink(
    settings: Settings,
    pressure: Tensor,
    temperature: Tensor,
    radius: Tensor,
    number: Tensor,
    ln_sink: Tensor | None = None,
) -> Tensor:
    """Loss rate of H2SO4 to each mode by Fuchs' flux matching, or as learned [s-1] (n, 7).

    Parameters
    ----------
    pressure, temperature
        (n,) [Pa], [K]
    radius, number
        Ambient count median radius, 0 for a mode without particles [cm], [cm-3] (n, 7)
    ln_sink
        Learned, of a particle (n, 7) [ln(cm3 s-1)]
    """
    if ln_sink is not None:
        return torch.where(radius > 0.0, number * torch.exp(ln_sink), 0.0)
    warmth = temperature / 298.15
    diffusivity = 0.073e5 / pressure * warmth * warmth.sqrt()
    speed = (8.0 * _GAS_CONSTANT / (settings.pi * MOLAR_MASS_H2SO4) * temperature).sqrt()
    path = (8.0 * diffusivity / (settings.pi * speed))[:, None]
    diffusivity, speed = diffusivity[:, None], speed[:, None]
    # r + Delta of the contract is reach/span: (r+l)**3 - (r**2+l**2)**1.5 factorises.
    root = (radius * radius + path * path).sqrt()
    span = radius + path + root
    reach = (2.0 / 3.0) * ((radius + path) * span + root * root)
    uptake = speed * radius * row((_ACCOMMODATION[mode] for mode in MODE_NAMES), radius)
    rate = 4.0 * settings.pi * diffusivity * radius * uptake * reach
    return number * rate / (4.0 * diffusivity * reach + uptake * radius * span)


def condense(
    settings: Settings,
    timestep: Tensor,
    cloud_fraction: Tensor,
    production: Tensor,
    gas: Tensor,
    sink: Tensor,
) -> Condensed:
    """Move H2SO4 from the gas (n,) [cm-3] to the modes, by `sink` (n, 7) [s-1].

    m7_2004 takes an Euler step, its `production` [cm-3 s-1] being in the gas already. ham2 solves
    production and condensation together and gives the cloudy part to cloud droplets.
    """
    total = sink.sum(dim=1)
    if settings.older:
        acts = (total > least(total)) & (gas > _LEAST_GAS)
        taken = torch.minimum(total * gas * timestep, _EULER_LIMIT * gas)
        clear = torch.where(acts, taken, 0.0)
        gas, cloudy = gas - clear, torch.zeros_like(gas)
    else:
        acts = total > LEAST_SINK
        supply = (gas + production * timestep).clamp(min=0.0)
        times = total * timestep
        kept, lost = decay(times)
        left = gas * kept + production * ratio(lost, total, acts)
        taken = gas * lost + production * timestep * lag(times)
        # Only a negative production makes one of them leave [0, supply], and then both do.
        left, taken = (torch.minimum(x.clamp(min=0.0), supply) for x in (left, taken))
        clear = torch.where(acts, (1.0 - cloud_fraction) * taken, 0.0)
        cloudy = torch.where(acts, cloud_fraction * supply, 0.0)
        gas = torch.where(acts, (1.0 - cloud_fraction) * left, supply)
    on = clear[:, None] * ratio(sink, total[:, None], acts[:, None])
    return Condensed(gas, on + _droplets(cloudy, sink))


def _droplets(cloudy: Tensor, sink: Tensor) -> Tensor:
    """Give the cloudy part (n,) to the first mode of `CLOUD_ORDER` that has a sink (n, 7)."""
    there = by_name(sink > 0.0, MODE_NAMES)
    given = {}
    for mode in CLOUD_ORDER:
        given[mode] = torch.where(there[mode], cloudy, 0.0)
        cloudy = torch.where(there[mode], 0.0, cloudy)
    return columns(given[mode] for mode in MODE_NAMES)
