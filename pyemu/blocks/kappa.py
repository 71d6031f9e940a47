"""Water uptake by kappa-Koehler theory: section 8.4 of the physics contract.

`bridge/engine/kappa.h` says the same.
"""

from typing import NamedTuple

import torch
from torch import Tensor

KELVIN = 2.0 * 0.072 * 0.018 / (8.314 * 1.0e3) * 1.0e2
"""2 sigma M_w/(R rho_w): the Kelvin radius is this over temperature [cm K]."""
LEAST_RADIUS = 1e-8
"""Dry radius below which particles stay dry [cm]."""
_STEPS = 4
"""Newton steps to 1e-14; the start is within a factor of two [1]."""
_NOTHING = 1e-30


class Moist(NamedTuple):
    """How the air of each cell wets particles; the same for all modes and times within a step."""

    kelvin: Tensor
    """Kelvin radius [cm] (n, 1)"""
    humidity: Tensor
    """Relative, 0 to 1 [1] (n, 1)"""
    flag: Tensor
    """Of a network's guard (n,) int32: none yet"""


def moist(temperature: Tensor, relative_humidity: Tensor) -> Moist:
    """Prepare the uptake from air (n,) [K, 1]."""
    flag = torch.zeros_like(temperature, dtype=torch.int32)
    return Moist(KELVIN / temperature[:, None], relative_humidity[:, None], flag)


def water_volume(air: Moist, dry_radius: Tensor, kappa: Tensor) -> Tensor:
    """Volume of water over that of the dry particle, G**3 - 1, all (n, modes).

    Solves RH exp(-A/(r G)) = V/(V + kappa), V = G**3 - 1 and A the Kelvin radius (Petters and
    Kreidenweis 2007, equation 6), which has one root for RH to 1 and kappa to 10. Newton's steps
    are on the logarithm of v = V/kappa, of which the equation is nearly linear: v = e/(1 - e) with
    e = RH exp(-A/(r G)). Their gradient is that of the solution.

    Parameters
    ----------
    dry_radius
        Positive [cm]
    kappa
        0 to 10 [1]
    """
    reach = air.kelvin / dry_radius
    with torch.no_grad():
        size = _start(reach, air.humidity, kappa)
        e, lost = _activity(reach, air.humidity, size)
        v = e / lost
        for _ in range(_STEPS):
            v, _ = _step(reach, air.humidity, kappa, v)
        _, slope = _step(reach, air.humidity, kappa, v)
    e, lost = _activity(reach, air.humidity, _shrink(kappa * v))
    wrong = 2.0 * (v * lost - e) / (v * lost + e).clamp(min=_NOTHING)
    return kappa * v * (1.0 - wrong / slope)


def _start(reach: Tensor, humidity: Tensor, kappa: Tensor) -> Tensor:
    """1/G of the least of two droplets that are too large: at RH 1, and without curvature."""
    saturated = 1.0 + kappa / (reach * (1.0 + reach * (0.5 + reach / 6.0)))
    flat = kappa * (humidity / (1.0 - humidity).clamp(min=1e-12))
    return torch.maximum(saturated.rsqrt(), _shrink(flat))


def _step(reach: Tensor, humidity: Tensor, kappa: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Take one Newton step: v, and the slope of the equation in ln v, which is 0.5 to 1."""
    volume = kappa * v
    size = _shrink(volume)
    e, lost = _activity(reach, humidity, size)
    slope = 1.0 - reach * volume * size**4 / (3.0 * lost)
    share = (v * lost - e) / (v * lost + e).clamp(min=_NOTHING) * (1.0 - slope) / slope
    return e / lost * (1.0 - share) / (1.0 + share), slope


def _activity(reach: Tensor, humidity: Tensor, size: Tensor) -> tuple[Tensor, Tensor]:
    """RH exp(-A/(r G)), and what is missing to 1, which does not cancel near saturation."""
    h = reach * size
    return humidity * torch.exp(-h), (1.0 - humidity) - humidity * torch.expm1(-h)


def _shrink(volume: Tensor) -> Tensor:
    """1/G of a volume of water."""
    return (1.0 + volume).pow(-1.0 / 3.0)
