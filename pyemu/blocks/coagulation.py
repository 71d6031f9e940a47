"""Brownian coagulation kernels: section 11 of the physics contract (Fuchs 1964, par. 49)."""

from typing import NamedTuple

import torch
from torch import Tensor

from pyemu.blocks.modes import MODE, MODE_NAMES
from pyemu.blocks.network import Network
from pyemu.blocks.numerics import EPSILON, columns, pick
from pyemu.blocks.settings import Settings

_PARTNERS = {
    "ns": ("ns", "ks", "as", "cs", "ki", "ai", "ci"),
    "ks": ("ks", "as", "cs", "ki", "ai", "ci"),
    "as": ("as", "ki"),
    "ki": ("ki",),
}
PAIRS = tuple((one, other) for one, others in _PARTNERS.items() for other in others)
"""The sixteen pairs that M7 lets collide."""
FEATURES = (
    *(f"ln_wet_radius_{mode}" for mode in MODE_NAMES),
    *(f"density_{mode}" for mode in MODE_NAMES),
    "temperature",
    "ln_pressure",
)
TARGETS = tuple(f"ln_kernel_{one}_{other}" for one, other in PAIRS)

_FIRST = [MODE[one] for one, _ in PAIRS]
_SECOND = [MODE[other] for _, other in PAIRS]
_BOLTZMANN = 1.38e-16
"""[erg K-1]"""
_LN_LIMITS = (-80.0, 0.0)
"""Bounds of a learned ln K, beyond all there is, so that the step stays finite."""
_DENSITY_MIN = 1e-10
"""[g cm-3]"""


class Kernels(NamedTuple):
    """Kernels of `PAIRS` [cm3 s-1] (n, 16), 0 where a mode is empty, and the guard's flag (n,)."""

    kernel: Tensor
    flag: Tensor

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
    network: Network | None = None,
) -> Kernels:
    """Find all kernels at the count median radii, by `network` if there is one.

    Parameters
    ----------
    pressure, temperature
        (n,) [Pa], [K]
    radius, density, number
        Ambient (n, 7) [cm], [g cm-3], [cm-3]
    """
    there = (number > settings.kernel_number_min) & (radius > settings.kernel_radius_min)
    there = there & (density > _DENSITY_MIN)
    if network is None:
        r = torch.where(there, radius, 1e-5)
        kernel = _brownian(settings, pressure, temperature, r, torch.where(there, density, 1.0))
        flag = torch.zeros_like(pressure, dtype=torch.int32)
    else:
        features, known = kernel_features(pressure, temperature, radius, density)
        kernel = torch.exp(network(features, known).clamp(*_LN_LIMITS))
        flag = network.flag(features, known)
    both = pick(there, _FIRST) & pick(there, _SECOND)
    return Kernels(torch.where(both, kernel, 0.0), flag)


def no_kernels(pressure: Tensor) -> Kernels:
    """Kernels of cells (n,) where coagulation is switched off."""
    kernel = torch.zeros(len(PAIRS), len(pressure), dtype=pressure.dtype, device=pressure.device).T
    return Kernels(kernel, torch.zeros_like(pressure, dtype=torch.int32))


def kernel_features(
    pressure: Tensor, temperature: Tensor, radius: Tensor, density: Tensor
) -> tuple[Tensor, Tensor]:
    """`FEATURES` (n, 16), and which are known: those of modes with particles, and of the air."""
    sized = radius > 0.0
    air = torch.ones_like(pressure, dtype=torch.bool)
    features = torch.cat(
        (
            torch.log(torch.where(sized, radius, 1.0)).T,
            density.T,
            columns((temperature, torch.log(pressure))).T,
        )
    ).T
    return features, torch.cat((sized.T, sized.T, columns((air, air)).T)).T


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
