"""Bursts of nucleation within a stage: where M7 begins to nucleate, how short strides have to be.

Above some gas a critical cluster is of fewer molecules than M7 lets nucleate. As soon as
condensation has brought the gas down to there, particles form at a stroke: strides meet that time.
`bridge/engine/bursts.h` says the same.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from pyemu.blocks.condensation import LEAST_SINK
from pyemu.blocks.modes import Columns
from pyemu.blocks.nucleation import LEAST_CLUSTER, RATES, critical, unlimited
from pyemu.blocks.numerics import decay, ratio

BURST_SHARE, FINEST = 0.1, 1.0 / 32.0
"""Where nucleation takes this share of the gas, a stride ends: down to the `FINEST` part of a usual
one, and twice the last one at most [1]."""


ROUNDING = 1e-5
"""Of ln of the gas in single precision, with room [1]."""


class Sky(NamedTuple):
    """What strides know of the air around the particles."""

    air: Columns
    clear: Tensor
    """(n,) [1]"""
    cloud_rate: Tensor
    """(n,) [s-1]"""
    usual: Tensor
    """Length of a usual stride (n,) [s]"""
    strides: int
    """Usual ones in the stage"""


def loss_rate(sky: Sky, sink: Columns) -> tuple[Tensor, Tensor]:
    """Whether anything takes up gas, and how fast it is lost to particles and droplets [s-1]."""
    total = sum(sink.values(), start=torch.zeros_like(sky.clear))
    acts = total > LEAST_SINK
    return acts, torch.where(acts, total + sky.cloud_rate, 0.0)


def condense(
    sky: Sky, h: Tensor, gas: Tensor, acts: Tensor, both: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gas that there is, with what is produced in `h` [s], what is left of it, what is not."""
    production = sky.air["h2so4_production"]
    kept, lost = decay(both * h)
    lasting = torch.where(acts, ratio(lost, both, acts), h)
    supply = (gas + production * h).clamp(min=0.0)
    left = torch.minimum((gas * kept + production * lasting).clamp(min=0.0), supply)
    return supply, left, supply - left


def until_burst(
    sky: Sky, gas: Tensor, acts: Tensor, both: Tensor, usual: Tensor, part: Tensor
) -> Tensor:
    """Part of a usual stride, `part` at most, until the gas falls to where M7 begins to nucleate.

    Or in which nucleation takes `BURST_SHARE` of the gas. `acts` and `both` are of `loss_rate`.
    """
    air, production = sky.air, sky.air["h2so4_production"]
    _, left, _ = condense(sky, usual * sky.usual, gas, acts, both)
    start, end = (x / sky.clear.clamp(min=1e-6) for x in (gas, left))
    rate, few, each = _forming(air, start)
    fast = rate >= RATES[0]
    loss = rate * each * sky.clear * sky.usual
    share = BURST_SHARE * (gas + production.clamp(min=0.0) * sky.usual)
    bursts = fast & (few >= LEAST_CLUSTER) & (loss > share)
    part = torch.minimum(part, ratio(share, loss, bursts, otherwise=1.0).clamp(min=FINEST))
    _, many, _ = _forming(air, end)
    falls = fast & (few < LEAST_CLUSTER) & (many >= LEAST_CLUSTER) & (left < gas) & (both > 0.0)
    if not bool(falls.any()):
        return part
    limit = _ceiling(air, start, few, end, many) * sky.clear
    steady = ratio(production, both, acts)
    far, near = gas - steady, limit - steady
    falls = falls & (near > 0.0) & (far > near) & (near > 1e-30 * far)
    time = ratio(torch.log(ratio(far, near, falls, otherwise=1.0)), both, falls)
    return torch.where(falls, torch.minimum(part, (time / sky.usual).clamp(min=1e-3)), part)


def _forming(air: Columns, gas: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return unlimited(critical(air["temperature"], air["relative_humidity"], gas), gas.dtype)


def _ceiling(air: Columns, above: Tensor, few: Tensor, below: Tensor, many: Tensor) -> Tensor:
    """Gas at which clusters are of `LEAST_CLUSTER` molecules, by secants [cm-3] (n,).

    Between `above`, where they are of `few`, and `below`, where they are of `many`.
    """
    above, below = (torch.log(x.clamp(min=1e4)) for x in (above, below))
    end = at = below
    for _ in range(3):
        share = ratio((many - LEAST_CLUSTER).clamp(min=0.0), many - few, many - few > 1e-6)
        at = below + (above - below) * share
        _, cluster, _ = _forming(air, torch.exp(at))
        inside = cluster >= LEAST_CLUSTER
        below, many = torch.where(inside, at, below), torch.where(inside, cluster, many)
        above, few = torch.where(inside, above, at), torch.where(inside, few, cluster)
    # A little below, so that rounding does not leave it above.
    return torch.exp(torch.maximum(at - ROUNDING, end))
