"""Water uptake of sulfuric acid and of sea salt: sections 8.1 and 8.3 of the physics contract."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from pyemu.blocks.kappa import Moist, moist
from pyemu.blocks.learned import FORMS, MOLECULES, evaluate, subsaturation
from pyemu.blocks.network import Network
from pyemu.blocks.numerics import columns
from pyemu.blocks.settings import MOLAR_MASS_H2SO4, Settings

_MOLAR_MASS_NACL, _MOLAR_MASS_NA2SO4 = 58.443, 142.0376
_DENSITY_NA2SO4 = 2.68
DELIQUESCENCE = 0.45
"""Relative humidity below which sea salt particles are dry [1]."""
_COLDEST, _DRIEST, _MOISTEST = 240.0, 0.05, 0.90
"""Where the inputs of the fits are clipped [K], [1], [1]."""

# Square root of the binary molality [mol kg-1] over powers of the water activity (Jacobson et al.
# 1996), lowest first.
_NACL = (
    *(-1.918004e2, 2.001540e3, -8.557205e3, 1.987670e4),
    *(-2.717192e4, 2.187103e4, -9.591577e3, 1.763672e3),
)
_NA2SO4 = (
    *(-3.295311e3, 3.188349e4, -1.305168e5, 2.935608e5),
    *(-3.920423e5, 3.109519e5, -1.356439e5, 2.510249e4),
)
_H2SO4 = (
    *(5.611895, -1.387446e1, 1.750682e1, 7.138146e1),
    *(-3.109173e2, 4.662288e2, -3.128612e2, 7.76097e1),
)
SALTS = (_NACL, _NA2SO4, _H2SO4)


class Solution(NamedTuple):
    """H2SO4 in the solution [%], its density [g cm-3], (n, modes)."""

    weight_percent: Tensor
    density: Tensor


class Salt(NamedTuple):
    """Dry matter of modes with sea salt, per volume of air, (n, modes)."""

    nacl: Tensor
    """[mol m-3], as the next two"""
    na2so4: Tensor
    h2so4: Tensor
    mass: Tensor
    """[g m-3]"""
    volume: Tensor
    """[cm3 m-3]"""


class Uptake(NamedTuple):
    """How the air of each cell wets particles; the same for all modes and times within a step."""

    solution: Callable[[Tensor], Solution]
    """H2SO4 molecules per particle (n, modes), positive, -> the droplet they become."""
    per_nacl: Tensor
    """Water held by a mole of salt [kg mol-1] (n, 1), 0 below deliquescence; as the next two"""
    per_na2so4: Tensor
    per_h2so4: Tensor
    flag: Tensor
    """Of the networks' guard (n,) int32"""


def uptake(
    settings: Settings,
    pressure: Tensor,
    temperature: Tensor,
    relative_humidity: Tensor,
    networks: Mapping[str, Network] | None = None,
) -> Uptake | Moist:
    """Prepare the uptake from air (n,) [Pa, K, 1], by the networks `water` and `salt` if given."""
    if settings.by_kappa:
        return moist(temperature, relative_humidity)
    given = networks or {}
    p, t, h = (x[:, None] for x in (pressure, temperature, relative_humidity))
    clipped = t.clamp(min=_COLDEST), h.clamp(_DRIEST, _MOISTEST)
    flag = torch.zeros_like(pressure, dtype=torch.int32)
    if "water" in given:
        features = solution_features(pressure, temperature, relative_humidity)
        solution, flag = _learned_solution(settings, features, given["water"])
    else:
        solution = _exact_solution(settings, p, *clipped)
    wet = h >= DELIQUESCENCE
    if "salt" in given:
        form, features = FORMS["salt"], salt_features(relative_humidity)
        found, other = evaluate(given["salt"], form.features, features, wet.expand_as(features))
        each = [torch.exp(found[name][:, None].clamp(-20.0, 20.0)) for name in form.targets]
        flag = torch.maximum(flag, other)
    else:
        activity = h.clamp(DELIQUESCENCE, 1.0)
        each = [per_salt(activity, polynomial) for polynomial in SALTS]
    nacl, na2so4, h2so4 = (torch.where(wet, water, 0.0) for water in each)
    return Uptake(solution, nacl, na2so4, h2so4, flag)


def per_salt(activity: Tensor, polynomial: tuple[float, ...]) -> Tensor:
    """Water per mole of salt in binary solution [kg mol-1]; in float64, as the terms cancel."""
    a = activity.double()
    root = torch.zeros_like(a)
    for coefficient in reversed(polynomial):
        root = root * a + coefficient
    return (1.0 / (root * root)).to(activity.dtype)


