"""What a model file may say: blocks, features, targets and settings, by name."""

import math
from collections.abc import Mapping
from typing import Any

from pyemu.variables import MODES, SPECIES, names, unknown

CHAIN = (
    "properties",
    "water",
    "condensation",
    "nucleation",
    "coagulation",
    "number",
    "transfer",
    "ageing",
    "merging",
)
LEARNED = ("water", "condensation", "nucleation", "coagulation", "ageing")
"""Blocks that may be a network."""
OF_PARTICLES = ("condensation", "coagulation", "ageing")
"""Those whose networks read the particles, and that may share one."""
ACTIVATIONS = ("none", "relu", "silu", "tanh")
OPERATIONS = ("dense", "residual", "gated", "low_rank")
PAIRS = tuple(
    (first, second)
    for first, others in (
        ("ns", "ns ks as cs ki ai ci"),
        ("ks", "ks as cs ki ai ci"),
        ("as", "as ki"),
        ("ki", "ki"),
    )
    for second in others.split()
)
"""Modes that collide, in the order of `fortran/m7/m7_coagulation.f90`."""
_INSOLUBLE = tuple(mode.name for mode in MODES if not mode.soluble)
_RADII = tuple(f"ln_wet_radius_{mode.name}" for mode in MODES)
_AIR = ("temperature", "ln_pressure")
_SIZES = ("1e1", "1e4", "1e7", "1e10", "1e13")
FEATURES = {
    "water": ("temperature", "relative_humidity", "ln_pressure"),
    "salt": ("water_activity", "ln_subsaturation"),
    "condensation": (*_RADII, *_AIR),
    "nucleation": ("temperature", "ln_saturation", "ln_gas"),
    "coagulation": (*_RADII, *(f"density_{mode.name}" for mode in MODES), *_AIR),
    "ageing": tuple(f"ln_wet_radius_{mode}" for mode in _INSOLUBLE),
}
"""What a network of a block, or of the sea salt of `water`, reads by default."""
HEAD_FEATURES = (
    *(f"ln_number_{mode.name}" for mode in MODES),
    *_RADII,
    "temperature",
    "ln_pressure",
    "relative_humidity",
    "cloud_fraction",
    "ln_h2so4_available",
    "ln_timestep",
)
"""What the self-error head may read."""
HEAD_TARGETS = ("ln_error_bound",)
LEVEL = 0.9
"""Share of the cells whose error stays below what the head gives."""
KNOWN = FEATURES | dict.fromkeys(OF_PARTICLES, FEATURES["coagulation"])
"""What it may read."""
TARGETS = {
    "water": (
        *(f"ln_weight_percent_{size}" for size in _SIZES),
        *(f"solution_density_{size}" for size in _SIZES),
    ),
    "salt": tuple(f"ln_water_per_{salt}" for salt in ("nacl", "na2so4", "h2so4")),
    "condensation": tuple(f"ln_sink_{mode.name}" for mode in MODES),
    "nucleation": ("ln_nucleation_rate", "ln_cluster_molecules", "ln_cluster_h2so4"),
    "coagulation": tuple(f"ln_kernel_{first}_{second}" for first, second in PAIRS),
    "ageing": tuple(f"ln_coating_{mode}" for mode in _INSOLUBLE),
}
CHOICES = {
    "profile": ("ham2", "m7_2004"),
    "water": ("zsr", "kappa"),
    "nucleation": ("vehkamaki2002", "kazil_lovejoy2007", "none"),
    "organic_nucleation": ("none", "activation", "kinetic"),
}
SWITCHES = (
    "condensation",
    "coagulation",
    "reset_seasalt_sums",
    "small_insoluble_volume",
    "limited_ageing",
    "source_coagulation",
    "clip_weight_percent",
    "sulfate_free_radius",
    "kappa_full_volume",
)
AMOUNTS = (
    "number_min",
    "mass_min",
    "insoluble_volume_min",
    "hygroscopic_volume_min",
    "kernel_number_min",
    "kernel_radius_min",
    "equation_number_min",
    "ageing_number_min",
    "merging_number_min",
    "merging_radius_min",
    "pi",
    "sqrt2",
    "avogadro",
)
OPTIONAL = ("production_in_gas",)
"""Switches that are off where a file does not say them."""
PER_SPECIES = ("density", "kappa")
SETTINGS = (*CHOICES, *SWITCHES, *OPTIONAL, *PER_SPECIES, *AMOUNTS)


def check_settings(settings: Mapping[str, Any]) -> None:
    """Refuse settings that are missing, unknown, of a wrong type or out of range."""
    for name in settings:
        if name not in SETTINGS:
            raise ValueError(f"settings: {unknown(name, SETTINGS)}")
    for name in SETTINGS:
        if name in OPTIONAL and name not in settings:
            continue
        if name not in settings:
            raise ValueError(f"settings: {name} is missing")
        value = settings[name]
        if name in CHOICES and value not in CHOICES[name]:
            raise ValueError(f"settings: {name} = {value!r} is not one of {CHOICES[name]}")
        if name in (*SWITCHES, *OPTIONAL) and not isinstance(value, bool):
            raise ValueError(f"settings: {name} = {value!r} is not true or false")
        if name in PER_SPECIES and (not isinstance(value, list) or len(value) != len(SPECIES)):
            raise ValueError(f"settings: {name} needs a list of {', '.join(names(SPECIES))}")
        if name in (*AMOUNTS, *PER_SPECIES):
            for part in value if isinstance(value, list) else [value]:
                number = isinstance(part, int | float) and not isinstance(part, bool)
                if not (number and math.isfinite(part) and part >= 0.0):
                    raise ValueError(f"settings: {name} = {value!r}; allowed is [0, inf)")
    if settings["nucleation"] == "kazil_lovejoy2007":
        raise ValueError("settings: a model file holds no table for kazil_lovejoy2007")
