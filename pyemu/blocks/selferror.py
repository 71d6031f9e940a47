"""The self-error head: a small network that tells of each cell how wrong its step may be.

It reads the state at the start of the step and gives u, the bound that the cell's error stays
under with a probability of 90 %. The error is the root mean square over the 26 prognostics and 4
waters of their tendencies' errors, each in units of the standard deviation that the variable's
tendencies had in the records which the head was made from (`pyemu.distil`, emulator.md section 6).
"""

import torch
from torch import Tensor

from pyemu.blocks.learned import Form
from pyemu.blocks.modes import MODE_NAMES, Columns
from pyemu.blocks.network import Network
from pyemu.blocks.numerics import columns

HEAD = Form(
    (
        *(f"ln_number_{mode}" for mode in MODE_NAMES),
        *(f"ln_wet_radius_{mode}" for mode in MODE_NAMES),
        "temperature",
        "ln_pressure",
        "relative_humidity",
        "cloud_fraction",
        "ln_h2so4_available",
        "ln_timestep",
    ),
    ("ln_error_bound",),
)
"""What the head may read, and gives: ln u [1]."""
LN_BOUND = (-30.0, 10.0)
"""Bounds of what is given, so that it stays finite in single precision."""


def error_features(
    air: Columns, available: Tensor, number: Tensor, radius: Tensor, dt: Tensor
) -> tuple[Tensor, Tensor]:
    """Give the features of `HEAD` (n, 20), and which of them are known.

    Parameters
    ----------
    air
        Environment by name (n,).
    available
        H2SO4 before the step and what is produced in it [cm-3] (n,)
    number, radius
        Particles [cm-3] and wet radii [cm], 0 where a mode is empty (n, 7).
    dt
        [s] (n,)
    """
    amounts = torch.cat((number.T, radius.T, available[None, :]))
    sized = (number > 0.0) & (radius > 0.0)
    some = torch.cat((sized.T, sized.T, (available > 0.0)[None, :]))
    logs = torch.log(torch.where(some, amounts, 1.0))
    plain = columns(
        (
            air["temperature"],
            torch.log(air["pressure"]),
            air["relative_humidity"],
            air["cloud_fraction"],
        )
    )
    features = torch.cat((logs[:-1], plain.T, logs[-1:], torch.log(dt)[None, :]))
    always = torch.ones_like(some[:1])
    return features.T, torch.cat((some[:-1], always.expand(4, -1), some[-1:], always)).T


def error_bound(head: Network, features: Tensor, there: Tensor) -> Tensor:
    """Give u [1] (n,) of `error_features`."""
    places = [HEAD.features.index(name) for name in head.features]
    told = head(features[:, places], there[:, places])[:, 0]
    return torch.exp(told.clamp(*LN_BOUND))
