"""Brownian coagulation kernels: section 11 of the physics contract (Fuchs 1964, par. 49)."""

from typing import NamedTuple

import torch
from torch import Tensor

from pyemu.blocks.learned import PAIRS
from pyemu.blocks.modes import MODE
from pyemu.blocks.numerics import EPSILON, pick
from pyemu.blocks.settings import Settings

_FIRST = [MODE[one] for one, _ in PAIRS]
_SECOND = [MODE[other] for _, other in PAIRS]
_BOLTZMANN = 1.38e-16
"""[erg K-1]"""
_DENSITY_MIN = 1e-10
"""[g cm-3]"""


class Kernels(NamedTuple):
    """Kernels of `PAIRS` [cm3 s-1] (n, 16), 0 where a mode is empty."""

    kernel: Tensor

    def between(self, one: str, other: str) -> Tensor:
        """Kernel of two modes, in either order (n,)."""
        pair = (one, other) if (one, other) in PAIRS else (other, one)
        return self.kernel[:, PAIRS.index(pair)]


def kernels(
    settings: Settings,
    pressure: Tensor,
    temperature: Tensor,
    radius: Tensor,
    density: Tensor,
    number: Tensor,
    ln_kernel: Tensor | None = None,
) -> Kernels:
    """Find all kernels at the count median radii, or take them as they were learned.

    Parameters
    ----------
    pressure, temperature
        (n,) [Pa], [K]
    radius, density, number
        Ambient (n, 7) [cm], [g cm-3], [cm-3]
    ln_kernel
        Learned (n, 16) [ln(cm3 s-1)]
    """
    there = (number > settings.kernel_number_min) & (radius > settings.kernel_radius_min)
    there = there & (density > _DENSITY_MIN)
    if ln_kernel is None:
        r = torch.where(there, radius, 1e-5)
        kernel = _brownian(settings, pressure, temperature, r, torch.where(there, density, 1.0))
    else:
        kernel = torch.exp(ln_kernel)
    both = pick(there, _FIRST) & pick(there, _SECOND)
    return Kernels(torch.where(both, kernel, 0.0))


def no_kernels(pressure: Tensor) -> Kernels:
    """Kernels of cells (n,) where coagulation is switched off."""
    kernel = torch.zeros(len(PAIRS), len(pressure), dtype=pressure.dtype, device=pressure.device).T
    return Kernels(kernel)


def _brownian(
    settings: Settings, pressure: Tensor, temperature: Tensor, r: Tensor, density: Tensor
) -> Tensor:
    """Fuchs' kernels of particles that are there: radius and density positive (n, 16)."""
    pi = settings.pi
    path_scale = 6.6e-6 / 293.15 * 1e5 if settings.older else 2.251e-3
    shrink = 0.5 / settings.sqrt2 if settings.older else 0.5
    grain = 0.0 if settings.older else EPSILON
    p, t = pressure[:, None], temperature[:, None]
    viscosity = 1.827e-4 * torch.exp(0.74 * torch.log(t / 291.15))
    # Divided by one factor at a time, so that no gradient overflows in float32.
    velocity2 = 6.0 * _BOLTZMANN / pi**2 * t / density / r / r / r
    knudsen = path_scale * t / p / (2.0 * r)
    slip = 1.0 + knudsen * (2.492 + 0.84 * torch.exp(-0.43 / knudsen))
    diffusivity = _BOLTZMANN / (6.0 * pi) * t / viscosity / r * slip
    # ((2r+l)**3 - (4r**2+l**2)**1.5)/(6 r l) - 2r, freed of all differences but a harmless one.
    path = 8.0 / pi * diffusivity / velocity2.sqrt()
    wide = 2.0 * r
    root = (wide * wide + path * path).sqrt()
    gap = wide + 4.0 * path + 2.0 * root - wide * path / (root + wide)
    gap = settings.sqrt2 / 3.0 * path * gap / (wide + path + root)

    one, other = (
        (pick(x, _FIRST) for x in (r, diffusivity, velocity2, gap)),
        (pick(x, _SECOND) for x in (r, diffusivity, velocity2, gap)),
    )
    (r1, d1, v1, g1), (r2, d2, v2, g2) = one, other
    mean_r = 0.5 * (r1 + r2) + grain
    mean_d = 0.5 * (d1 + d2)
    speed = (v1 + v2).sqrt()
    spread = mean_r + shrink * (g1 * g1 + g2 * g2).sqrt()
    above = 16.0 * pi * mean_d * mean_r * speed * mean_r * spread
    return above / (4.0 * mean_d * spread + speed * mean_r * mean_r)
