"""Mean particles of the modes and their sizes, dry and wet: sections 7 and 8 of the contract."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from pyemu.blocks.kappa import LEAST_RADIUS, Moist, water_volume
from pyemu.blocks.modes import (
    CARRIED,
    INSOLUBLE_NAMES,
    LOWER_RADIUS,
    MEAN_TO_MEDIAN,
    MODE,
    MODE_NAMES,
    MODE_OF_MASS,
    SALTY_MODES,
    SALTY_NAMES,
    SEA_SALT,
    SOLUBLE_MODES,
    SOLUBLE_NAMES,
    SULFATE,
    by_name,
    per_mode,
    span,
)
from pyemu.blocks.numerics import columns, cube_root, least, pick, ratio, row
from pyemu.blocks.settings import MOLAR_MASS_H2SO4, Settings
from pyemu.blocks.water import Salt, Uptake, dry_salt, salt_water
from pyemu.variables import MICROGRAM, SOLUBLE, SPECIES, names

_CORE = ("bc", "oc", "du")
_LEAST_CORE = 1e-21
"""Mass per particle below which a core is none [g]."""
_LEAST_SALT, _LEAST_SALT_NUMBER = 1e-15, 1e-10
"""Sea salt and number above which a mode is treated as sea salt [ug m-3], [cm-3]."""
_DUST_MIN = 1e-32
"""Dust per particle below which m7_2004 gives AI and CI no radius [g]."""
_QUIRK_VOLUME = 2.2e-16
"""Particle volume below which the old code took an insoluble particle for none [cm3]."""
_OLDER_VIRTUAL = 100.0
"""Molecules that m7_2004 assumes in an empty nucleation mode."""
_SALTY = span(SALTY_NAMES, SOLUBLE)


class Dry(NamedTuple):
    """Mean dry particles."""

    mean: Tensor
    """Every mass per particle of its mode (n, 18)"""
    molecules: Tensor
    """H2SO4 per particle (n, 4)"""
    core_mass: Tensor
    """BC, OC and DU, and SS for kappa water, per particle [g] (n, 4)"""
    core_volume: Tensor
    """[cm3] (n, 4)"""
    volume: Tensor
    """[cm3], 0 where a mode has no size (n, 4)"""
    salt: tuple[Salt, Tensor] | None
    """AS and CS as sea salt, and whether they are that (n, 2); None for kappa water"""
    virtual: Tensor
    """Molecules per NS particle, for the next evaluation within the step (n,)"""


class Particles(NamedTuple):
    """Particles as they are in their air."""

    wet_radius: Tensor
    """Count median, dry for insoluble modes [cm] (n, 7)"""
    dry_radius: Tensor
    """Count median [cm] (n, 4)"""
    density: Tensor
    """[g cm-3] (n, 7)"""
    water: Tensor
    """[kg m-3] (n, 4)"""
    virtual: Tensor


def particles(
    settings: Settings, air: Uptake | Moist, mass: Tensor, number: Tensor, virtual: Tensor
) -> Particles:
    """Find radii, densities and water of all modes.

    Parameters
    ----------
    mass, number
        (n, 18) [molecules cm-3, ug m-3], (n, 7) [cm-3]
    virtual
        Molecules per NS particle that the step used before, 0 at its start (n,)
    """
    dry = dry_particles(settings, mass, number, virtual)
    if isinstance(air, Moist):
        volume, density, water = _wet_by_kappa(settings, air, dry, number)
    else:
        volume, density, water = _wet(settings, air, dry, number)
    insoluble_volume, insoluble_density = _insoluble(settings, dry.mean)
    wet_radius = median_radius(settings, volume, SOLUBLE_NAMES)
    insoluble_radius = median_radius(settings, insoluble_volume, INSOLUBLE_NAMES)
    return Particles(
        wet_radius=_beside(wet_radius, insoluble_radius),
        dry_radius=median_radius(settings, dry.volume, SOLUBLE_NAMES),
        density=_beside(density, insoluble_density),
        water=water,
        virtual=dry.virtual,
    )


def dry_particles(settings: Settings, mass: Tensor, number: Tensor, virtual: Tensor) -> Dry:
    """Find the mean dry particle of the soluble modes; arguments as of `particles`."""
    core = (*_CORE, "ss") if settings.by_kappa else _CORE
    grams, volumes = _weights(settings, core)
    mean = mean_masses(settings, mass, number)
    molecules = by_name(mean[:, SULFATE], SOLUBLE_NAMES)
    virtual = _virtual_particle(settings, mass, number, virtual, molecules["ns"])
    acid = columns((molecules | {"ns": virtual}).values())
    core_mass = per_mode(mean, SOLUBLE_NAMES, grams)
    core_volume = per_mode(mean, SOLUBLE_NAMES, volumes)
    if not settings.by_kappa:
        cored = core_mass > _LEAST_CORE
        core_mass = torch.where(cored, core_mass, 0.0)
        core_volume = torch.where(cored, core_volume, 0.0)
    volume = acid * (settings.sulfate_grams / settings.densities["so4"]) + core_volume
    if not (settings.sulfate_free_radius or settings.by_kappa):
        volume = torch.where(acid > 0.0, volume, 0.0)
    salt = None if settings.by_kappa else _salt(settings, mass, number)
    if salt is not None:
        volume = _overlay(volume, salt[1], _per_particle(salt[0].volume, number))
    return Dry(mean, acid, core_mass, core_volume, volume, salt, virtual)


def mean_masses(settings: Settings, mass: Tensor, number: Tensor) -> Tensor:
    """Amount of each component per particle, 0 where either is below its threshold (n, 18)."""
    number = pick(number, MODE_OF_MASS)
    there = (mass > settings.mass_min) & (number > settings.number_min)
    return ratio(mass, number, there)


def median_radius(settings: Settings, volume: Tensor, modes: Sequence[str]) -> Tensor:
    """Count median radius [cm] from the volume of the mean particle [cm3], (n, modes)."""
    root = cube_root(volume * (0.75 / settings.pi))
    return root * row((MEAN_TO_MEDIAN[mode] for mode in modes), root)


def dry_volumes(settings: Settings, mass: Tensor) -> Tensor:
    """Dry volume of all that each mode holds [cm3 cm-3] (n, 7)."""
    return per_mode(mass, MODE_NAMES, settings.dry_volumes)


def _weights(
    settings: Settings, core: Sequence[str] = _CORE
) -> tuple[dict[str, float], dict[str, float]]:
    """Mass and volume of a particle's core per ug m-3 and cm-3 [g], [cm3], by species."""
    density = settings.densities
    return dict.fromkeys(core, MICROGRAM), {s: MICROGRAM / density[s] for s in core}


