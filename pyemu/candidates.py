"""Candidates for the M7 that made records: what may be switched, by name, and to which values."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

from pyemu import reference
from pyemu.blocks.settings import Settings
from pyemu.variables import SPECIES, names

SUBSTEPS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 16, 20, 24, 30, 32, 40, 48, 60, 64, 120, 240)
"""Numbers of sub-steps that are tried at first; then those between the best and its neighbours."""
SWITCHES: Mapping[str, tuple[Any, ...]] = {
    "water": ("zsr", "kappa"),
    "nucleation": ("vehkamaki2002", "none"),
    "condensation": (True, False),
    "coagulation": (True, False),
    "thresholds": (None, "tm5", "messy", "ham2_2012", "icon_ham"),
    "organic_nucleation": ("none", "activation", "kinetic"),
    "profile": ("ham2", "m7_2004"),
    "reset_seasalt_sums": (True, False),
    "small_insoluble_volume": (True, False),
    "limited_ageing": (True, False),
    "source_coagulation": (False, True),
    "clip_weight_percent": (False, True),
    "sulfate_free_radius": (False, True),
    "kappa_full_volume": (False, True),
    "production_in_gas": (False, True),
}
AMOUNTS: Mapping[str, tuple[float, ...]] = {
    "number_min": (1e-10, 1e-7, 1e-4),
    "mass_min": (1e-15, 1e-12, 1e-23),
    "insoluble_volume_min": (1e-20, 1e-23),
    "hygroscopic_volume_min": (5e-22, 1e-23),
    "kernel_radius_min": (1e-10, 1e-8),
    "equation_number_min": (1e-10, 1e-7),
    "ageing_number_min": (1e-5, 1e-10),
    "merging_number_min": (2.0**-52, 1e-10),
    "merging_radius_min": (0.0, 2.0**-52, 1e-8),
}
"""Section 16 of the contract."""
DIGITS: Mapping[str, tuple[float, float, float]] = {
    "older": (3.141592654, 1.4142136, 6.02217e23),
    "full": (3.14159265358979324, 1.41421356237309505, 6.02214e23),
}
"""pi, square root of 2, Avogadro's number: section 1."""
STANDARD: Mapping[str, tuple[float, ...]] = {
    "densities.so4": (1.841, 1.84, 1.83, 1.8, 1.77),
    "densities.bc": (2.0, 1.8, 1.7, 1.0),
    "densities.oc": (2.0, 1.3, 1.4, 1.5, 1.0),
    "densities.ss": (2.165, 2.16, 2.2),
    "densities.du": (2.65, 2.6, 2.5),
    "kappas.so4": (0.6, 0.61, 0.7, 0.9),
    "kappas.bc": (0.0,),
    "kappas.oc": (0.06, 0.0, 0.1, 0.14, 0.2),
    "kappas.ss": (1.12, 1.0, 1.28),
    "kappas.du": (0.0, 0.03, 0.06),
}
"""What hosts are known to use [g cm-3], [1]; the first is our default."""


@dataclass(frozen=True, kw_only=True)
class Teacher:
    """A candidate for the M7 that made records.

    Parameters
    ----------
    config
        Its switches.
    substeps
        Equal parts of its timestep, or "converged".
    timestep
        Its timestep over the records' [1]; 2 where the host's leap-frog was not recorded.
    """

    config: reference.Config
    substeps: int | Literal["converged"] = 1
    timestep: float = 1.0

    @property
    def constants(self) -> tuple[str, ...]:
        """Names of the constants that act: "densities.bc" and the like."""
        groups = ("densities", "kappas") if self.config.water == "kappa" else ("densities",)
        return tuple(f"{group}.{species}" for group in groups for species in names(SPECIES))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all that may differ but the generation and the sub-steps."""
        switches = [name for name in SWITCHES if name != "profile"]
        return (*switches, "digits", "timestep", *self.constants, *AMOUNTS)

    def get(self, name: str) -> Any:
        """Value of a setting."""
        if name in _OWN:
            return getattr(self, name)
        if name in SWITCHES:
            return getattr(self.config, name)
        settings = Settings.from_reference(self.config)
        if name in AMOUNTS:
            return getattr(settings, name)
        if name == "digits":
            own = (settings.pi, settings.sqrt2, settings.avogadro)
            return next((label for label, digits in DIGITS.items() if digits == own), "other")
        group, species = name.split(".")
        values = settings.density if group == "densities" else settings.kappa
        return values[names(SPECIES).index(species)]

    def having(self, name: str, value: Any) -> Self:
        """Change a setting; what is the default anyway is left unsaid."""
        config = self.config
        if name in _OWN:
            return replace(self, **{name: value})
        if name in SWITCHES:
            return replace(self, config=replace(config, **{name: value}))
        if self.get(name) == value:
            return self
        if name in AMOUNTS or name == "digits":
            keys = (name,) if name in AMOUNTS else ("pi", "sqrt2", "avogadro")
            given = (value,) if name in AMOUNTS else DIGITS[value]
            others = {k: v for k, v in config.amounts.items() if k not in keys}
            bare = replace(self, config=replace(config, amounts=others))
            if bare.get(name) == value:
                return bare
            amounts = others | dict(zip(keys, given, strict=True))
            return replace(self, config=replace(config, amounts=amounts))
        group, species = name.split(".")
        values = {k: v for k, v in getattr(config, group).items() if k != species}
        if value != STANDARD[name][0]:
            values[species] = value
        changed: dict[str, Any] = {group: values}
        return replace(self, config=replace(config, **changed))


_OWN = ("timestep", "substeps")
