"""Units of records: read as people spell them, converted to those of `pyemu.variables`."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pyemu.variables import AVOGADRO, Variable

SULFATE_MOLAR_MASS = 96.06
"""Of sulfate tracers given as a mass [g mol-1]; a map may say otherwise for a variable."""

Scale = Literal["none", "air_mass", "air_moles"]

_PLAIN: Mapping[tuple[str, str], float] = {
    ("hPa", "Pa"): 1e2,
    ("mbar", "Pa"): 1e2,
    ("kPa", "Pa"): 1e3,
    ("%", "1"): 1e-2,
    ("m-3", "cm-3"): 1e-6,
    ("m-3 s-1", "cm-3 s-1"): 1e-6,
    ("kg m-3", "ug m-3"): 1e9,
    ("g m-3", "ug m-3"): 1e6,
    ("ng m-3", "ug m-3"): 1e-3,
    ("m", "cm"): 1e2,
    ("um", "cm"): 1e-4,
    ("nm", "cm"): 1e-7,
    ("kg m-3", "g cm-3"): 1e-3,
    ("g m-3", "kg m-3"): 1e-3,
    ("ug m-3", "kg m-3"): 1e-9,
    ("min", "s"): 60.0,
    ("h", "s"): 3600.0,
}
_AIR_MASS: Mapping[tuple[str, str], float] = {
    ("kg kg-1", "ug m-3"): 1e9,
    ("g kg-1", "ug m-3"): 1e6,
    ("ug kg-1", "ug m-3"): 1.0,
    ("ng kg-1", "ug m-3"): 1e-3,
    ("kg kg-1", "kg m-3"): 1.0,
    ("kg-1", "cm-3"): 1e-6,
    ("g-1", "cm-3"): 1e-3,
    ("kg-1 s-1", "cm-3 s-1"): 1e-6,
}
_AIR_MOLES: Mapping[str, float] = {"mol mol-1": 1.0, "ppm": 1e-6, "ppb": 1e-9, "ppt": 1e-12}
_GRAMS: Mapping[str, tuple[float, Scale]] = {
    "kg kg-1": (1e-3, "air_mass"),
    "g kg-1": (1e-6, "air_mass"),
    "ug kg-1": (1e-12, "air_mass"),
    "kg m-3": (1e-3, "none"),
    "ug m-3": (1e-12, "none"),
}
"""Grams per cm3 in one of a unit, or in one of it times the density of air [kg m-3]."""
_ALIASES = {
    "": "1",
    "-": "1",
    "fraction": "1",
    "percent": "%",
    "celsius": "degC",
    "degrees_celsius": "degC",
    "pa": "Pa",
    "mb": "mbar",
    "hpa": "hPa",
    "micrometer": "um",
    "sec": "s",
    "second": "s",
    "seconds": "s",
    "vmr": "mol mol-1",
    "pptv": "ppt",
    "ppbv": "ppb",
    "ppmv": "ppm",
}
_WORDS = ("molecules", "molec", "particles", "ions", "mcl", "#")
_TOKEN = re.compile(r"(%|[A-Za-z_]+|1)(?:\^|\*\*)?([+-]?\d+)?")


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """What to do to a value: times `factor`, times the air's density or number, plus `offset`.

    `per` "air_mass" multiplies by the density of air [kg m-3], "air_moles" by its molecules [cm-3].
    """

    factor: float = 1.0
    offset: float = 0.0
    per: Scale = "none"


def spelling(unit: str) -> str:
    """Bring a unit to one spelling: `#/cm3`, `cm^-3` and `molecules cm-3` are all `cm-3`."""
    text = unit.strip().replace("µ", "u").replace("μ", "u")
    text = _ALIASES.get(text, _ALIASES.get(text.lower(), text))
    for word in _WORDS:
        text = re.sub(rf"(?<![A-Za-z]){word}(?![A-Za-z])", "1", text)
    text = re.sub(r"\([A-Za-z0-9]+\)", "", text)  # kg(SO4)/kg
    above: list[str] = []
    below: list[str] = []
    sign = 1
    for part in re.findall(r"/|[^\s/.·]+", text):
        if part == "/":
            sign = -1
            continue
        token = _TOKEN.fullmatch(part)
        if token is None:
            return text
        name, power = token[1], sign * int(token[2] or 1)
        sign = 1
        if name != "1":
            (above if power > 0 else below).append(name if power == 1 else f"{name}{power}")
    return " ".join(above + below) or "1"


def conversion(variable: Variable, unit: str, molar_mass: float | None = None) -> Conversion:
    """Find how to bring `unit` to the variable's own; ValueError if it is not known.

    Parameters
    ----------
    variable
        A row of `pyemu.variables`.
    unit
        As a file spells it.
    molar_mass
        Of sulfate or H2SO4 given as a mass [g mol-1]; None takes 96.06.
    """
    given, wanted = spelling(unit), variable.unit
    if given == wanted:
        return Conversion()
    if (given, wanted) == ("degC", "K"):
        return Conversion(offset=273.15)
    if (given, wanted) in _PLAIN:
        return Conversion(factor=_PLAIN[given, wanted])
    if (given, wanted) in _AIR_MASS:
        return Conversion(factor=_AIR_MASS[given, wanted], per="air_mass")
    rate = " s-1" if wanted.endswith(" s-1") else ""
    amount = given.removesuffix(rate) if rate else given
    if wanted == f"cm-3{rate}" and given == f"{amount}{rate}" and is_sulfur(variable):
        if amount in _AIR_MOLES:
            return Conversion(factor=_AIR_MOLES[amount], per="air_moles")
        if amount in _GRAMS:
            grams, per = _GRAMS[amount]
            return Conversion(factor=grams * AVOGADRO / (molar_mass or SULFATE_MOLAR_MASS), per=per)
    raise ValueError(f"{variable.name} has unit '{unit}', which cannot be turned into '{wanted}'")


def is_sulfur(variable: Variable) -> bool:
    """Tell whether the variable counts molecules of sulfate or H2SO4."""
    return variable.species == "so4" or variable.name in ("h2so4", "h2so4_production")