def _virtual_particle(
    settings: Settings, mass: Tensor, number: Tensor, virtual: Tensor, molecules: Tensor
) -> Tensor:
    """Molecules per NS particle, also where the mode is empty (section 7), (n,).

    There ham2 takes as many as fill the mode's lower edge; m7_2004 takes 100, or what it took
    before in the same step if only one of number and mass is missing.
    """
    if settings.older:
        empty = mass[:, CARRIED["ns"]["so4"]] <= settings.mass_min
        empty = empty & (number[:, MODE["ns"]] <= settings.number_min)
        kept = torch.where(empty, _OLDER_VIRTUAL, virtual)
    else:
        sphere = 4.0 * settings.pi / 3.0 * LOWER_RADIUS["ns"] ** 3
        edge = sphere * settings.densities["so4"] * settings.avogadro / MOLAR_MASS_H2SO4
        kept = torch.full_like(molecules, edge)
    return torch.where(molecules > 0.0, molecules, kept)


def _salt(settings: Settings, mass: Tensor, number: Tensor) -> tuple[Salt, Tensor]:
    """AS and CS as sea salt, and whether they are treated as that (section 8.2), (n, 2)."""
    density = settings.densities
    salty = mass[:, SEA_SALT] > _LEAST_SALT
    salty = salty & (number[:, SALTY_MODES] > _LEAST_SALT_NUMBER)
    core_mass = per_mode(mass, SALTY_NAMES, dict.fromkeys(_CORE, 1e-6))
    core_volume = per_mode(mass, SALTY_NAMES, {s: 1e-6 / density[s] for s in _CORE})
    if not settings.reset_seasalt_sums:
        core_mass = core_mass + _leak(core_mass, salty)
        core_volume = core_volume + _leak(core_volume, salty)
    sulfate = mass[:, SULFATE][:, _SALTY]
    return dry_salt(settings, sulfate, mass[:, SEA_SALT], core_mass, core_volume), salty


def _leak(core: Tensor, salty: Tensor) -> Tensor:
    """Give CS what the 2012 code forgot to reset: the sums of an AS mode that held sea salt."""
    return torch.nn.functional.pad(torch.where(salty, core, 0.0), (1, -1))


