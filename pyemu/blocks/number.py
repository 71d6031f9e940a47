"""Number equations, dn/dt = c - a n**2 - b n, over a timestep: section 12 of the contract."""

from typing import NamedTuple

import torch
from torch import Tensor

from pyemu.blocks.numerics import EPSILON, decay, ratio
from pyemu.blocks.settings import Settings

_RATE_MIN = 1e-15
"""a [cm3 s-1] and b [s-1] below this are none."""
_SOURCE_MIN = 1.0
"""New particles below this are taken to be there from the start [cm-3 s-1]."""
_EXTRA_LIMIT = 0.95
"""Share of the collisions within NS that may be hidden ones [1]."""


class Fate(NamedTuple):
    """Where the particles of a mode went, (n,) [cm-3]; the three add up to what there was."""

    left: Tensor
    inter: Tensor
    """Lost to other modes"""
    intra: Tensor
    """Lost within the mode"""


def coagulate_number(
    settings: Settings, timestep: Tensor, start: Tensor, a: Tensor, b: Tensor
) -> Fate:
    """Coagulation within the mode and with others, no source (section 12 i, ii).

    With u = (1 - exp(-b dt))/b the three amounts share a denominator.

    Parameters
    ----------
    start, a, b
        (n,) [cm-3], [cm3 s-1], [s-1]
    """
    others = b >= _RATE_MIN
    acts = start > settings.equation_number_min
    left, lost = decay(b * timestep)
    u = torch.where(others, ratio(lost, b, others), timestep)
    self = torch.where(acts & (others | (a >= _RATE_MIN)), a * start * u, 0.0)
    acts = acts & others
    share = start / (1.0 + self)
    return Fate(
        left=torch.where(acts, left, 1.0) * share,
        inter=torch.where(acts, lost, 0.0) * share,
        intra=self * share,
    )


def coagulate_new_number(
    settings: Settings, timestep: Tensor, start: Tensor, new: Tensor, a: Tensor, b: Tensor
) -> Fate:
    """Coagulate NS, with `new` particles [cm-3] that appear at a steady rate (section 12 iii).

    With q**2 = b**2 + 4 a c and E = exp(-q dt) every term below is positive. Where nothing but new
    particles is there to collide, real M7 lets them be; the correction does not.
    """
    total = start + new
    plain = coagulate_number(settings, timestep, total, a, b)
    alone = b < _RATE_MIN
    c = new / timestep
    fed = (c >= _SOURCE_MIN) & (total > settings.equation_number_min)
    fed = fed & ~(alone & (a < _RATE_MIN))
    q = torch.where(fed, b * b + 4.0 * a * c, 1.0).sqrt()
    e, all_ = decay(q * timestep)
    # n = (N (q - b t) + 2 c t)/(q + (2 a N + b) t) with t = tanh(q dt/2) = (1 - E)/(1 + E)
    rest = 4.0 * a * c / (q + b) * (1.0 + e) + 2.0 * b * e
    rest = rest * start + 2.0 * c * all_
    rest = rest / (q * (1.0 + e) + (2.0 * a * start + b) * all_)
    rest = torch.minimum(rest, total)
    if not settings.source_coagulation:
        rest = torch.where(alone & (a * start * start < c), total, rest)
    lost = total - rest
    share = ratio(b, a * total + b, fed & ~alone)
    solved = Fate(left=rest, inter=lost * share, intra=lost * (1.0 - share))
    return Fate(*(torch.where(fed, new, old) for new, old in zip(solved, plain, strict=True)))


def hidden_collisions(
    settings: Settings,
    timestep: Tensor,
    a: Tensor,
    soluble: Tensor,
    insoluble: Tensor,
    coat: Tensor,
    sulfate: Tensor,
    fate: Fate,
) -> Tensor:
    """Collisions within NS that count as such with insoluble particles [cm-3] (section 12.1).

    They are known by the sulfate that insoluble particles need for a coating.

    Parameters
    ----------
    a
        Half the kernel of NS with itself [cm3 s-1], (n,) as all
    soluble, insoluble
        NS before coagulation plus KS, and KI + AI + CI [cm-3]
    coat, sulfate
        H2SO4 molecules that coat one mean insoluble particle, and that one NS particle has [1]
    fate
        Of NS
    """
    few = 0.0 if settings.older else EPSILON
    reach = a * timestep
    # z_t - z_i - z_s of the contract, without cancellation; z_i counts from one particle on.
    mixed = reach * soluble / (2.0 + reach * soluble)
    mixed = torch.where(insoluble > 1.0, mixed, 1.0)
    mixed = mixed + reach * soluble / (2.0 + reach * insoluble)
    mixed = 2.0 * insoluble * mixed / (2.0 + reach * (soluble + insoluble))
    wanted = torch.minimum(mixed, insoluble) * coat
    limit = _EXTRA_LIMIT * fate.intra
    enough = wanted < limit * sulfate
    extra = torch.where(enough, ratio(wanted, sulfate, enough), limit)
    acts = (fate.inter > 0.0) & (soluble > insoluble) & (insoluble > few) & (sulfate > 0.0)
    return torch.where(acts, extra, 0.0)
