"""Learned forms: the features that each reads, the targets that it gives, and what they mean.

Networks give rates and properties, never amounts: M7's own equations and conservative moves use
them as they use the exact forms. The names are those of the model file (`pyemu.modelfile`).
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from pyemu.blocks.modes import INSOLUBLE_NAMES, MODE_NAMES
from pyemu.blocks.network import Network
from pyemu.blocks.numerics import columns

PARTNERS = {
    "ns": ("ns", "ks", "as", "cs", "ki", "ai", "ci"),
    "ks": ("ks", "as", "cs", "ki", "ai", "ci"),
    "as": ("as", "ki"),
    "ki": ("ki",),
}
PAIRS = tuple((one, other) for one, others in PARTNERS.items() for other in others)
"""The sixteen pairs that M7 lets collide."""
MOLECULES = (1e1, 1e4, 1e7, 1e10, 1e13)
"""H2SO4 per particle of the five sizes at which a network tells the solution [1]: with these,
evenly spaced in their logarithm, weight-% and density are quartic in ln n, as in section 8.1."""
_SIZES = tuple(f"1e{round(math.log10(n))}" for n in MOLECULES)

_RADII = tuple(f"ln_wet_radius_{mode}" for mode in MODE_NAMES)
_AIR = ("temperature", "ln_pressure")
PARTICLE_FEATURES = (*_RADII, *(f"density_{mode}" for mode in MODE_NAMES), *_AIR)


class Form(NamedTuple):
    """What a learned form reads and gives."""

    features: tuple[str, ...]
    targets: tuple[str, ...]


FORMS = {
    "water": Form(
        ("temperature", "relative_humidity", "ln_pressure"),
        (
            *(f"ln_weight_percent_{size}" for size in _SIZES),
            *(f"solution_density_{size}" for size in _SIZES),
        ),
    ),
    "salt": Form(
        ("water_activity", "ln_subsaturation"),
        tuple(f"ln_water_per_{salt}" for salt in ("nacl", "na2so4", "h2so4")),
    ),
    "condensation": Form((*_RADII, *_AIR), tuple(f"ln_sink_{mode}" for mode in MODE_NAMES)),
    "nucleation": Form(
        ("temperature", "ln_saturation", "ln_gas"),
        ("ln_nucleation_rate", "ln_cluster_molecules", "ln_cluster_h2so4"),
    ),
    "coagulation": Form(
        PARTICLE_FEATURES, tuple(f"ln_kernel_{one}_{other}" for one, other in PAIRS)
    ),
    "ageing": Form(
        tuple(f"ln_wet_radius_{mode}" for mode in INSOLUBLE_NAMES),
        tuple(f"ln_coating_{mode}" for mode in INSOLUBLE_NAMES),
    ),
}
"""Learned form -> what its own network reads and gives. `salt` is the sea salt of block `water`."""
OF_PARTICLES = ("condensation", "coagulation", "ageing")
"""Forms of the particles, which may have a network in common: the trunk."""
WETTING = ("water", "salt")
"""Those of block `water`."""
OF_AIR = ("water", "salt", "nucleation")
"""Forms of the air alone: small networks of a few variables."""


def trunk_of(gives: Sequence[str] = OF_PARTICLES, *, density: bool = True) -> Form:
    """Trunk that gives some forms of the particles, and may go without the modes' densities."""
    features = PARTICLE_FEATURES if density else (*_RADII, *_AIR)
    told = (target for name in OF_PARTICLES if name in gives for target in FORMS[name].targets)
    return Form(features, tuple(told))


TRUNK = trunk_of()
NETWORKS = {**FORMS, "trunk": TRUNK}
"""Networks that training knows by name."""
_LN_MIN = -50.0
_MAX = {"condensation": 1e9, "coagulation": 1e6, "ageing": 1e17}
"""Bounds of learned rates, beyond all there is, so that the step stays finite: sink and kernel
[cm3 s-1], coating [1]."""
_ABOVE_SATURATION = 0.01
"""Keeps the logarithm of what is missing to saturation finite [1]."""


def serves(network: Network) -> tuple[str, ...]:
    """Find the forms whose targets a network gives.

    Raises
    ------
    ValueError
        Targets of none, or of forms that cannot share a network, features that they do not know.
    """
    wanted = set(network.targets)
    found = tuple(name for name, form in FORMS.items() if set(form.targets) <= wanted)
    given = [target for name in found for target in FORMS[name].targets]
    if not found or sorted(given) != sorted(network.targets):
        raise ValueError("it does not give just the targets of blocks that have a learned form")
    if len(found) > 1 and not set(found) <= set(OF_PARTICLES):
        raise ValueError(f"{', '.join(found)} cannot share a network")
    known = PARTICLE_FEATURES if found[0] in OF_PARTICLES else FORMS[found[0]].features
    if not set(network.features) <= set(known):
        raise ValueError(f"it reads features that {found[0]} does not know")
    return found


def columns_of(names: Sequence[str], known: Sequence[str]) -> list[int]:
    """Places of names among those known."""
    return [known.index(name) for name in names]


def particle_features(
    pressure: Tensor, temperature: Tensor, radius: Tensor, density: Tensor
) -> tuple[Tensor, Tensor]:
    """`PARTICLE_FEATURES` (n, 16), and which are known: those of modes with particles, and the air.

    Parameters
    ----------
    pressure, temperature
        (n,) [Pa], [K]
    radius, density
        Ambient (n, 7) [cm], [g cm-3]
    """
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


def subsaturation(activity: Tensor) -> Tensor:
    """ln(1 - a + 0.01) of the water activity [1]: what salts hold is steep near saturation."""
    return torch.log(1.0 + _ABOVE_SATURATION - activity)


def evaluate(
    network: Network, known: Sequence[str], features: Tensor, there: Tensor | None = None
) -> tuple[dict[str, Tensor], Tensor]:
    """Give targets by name (n,), and the guard's flag (n,), from features by the names `known`."""
    places = columns_of(network.features, known)
    picked = features[..., places]
    here = None if there is None else there[..., places]
    given = network(picked, here).unbind(-1)
    return dict(zip(network.targets, given, strict=True)), network.flag(picked, here)


def rates(targets: dict[str, Tensor], form: str) -> Tensor:
    """Join the logarithms of a form's rates to (n, k), bounded."""
    joined = columns(targets[name] for name in FORMS[form].targets)
    return joined.clamp(_LN_MIN, math.log(_MAX[form]))
