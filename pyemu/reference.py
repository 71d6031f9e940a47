"""The M7 reference in Fortran, called from Python: one step of many cells."""

import math
import operator
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from pyemu._m7 import m7_config, m7_python
from pyemu.state import State, pack, unpack
from pyemu.variables import DIAGNOSTICS, PROGNOSTICS, SPECIES, SPLIT, index, unknown

Profile = Literal["ham2", "m7_2004"]
Water = Literal["zsr", "kappa"]
Nucleation = Literal["vehkamaki2002", "kazil_lovejoy2007", "none"]
OrganicNucleation = Literal["none", "activation", "kinetic"]
Thresholds = Literal["tm5", "messy", "ham2_2012", "icon_ham"]

_CHOICES = {
    "profile": get_args(Profile),
    "water": get_args(Water),
    "nucleation": get_args(Nucleation),
    "organic_nucleation": get_args(OrganicNucleation),
    "thresholds": (None, *get_args(Thresholds)),
}

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
"""Thresholds and constants of `m7_config_type`."""

_INPUTS = (
    "input",
    "configuration",
    "shape",
    "timestep",
    "pressure",
    "temperature",
    "relative_humidity",
    "cloud_fraction",
    "h2so4_production",
    "h2so4",
    "masses",
    "numbers",
    "ion_pair_production, forest_fraction or boundary_layer",
)
"""What a status of `fortran/m7/m7_step.f90` says is bad."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """The switches of M7 (`fortran/m7/m7_config.f90`; sections 1 and 16 of the physics contract).

    Parameters
    ----------
    profile
        Generation: "ham2" (ECHAM6-HAM2) or "m7_2004" (ECHAM5-HAM1, TM5, MESSy).
    water
        "zsr" or "kappa" (kappa-Koehler).
    nucleation
        Of sulfate; "kazil_lovejoy2007" reads `nucleation_table`.
    organic_nucleation
        "none", "activation" (Kulmala 2006) or "kinetic", in the boundary layer over forest.
    thresholds
        Column of section 16; None takes the generation's own.
    condensation, coagulation
        Processes on or off.
    densities, kappas
        By species, those that differ from `pyemu.variables.SPECIES` [g cm-3], [1].
    amounts
        Single thresholds and constants that differ from those of `thresholds` and `profile`, by
        their names in `m7_config_type`.
    reset_seasalt_sums, small_insoluble_volume, limited_ageing
        Corrections of plain errors of the real code, on (sections 8.3, 7, 14).
    source_coagulation, clip_weight_percent, sulfate_free_radius, kappa_full_volume
        Other corrections, off, as the real code does it (sections 12 iii, 8.1, 8.2, 8.4).
    production_in_gas
        The host has added the production to the gas before the step: it is not added again.
    substeps_max
        Where the doubling of `substeps="converged"` ends.

    Raises
    ------
    ValueError
        A choice or name that does not exist, a value out of range, a missing nucleation table.
    """

    profile: Profile = "ham2"
    water: Water = "zsr"
    nucleation: Nucleation = "vehkamaki2002"
    organic_nucleation: OrganicNucleation = "none"
    thresholds: Thresholds | None = None
    nucleation_table: str | Path | None = None
    condensation: bool = True
    coagulation: bool = True
    densities: Mapping[str, float] = field(default_factory=dict, hash=False)
    kappas: Mapping[str, float] = field(default_factory=dict, hash=False)
    amounts: Mapping[str, float] = field(default_factory=dict, hash=False)
    reset_seasalt_sums: bool = True
    small_insoluble_volume: bool = True
    limited_ageing: bool = True
    source_coagulation: bool = False
    clip_weight_percent: bool = False
    sulfate_free_radius: bool = False
    kappa_full_volume: bool = False
    production_in_gas: bool = False
    substeps_max: int = 1024

    def __post_init__(self) -> None:
        for name, allowed in _CHOICES.items():
            value = getattr(self, name)
            if value not in allowed:
                choices = ", ".join(repr(choice) for choice in allowed)
                raise ValueError(f"{name} = {value!r}; allowed is {choices}")
        for setting in fields(self):
            value = getattr(self, setting.name)
            if isinstance(setting.default, bool) and value not in (True, False):
                raise ValueError(f"{setting.name} = {value!r}; allowed is True, False")
        for name in ("densities", "kappas"):
            object.__setattr__(self, name, _per_species(name, getattr(self, name)))
        for name, value in self.amounts.items():
            if name not in AMOUNTS:
                raise ValueError(f"amounts: {unknown(name, AMOUNTS)}")
            if not (math.isfinite(value) and value >= 0.0):
                raise ValueError(f"amounts['{name}'] = {value}; allowed is [0, inf)")
        object.__setattr__(self, "amounts", dict(self.amounts))
        if self.nucleation == "kazil_lovejoy2007" and self.nucleation_table is None:
            raise ValueError(
                "nucleation 'kazil_lovejoy2007' needs nucleation_table, the path of its table"
            )
        if operator.index(self.substeps_max) < 1:
            raise ValueError(f"substeps_max = {self.substeps_max}; allowed is [1, inf)")

    def build(self, substeps: int = 1, tolerance: float = 1e-2) -> m7_config.m7_config_type:
        """Make the Fortran configuration; `substeps` 0 means converged to `tolerance`."""
        native = m7_config.m7_config_type()
        profile = _code("profile", self.profile)
        m7_python.configure(native, profile, _code("thresholds", self.thresholds))
        native.water = _code("water", self.water)
        native.nucleation = _code("nucleation", self.nucleation)
        native.organic_nucleation = _code("organic", self.organic_nucleation)
        for setting in fields(self):
            if isinstance(setting.default, bool):
                setattr(native, setting.name, getattr(self, setting.name))
        for species, value in self.densities.items():
            native.density[index(species, SPECIES)] = value
        for species, value in self.kappas.items():
            native.kappa[index(species, SPECIES)] = value
        for name, value in self.amounts.items():
            setattr(native, name, value)
        native.substeps, native.tolerance = substeps, tolerance
        native.substeps_max = self.substeps_max
        if self.nucleation_table is not None:
            path = os.fsencode(self.nucleation_table)
            status, message = m7_python.load_nucleation_table(native, path)
            if status:
                raise ValueError(message.strip())
        return native


@lru_cache(maxsize=16)
def _native(config: Config, substeps: int, tolerance: float) -> m7_config.m7_config_type:
    """Build a configuration once: a nucleation table takes long to read. Read-only."""
    return config.build(substeps, tolerance)


def _code(switch: str, choice: str | None) -> int:
    """Look up the Fortran constant of a choice; 0 for None."""
    return 0 if choice is None else int(getattr(m7_config, f"{switch}_{choice}"))


def _per_species(name: str, given: Mapping[str, float]) -> Mapping[str, float]:
    for species, value in given.items():
        index(species, SPECIES)
        if not (math.isfinite(value) and value >= 0.0 and (value > 0.0 or name == "kappas")):
            raise ValueError(f"{name}['{species}'] = {value}; allowed is above 0 and finite")
    return dict(given)


def step(
    state: State,
    timestep: float,
    profile: Profile | None = None,
    water: Water | None = None,
    nucleation: Nucleation | None = None,
    *,
    substeps: int | Literal["converged"] = 1,
    tolerance: float = 1e-2,
    threads: int = 1,
    split: bool = False,
    config: Config | None = None,
) -> dict[str, NDArray[Any]]:
    """Advance cells by one M7 step; the state is not changed.

    Parameters
    ----------
    state
        Name -> scalar or array (ncell,), see `pyemu.variables`: pressure [Pa], temperature [K] and
        relative_humidity [1] are required; other environment, gas, masses and numbers default to 0.
        Outputs of a former step may be left in it.
    timestep
        [s]
    profile, water, nucleation
        As in `Config`; None takes the value of `config`, or "ham2", "zsr", "vehkamaki2002".
    substeps
        Equal parts of the timestep; "converged" doubles them, cell by cell, until no tendency moves
        by more than `tolerance` [1].
    threads
        OpenMP threads, 0 for all cores. The GIL is released.
    split
        Return what each process moved, too (`pyemu.variables.SPLIT`).
    config
        All other switches.

    Returns
    -------
    dict
        26 prognostics and 22 diagnostics after the step, float64 (ncell,); `negatives`, int32
        (ncell,): negative inputs taken as 0; with "converged" `substeps`, int32 (ncell,): how many
        it took, negative where `Config.substeps_max` was reached first; with `split` its variables.

    Raises
    ------
    ValueError
        Bad input, naming variable, index, value and allowed range.
    """
    config = _chosen(config, profile=profile, water=water, nucleation=nucleation)
    converged = substeps == "converged"
    parts = 0 if converged else _count("substeps", substeps, least=1)
    _positive("timestep", timestep)
    _positive("tolerance", tolerance)
    workers = _count("threads", threads, least=0) or len(os.sched_getaffinity(0))
    environment, prognostic = pack(state)
    ncell = len(environment)
    diagnostic = np.zeros((ncell, len(DIAGNOSTICS)), order="F")
    moved = np.zeros((ncell, len(SPLIT) if split else 0), order="F")
    taken, negatives = np.zeros((2, ncell), dtype=np.int32)
    if ncell:
        status = m7_python.run(
            _native(config, parts, float(tolerance)),
            ncell,
            moved.shape[1],
            timestep,
            workers,
            environment,
            prognostic,
            diagnostic,
            moved,
            taken,
            negatives,
        )
        if status:
            raise ValueError(f"M7 refuses its {_INPUTS[status]} (status {status})")
    after = unpack(prognostic, PROGNOSTICS) | unpack(diagnostic, DIAGNOSTICS)
    after |= unpack(moved, SPLIT) if split else {}
    counts = {"negatives": negatives} | ({"substeps": taken} if converged else {})
    return {**after, **counts}


def _chosen(config: Config | None, **switches: str | None) -> Config:
    """Join a config with single switches; ValueError where they contradict each other."""
    given = {name: value for name, value in switches.items() if value is not None}
    if config is None:
        return Config(**given)  # type: ignore[arg-type]
    for name, value in given.items():
        if value != getattr(config, name):
            raise ValueError(f"{name}={value!r} contradicts the config's {getattr(config, name)!r}")
    return config


def _count(name: str, value: int | str, least: int) -> int:
    try:
        count = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        word = ", or 'converged'" if name == "substeps" else ""
        message = f"{name} = {value!r}; allowed is an integer from {least}{word}"
        raise ValueError(message) from None
    if count < least:
        raise ValueError(f"{name} = {count}; allowed is [{least}, inf)")
    return count


def _positive(name: str, value: float) -> None:
    if not (math.isfinite(value) and value > 0.0):
        raise ValueError(f"{name} = {value}; allowed is (0, inf)")