def _per_particle(volume: Tensor, number: Tensor) -> Tensor:
    """From cm3 m-3 to cm3, of AS and CS (n, 2)."""
    return volume * 1e-6 / number[:, SALTY_MODES].clamp(min=_LEAST_SALT_NUMBER)


def _wet(
    settings: Settings, air: Uptake, dry: Dry, number: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Volume [cm3], density [g cm-3] and water [kg m-3] of soluble modes (n, 4)."""
    assert dry.salt is not None
    salt, salty = dry.salt
    acid = dry.molecules > 0.0
    sized = dry.volume > least(dry.volume)
    solution = air.solution(torch.where(acid, dry.molecules, 1e3))
    dissolved = dry.molecules * (MOLAR_MASS_H2SO4 / settings.avogadro)
    droplet = dissolved * 100.0 / solution.weight_percent
    volume = torch.where(sized, droplet / solution.density + dry.core_volume, 0.0)
    sized = sized & (volume > least(volume))
    density = ratio(droplet + dry.core_mass, volume, sized)
    water = torch.where(acid, (droplet - dissolved) * number[:, SOLUBLE_MODES] * 1e3, 0.0)

    held = salt_water(air, salt)
    brine = salt.volume + held * 1e3
    salt_volume = _per_particle(brine, number)
    salt_density = ratio(salt.mass + held * 1e3, brine, salty)
    return (
        _overlay(volume, salty, salt_volume),
        _overlay(density, salty, salt_density),
        _overlay(water, salty, held),
    )


def _wet_by_kappa(
    settings: Settings, air: Moist, dry: Dry, number: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """As `_wet`: the whole dry particle grows by the mean kappa of its species (section 8.4)."""
    sulfate = dry.molecules * settings.sulfate_grams
    volumes = {s: MICROGRAM / settings.densities[s] for s in settings.kappas if s != "so4"}
    takes_up = {s: v for s, v in volumes.items() if settings.kappas[s] > 0.0}
    weights = {s: settings.kappas[s] * v for s, v in takes_up.items()}
    acid = sulfate / settings.densities["so4"]
    hygroscopic = acid + per_mode(dry.mean, SOLUBLE_NAMES, takes_up)
    weighted = settings.kappas["so4"] * acid + per_mode(dry.mean, SOLUBLE_NAMES, weights)
    radius = median_radius(settings, dry.volume, SOLUBLE_NAMES)
    sized = radius > LEAST_RADIUS
    grows = sized & (hygroscopic > max(settings.hygroscopic_volume_min, least(hygroscopic)))
    whole = dry.volume if settings.kappa_full_volume else hygroscopic
    kappa = ratio(weighted, whole, grows)
    taken = water_volume(air, torch.where(sized, radius, 1e-5), kappa) * dry.volume
    taken = torch.where(sized, taken, 0.0)
    volume = dry.volume + taken
    density = ratio(sulfate + dry.core_mass + taken, volume, sized, otherwise=1.0)
    return volume, density, taken * number[:, SOLUBLE_MODES] * 1e3


def _insoluble(settings: Settings, mean: Tensor) -> tuple[Tensor, Tensor]:
    """Mean volume [cm3] and density [g cm-3] of the insoluble modes, which stay dry (n, 3)."""
    grams, volumes = _weights(settings)
    volume = per_mode(mean, INSOLUBLE_NAMES, volumes)
    least_volume = dict.fromkeys(INSOLUBLE_NAMES, settings.insoluble_volume_min)
    if settings.older:
        dust = _DUST_MIN / settings.densities["du"]
        least_volume |= {mode: dust for mode in INSOLUBLE_NAMES if "du" in CARRIED[mode]}
    if not settings.small_insoluble_volume:
        least_volume = dict.fromkeys(INSOLUBLE_NAMES, _QUIRK_VOLUME)
    sized = volume > row(least_volume.values(), volume).clamp(min=least(volume))
    density = ratio(per_mode(mean, INSOLUBLE_NAMES, grams), volume, sized)
    return torch.where(sized, volume, 0.0), density


def _overlay(base: Tensor, there: Tensor, salt: Tensor) -> Tensor:
    """Replace AS and CS of (n, 4) where they hold sea salt."""
    changed = torch.where(there, salt, base[:, _SALTY])
    return _beside(base[:, : _SALTY.start], changed)


def _beside(left: Tensor, right: Tensor) -> Tensor:
    return torch.cat((left.T, right.T)).T


assert set(_CORE) == set(names(SPECIES)) - {"so4", "ss"}
