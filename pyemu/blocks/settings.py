"""The switches and constants of M7 that the blocks read: `m7_config_type`, frozen."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, Self, get_args

from pyemu.variables import MICROGRAM, SPECIES, names, unknown

MOLAR_MASS_H2SO4 = 98.0734
_MOLAR_MASS_SO4 = 96.0631
"""[g mol-1]; the second is what HAM's routine for kappa water gives to sulfate"""

Profile = Literal["ham2", "m7_2004"]
Water = Literal["zsr", "kappa"]
Nucleation = Literal["vehkamaki2002", "kazil_lovejoy2007", "none"]
OrganicNucleation = Literal["none", "activation", "kinetic"]

_CHOICES = {
    "profile": get_args(Profile),
    "water": get_args(Water),
    "nucleation": get_args(Nucleation),
    "organic_nucleation": get_args(OrganicNucleation),
}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Every component of `m7_config_type` (`fortran/m7/m7_config.f90` documents each, with unit).

    All but the nucleation table and the sub-steps. There are no defaults: those are Fortran's, and
    `from_reference` brings them. `to_json` leaves out `production_in_gas` where it is False.

    Raises
    ------
    ValueError
        A value out of range.
    """

    profile: Profile
    water: Water
    nucleation: Nucleation
    organic_nucleation: OrganicNucleation
    condensation: bool
    coagulation: bool
    density: tuple[float, ...]
    kappa: tuple[float, ...]
    reset_seasalt_sums: bool
    small_insoluble_volume: bool
    limited_ageing: bool
    source_coagulation: bool
    clip_weight_percent: bool
    sulfate_free_radius: bool
    kappa_full_volume: bool
    number_min: float
    mass_min: float
    insoluble_volume_min: float
    hygroscopic_volume_min: float
    kernel_number_min: float
    kernel_radius_min: float
    equation_number_min: float
    ageing_number_min: float
    merging_number_min: float
    merging_radius_min: float
    pi: float
    sqrt2: float
    avogadro: float
    production_in_gas: bool = False  # files of former versions do not say it

    def __post_init__(self) -> None:
        for field in fields(self):
            _check(field.name, field.type, getattr(self, field.name))

    @property
    def older(self) -> bool:
        """Whether this is the generation m7_2004."""
        return self.profile == "m7_2004"

    @property
    def by_kappa(self) -> bool:
        """Whether water is taken up by kappa-Koehler theory."""
        return self.water == "kappa"

    @property
    def sulfate_grams(self) -> float:
        """Mass of a molecule of sulfate in a particle [g]; moved volumes are of H2SO4 always."""
        return (_MOLAR_MASS_SO4 if self.by_kappa else MOLAR_MASS_H2SO4) / self.avogadro

    @property
    def kappas(self) -> dict[str, float]:
        """Hygroscopicity by species [1]."""
        return dict(zip(names(SPECIES), self.kappa, strict=True))

    @property
    def densities(self) -> dict[str, float]:
        """Density by species [g cm-3]."""
        return dict(zip(names(SPECIES), self.density, strict=True))

    @property
    def dry_volumes(self) -> dict[str, float]:
        """Volume of a molecule of sulfate, and of a ug m-3 in each cm3 of the others [cm3]."""
        volumes = {name: MICROGRAM / density for name, density in self.densities.items()}
        return volumes | {"so4": MOLAR_MASS_H2SO4 / self.avogadro / self.densities["so4"]}

    @classmethod
    def from_reference(cls, config: Any) -> Self:
        """Take the settings that a `pyemu.reference.Config` gives the Fortran reference."""
        native = config.build()
        values: dict[str, Any] = {}
        for field in fields(cls):
            if field.name in _CHOICES:
                values[field.name] = getattr(config, field.name)
            elif field.type is bool:
                values[field.name] = bool(getattr(native, field.name))
            elif field.type is float:
                values[field.name] = float(getattr(native, field.name))
            else:
                values[field.name] = tuple(float(value) for value in getattr(native, field.name))
        return cls(**values)

    def to_json(self) -> dict[str, Any]:
        """Give the settings as plain JSON values, by the names of `m7_config_type`."""
        told = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}
        if not self.production_in_gas:
            del told["production_in_gas"]
        return told

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> Self:
        """Read what `to_json` gave; ValueError on a missing, unknown or impossible setting."""
        known = [field.name for field in fields(cls)]
        for name in given:
            if name not in known:
                raise ValueError(unknown(str(name), known))
        missing = [name for name in known if name not in {*given, "production_in_gas"}]
        if missing:
            raise ValueError(f"missing from the settings: {', '.join(missing)}")
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in given.items()
        }
        return cls(**values)


def _check(name: str, kind: Any, value: Any) -> None:
    allowed = "a finite number, 0 or above"
    if name in _CHOICES:
        allowed = ", ".join(map(repr, _CHOICES[name]))
        good = value in _CHOICES[name]
    elif kind is bool:
        allowed = "True, False"
        good = isinstance(value, bool)
    elif kind is float:
        good = _number(value)
    else:
        allowed = f"{len(SPECIES)} finite numbers, 0 or above (density: above 0)"
        good = isinstance(value, tuple) and len(value) == len(SPECIES)
        good = good and all(_number(x) and (x > 0.0 or name == "kappa") for x in value)
    if not good:
        raise ValueError(f"{name} = {value!r}; allowed is {allowed}")


def _number(value: Any) -> bool:
    real = isinstance(value, int | float) and not isinstance(value, bool)
    return real and math.isfinite(value) and value >= 0.0
