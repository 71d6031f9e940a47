"""THE table: every variable of a cell with its name, unit, place, bounds and default.

Order and units are M7's own (`fortran/m7/m7_modes.f90`, section 2 of the physics contract). No
index is written as a literal number anywhere: ask `index`.
"""

import difflib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

AVOGADRO = 6.02214e23
"""[mol-1], of the HAM2 generation."""
MICROGRAM = 1e-12
"""1 ug m-3 in g cm-3."""
MOST = 1e30
"""No amount is larger: what is, is a missing value of netCDF (1e36) or the like."""

Role = Literal["environment", "gas", "mass", "number", "diagnostic", "split"]


@dataclass(frozen=True, kw_only=True)
class Species:
    """A substance: density [g cm-3], molar mass [g mol-1] (None: not needed), kappa [1]."""

    name: str
    long_name: str
    density: float
    molar_mass: float | None
    kappa: float
    unit: str

    @property
    def per_gram(self) -> float:
        """Amount in `unit` of 1 g cm-3."""
        if self.molar_mass is not None and self.unit == "cm-3":
            return AVOGADRO / self.molar_mass
        return 1.0 / MICROGRAM


@dataclass(frozen=True, kw_only=True)
class Mode:
    """A log-normal mode: ln of its geometric standard deviation [1] and the species it carries."""

    name: str
    long_name: str
    soluble: bool
    ln_sigma: float
    species: tuple[str, ...]

    @property
    def mean_to_median(self) -> float:
        """Count median radius over radius of average mass [1] (Hatch-Choate)."""
        return math.exp(-1.5 * self.ln_sigma**2)


@dataclass(frozen=True, kw_only=True)
class Variable:
    """One quantity of a cell.

    `minimum` and `maximum` bound what `pyemu.reference.step` takes (`above` shuts `minimum` itself
    out); gas, masses and numbers below 0 are taken as 0 and counted. `default` stands in for a
    missing variable, None marks a required one. `negligible` is what M7 itself neglects (section
    16: mean masses and kernels; section 9: the gas).
    """

    name: str
    unit: str
    role: Role
    long_name: str
    mode: str | None = None
    species: str | None = None
    minimum: float = 0.0
    maximum: float = MOST
    above: bool = False
    default: float | None = 0.0
    negligible: float = 0.0

    @property
    def allowed(self) -> str:
        """The allowed range with its unit, as text."""
        opening = "(" if self.above else "["
        return f"{opening}{self.minimum:g}, {self.maximum:g}] {self.unit}"


SPECIES = (
    Species(
        name="so4", long_name="sulfate", density=1.841, molar_mass=98.0734, kappa=0.60, unit="cm-3"
    ),
    Species(
        name="bc", long_name="black carbon", density=2.0, molar_mass=None, kappa=0.0, unit="ug m-3"
    ),
    Species(
        name="oc",
        long_name="organic carbon",
        density=2.0,
        molar_mass=None,
        kappa=0.06,
        unit="ug m-3",
    ),
    Species(
        name="ss", long_name="sea salt", density=2.165, molar_mass=58.443, kappa=1.12, unit="ug m-3"
    ),
    Species(name="du", long_name="dust", density=2.650, molar_mass=None, kappa=0.0, unit="ug m-3"),
)

_NARROW, _WIDE = math.log(1.59), math.log(2.0)
_ALL = ("so4", "bc", "oc", "ss", "du")

MODES = (
    Mode(
        name="ns", long_name="nucleation soluble", soluble=True, ln_sigma=_NARROW, species=("so4",)
    ),
    Mode(
        name="ks",
        long_name="Aitken soluble",
        soluble=True,
        ln_sigma=_NARROW,
        species=("so4", "bc", "oc"),
    ),
    Mode(name="as", long_name="accumulation soluble", soluble=True, ln_sigma=_NARROW, species=_ALL),
    Mode(name="cs", long_name="coarse soluble", soluble=True, ln_sigma=_WIDE, species=_ALL),
    Mode(
        name="ki",
        long_name="Aitken insoluble",
        soluble=False,
        ln_sigma=_NARROW,
        species=("bc", "oc"),
    ),
    Mode(
        name="ai",
        long_name="accumulation insoluble",
        soluble=False,
        ln_sigma=_NARROW,
        species=("du",),
    ),
    Mode(name="ci", long_name="coarse insoluble", soluble=False, ln_sigma=_WIDE, species=("du",)),
)
SOLUBLE = tuple(mode for mode in MODES if mode.soluble)


def _environment(
    name: str,
    unit: str,
    long_name: str,
    *,
    minimum: float = 0.0,
    maximum: float = MOST,
    above: bool = False,
    default: float | None = 0.0,
) -> Variable:
    return Variable(
        name=name,
        unit=unit,
        role="environment",
        long_name=long_name,
        minimum=minimum,
        maximum=maximum,
        above=above,
        default=default,
    )