def _exact_solution(
    settings: Settings, pressure: Tensor, temperature: Tensor, humidity: Tensor
) -> Callable[[Tensor], Solution]:
    """Wilson's regressions, as polynomials in ln n whose coefficients are the air's, (n, 1)."""
    # In float64, as the terms cancel.
    p, t, h = pressure.double(), temperature.double(), humidity.double()
    q = h / t
    w0 = 95.80188 + q * (-20627.51 + q * (8616124.373 - 1353332314.0 * q))
    w0 = w0 - 0.002403805 * torch.log(h * t / p)
    w1 = -28.5257 + h * (-1.082153 - 3.36115 * h) + t * (0.1466501 - 0.00024137 * t)
    w2 = 1.168155578 + h * (0.0461242 + 0.067938345 * h) + t * (-0.003935 + 0.00000649899 * t)
    d0 = 1.036391467 - 0.068887407 * h + t * (0.001047842 - 0.0000029113 * t)
    d1 = (-0.011013887 + 0.000740534 / h - 1.081202685 / t) / 3.0
    w0, w1, w2, d0, d1 = (term.to(pressure.dtype) for term in (w0, w1, w2, d0, d1))

    def solution(molecules: Tensor) -> Solution:
        x = torch.log(molecules)
        percent = w0 + x * (w1 + x * (w2 + x * (-0.021317481 + 0.000270358 * x)))
        percent = percent.clamp(min=_floor(settings))
        density = d0 + 0.00728531 * percent + x * (d1 + x * (0.001049607 / 9.0))
        return Solution(percent, density.clamp(1.0, 1.841))

    return solution


def solution_features(pressure: Tensor, temperature: Tensor, humidity: Tensor) -> Tensor:
    """Features of the network of the solution (n, 3), from air (n,)."""
    clipped = temperature.clamp(min=_COLDEST), humidity.clamp(_DRIEST, _MOISTEST)
    return columns((*clipped, torch.log(pressure)))


def salt_features(humidity: Tensor) -> Tensor:
    """Features of the network of sea salt (n, 2)."""
    activity = humidity.clamp(DELIQUESCENCE, 1.0)
    return columns((activity, subsaturation(activity)))


def _learned_solution(
    settings: Settings, features: Tensor, network: Network
) -> tuple[Callable[[Tensor], Solution], Tensor]:
    """Quartics in ln n through what a network tells at the five sizes of `MOLECULES`."""
    found, flag = evaluate(network, FORMS["water"].features, features)
    values = [found[name][:, None] for name in FORMS["water"].targets]
    sizes = len(MOLECULES)
    percent = _quartic([torch.exp(v.clamp(-10.0, 6.0)) for v in values[:sizes]])
    density = _quartic(values[sizes:])
    middle, spacing = math.log(MOLECULES[sizes // 2]), math.log(MOLECULES[1] / MOLECULES[0])

    def solution(molecules: Tensor) -> Solution:
        u = (torch.log(molecules) - middle) / spacing
        both = [_horner(series, u) for series in (percent, density)]
        return Solution(both[0].clamp(_floor(settings), 100.0), both[1].clamp(1.0, 1.841))

    return solution, flag


def _quartic(y: Sequence[Tensor]) -> list[Tensor]:
    """Coefficients of the quartic through values at -2, -1, 0, 1, 2."""
    odd, even = (y[4] - y[0], y[3] - y[1]), (y[4] + y[0], y[3] + y[1])
    return [
        y[2],
        (8.0 * odd[1] - odd[0]) / 12.0,
        (16.0 * even[1] - even[0] - 30.0 * y[2]) / 24.0,
        (odd[0] - 2.0 * odd[1]) / 12.0,
        (even[0] - 4.0 * even[1] + 6.0 * y[2]) / 24.0,
    ]


def _horner(series: Sequence[Tensor], x: Tensor) -> Tensor:
    total = series[-1]
    for coefficient in reversed(series[:-1]):
        total = total * x + coefficient
    return total


def _floor(settings: Settings) -> float:
    """Weight-% below which a solution is not diluted; the fit itself stays above 0.2."""
    return 5.0 if settings.clip_weight_percent else 1e-3


def dry_salt(
    settings: Settings, sulfate: Tensor, sea_salt: Tensor, core_mass: Tensor, core_volume: Tensor
) -> Salt:
    """Pair the ions of modes with sea salt, all (n, modes).

    Parameters
    ----------
    sulfate, sea_salt
        [molecules cm-3], [ug m-3]
    core_mass, core_volume
        Of BC, OC and DU [g m-3], [cm3 m-3]
    """
    density = settings.densities
    sodium = sea_salt * (1e-6 / _MOLAR_MASS_NACL)
    sulfur = sulfate * (1e6 / settings.avogadro)
    na2so4 = torch.minimum(0.5 * sodium, sulfur)
    nacl = (sodium - 2.0 * na2so4).clamp(min=0.0)
    h2so4 = sulfur - na2so4
    mass = nacl * _MOLAR_MASS_NACL + na2so4 * _MOLAR_MASS_NA2SO4 + h2so4 * MOLAR_MASS_H2SO4
    volume = nacl * (_MOLAR_MASS_NACL / density["ss"])
    volume = volume + na2so4 * (_MOLAR_MASS_NA2SO4 / _DENSITY_NA2SO4)
    volume = volume + h2so4 * (MOLAR_MASS_H2SO4 / density["so4"])
    return Salt(nacl, na2so4, h2so4, mass + core_mass, volume + core_volume)


def salt_water(air: Uptake, salt: Salt) -> Tensor:
    """Water of modes with sea salt by the ZSR rule [kg m-3] (n, modes)."""
    water = salt.nacl * air.per_nacl + salt.na2so4 * air.per_na2so4
    return water + salt.h2so4 * air.per_h2so4