ENVIRONMENT = (
    _environment("pressure", "Pa", "air pressure", above=True, default=None),
    _environment("temperature", "K", "air temperature", above=True, default=None),
    _environment(
        "relative_humidity",
        "1",
        "relative humidity over water, clear sky",
        maximum=1.0,
        default=None,
    ),
    _environment("cloud_fraction", "1", "cloud cover", maximum=1.0),
    # Negative where other processes take H2SO4 away; M7 lets them take no more than there is.
    _environment("h2so4_production", "cm-3 s-1", "production of H2SO4 vapour", minimum=-MOST),
    _environment("ion_pair_production", "cm-3 s-1", "production of ion pairs"),
    _environment("forest_fraction", "1", "forest fraction", maximum=1.0),
    _environment("boundary_layer", "1", "1 in the boundary layer, 0 above it", maximum=1.0),
)
GAS = (Variable(name="h2so4", unit="cm-3", role="gas", long_name="H2SO4 vapour", negligible=1e-10),)
MASSES = tuple(
    Variable(
        name=f"{species.name}_{mode.name}",
        unit=species.unit,
        role="mass",
        long_name=f"{species.long_name} of the {mode.long_name} mode",
        mode=mode.name,
        species=species.name,
        negligible=1e-15,
    )
    for species in SPECIES
    for mode in MODES
    if species.name in mode.species
)
NUMBERS = tuple(
    Variable(
        name=f"num_{mode.name}",
        unit="cm-3",
        role="number",
        long_name=f"particles of the {mode.long_name} mode",
        mode=mode.name,
        negligible=1e-10,
    )
    for mode in MODES
)
PROGNOSTICS = GAS + MASSES + NUMBERS


def _diagnostics(
    prefix: str, unit: str, long_name: str, modes: Iterable[Mode]
) -> tuple[Variable, ...]:
    return tuple(
        Variable(
            name=f"{prefix}_{mode.name}",
            unit=unit,
            role="diagnostic",
            long_name=f"{long_name} of the {mode.long_name} mode",
            mode=mode.name,
        )
        for mode in modes
    )


DIAGNOSTICS = (
    _diagnostics("wet_radius", "cm", "ambient count median radius", MODES)
    + _diagnostics("dry_radius", "cm", "dry count median radius", SOLUBLE)
    + _diagnostics("density", "g cm-3", "ambient particle density", MODES)
    + _diagnostics("water", "kg m-3", "aerosol water", SOLUBLE)
)


def names(table: Iterable[Variable | Mode | Species]) -> tuple[str, ...]:
    """Names of a table's rows, in order."""
    return tuple(row.name for row in table)


def _split() -> tuple[Variable, ...]:
    """List what each process moved in a step, as `fortran/m7/m7_split.f90` names and orders it."""
    carried = {mode.name: mode.species for mode in MODES}
    soluble, insoluble = names(SOLUBLE), [mode.name for mode in MODES if not mode.soluble]
    partners = {"ns": "ks as cs ki ai ci", "ks": "as cs ai ci", "ki": "ks as"}
    pairs = [(lost, other) for lost, others in partners.items() for other in others.split()]
    grown = soluble[:-1]
    told = [(f"condensed_{m}", f"H2SO4 condensed on {m}") for m in names(MODES)]
    told += [("nucleated_so4", "H2SO4 nucleated"), ("nucleated_num", "particles nucleated")]
    told += [(f"collided_{m}_{n}", f"particles of {m} lost to {n}") for m, n in pairs]
    told += [
        (f"self_collided_{m}", f"particles of {m} lost among themselves")
        for m in ("ns", "ks", "as", "ki")
    ]
    told += [
        (f"coagulated_{s}_{m}_{n}", f"{s} of {m} coagulated into {n}")
        for m, n in pairs
        if n in soluble
        for s in carried[m]
    ]
    told += [(f"aged_num_{m}", f"particles of {m} aged") for m in insoluble]
    told += [(f"aged_{s}_{m}", f"{s} of {m} aged") for m in insoluble for s in carried[m]]
    told += [(f"merged_num_{m}", f"particles of {m} merged upward") for m in grown]
    told += [(f"merged_{s}_{m}", f"{s} of {m} merged upward") for m in grown for s in carried[m]]
    told += [(f"water_uptake_{m}", f"change of the water of {m}") for m in soluble]
    return tuple(_moved(name, long_name) for name, long_name in told)


def _moved(name: str, long_name: str) -> Variable:
    tokens = name.split("_")
    species = next((s for s in SPECIES if s.name in tokens), None)
    unit = "kg m-3" if "water" in tokens else species.unit if species else "cm-3"
    return Variable(
        name=name,
        unit=unit,
        role="split",
        long_name=long_name,
        mode=next((token for token in tokens if token in names(MODES)), "ns"),
        species=species.name if species else None,
        minimum=-MOST,
    )


SPLIT = _split()
VARIABLES = ENVIRONMENT + PROGNOSTICS + DIAGNOSTICS


def index(name: str, table: Sequence[Variable | Mode | Species]) -> int:
    """Place of `name` in `table`, from 0; ValueError with a suggestion if it is not there."""
    known = names(table)
    if name not in known:
        raise ValueError(unknown(name, known))
    return known.index(name)


def lookup(name: str) -> Variable:
    """Find the variable called `name`, split output included; ValueError with a suggestion."""
    table = VARIABLES + SPLIT
    return table[index(name, table)]


def masses_of(species: str) -> tuple[Variable, ...]:
    """Masses of a species over the modes."""
    known = SPECIES[index(species, SPECIES)].name
    return tuple(mass for mass in MASSES if mass.species == known)


def masses_in(mode: str) -> tuple[Variable, ...]:
    """Masses of the species that a mode carries."""
    known = MODES[index(mode, MODES)].name
    return tuple(mass for mass in MASSES if mass.mode == known)


def unknown(name: str, known: Iterable[str]) -> str:
    """Message for a name that is not known, with the nearest known one."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"unknown name '{name}'" + (f"; did you mean '{near[0]}'?" if near else "")
