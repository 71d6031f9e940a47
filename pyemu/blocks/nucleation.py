"""Nucleation: section 10 of the physics contract.

Binary H2SO4-H2O after Vehkamaki et al. (2002), organic activation and kinetic nucleation (Kulmala
et al. 2006), and how each generation takes the gas over a timestep.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from pyemu.blocks.learned import FORMS, evaluate
from pyemu.blocks.network import Network
from pyemu.blocks.numerics import EPSILON, columns, least, ratio
from pyemu.blocks.settings import Settings

# Rows: 1, s, s2, s3, a, s a, s2 a, a2, s a2, a3 with s = ln S and a = ln N; columns: 1, T, T2, T3,
# 1/x. The first is ln of the rate [cm-3 s-1], the second of the molecules in a critical cluster.
_RATE = (
    (
        0.1430901615568665,
        2.219563673425199,
        -0.02739106114964264,
        7.228107239317088e-5,
        5.91822263375044,
    ),
    (
        0.1174886643003278,
        0.4625315047693772,
        -0.01180591129059253,
        4.04196487152575e-5,
        15.79628615047088,
    ),
    (
        -0.215553951893509,
        -0.0810269192332194,
        0.001435808434184642,
        -4.775796947178588e-6,
        -2.912974063702185,
    ),
    (
        -3.588557942822751,
        0.04950795302831703,
        -2.138195118737068e-4,
        3.108005107949533e-7,
        -0.02933332747098296,
    ),
    (
        1.145983818561277,
        -0.6007956227856778,
        0.00864244733283759,
        -2.289467254710888e-5,
        -8.44984513869014,
    ),
    (
        2.158548369286559,
        0.0808121412840917,
        -4.073815255395214e-4,
        -4.019572560156515e-7,
        0.7213255852557236,
    ),
    (
        1.62409850488771,
        -0.01601062035325362,
        3.771238979714162e-5,
        3.217942606371182e-8,
        -0.01132550810022116,
    ),
    (
        9.71681713056504,
        -0.1150478558347306,
        1.570982486038294e-4,
        4.009144680125015e-7,
        0.7118597859976135,
    ),
    (
        -1.056105824379897,
        0.00903377584628419,
        -1.984167387090606e-5,
        2.460478196482179e-8,
        -0.05790872906645181,
    ),
    (
        -0.1487119673397459,
        0.002835082097822667,
        -9.24618825471694e-6,
        5.004267665960894e-9,
        -0.01270805101481648,
    ),
)
_CLUSTER = (
    (
        -0.002954125078716302,
        -0.0976834264241286,
        0.001024847927067835,
        -2.186459697726116e-6,
        -0.1017165718716887,
    ),
    (
        -0.002050640345231486,
        -0.007585041382707174,
        1.926539658089536e-4,
        -6.70429719683894e-7,
        -0.2557744774673163,
    ),
    (
        0.003223076552477191,
        8.52636632240633e-4,
        -1.547571354871789e-5,
        5.666608424980593e-8,
        0.03384437400744206,
    ),
    (
        0.04743226764572505,
        -6.251042204583412e-4,
        2.650663328519478e-6,
        -3.674710848763778e-9,
        -2.672510825259393e-4,
    ),
    (
        -0.01252108546759328,
        0.005806550506277202,
        -1.016735312443444e-4,
        2.881946187214505e-7,
        0.0942243379396279,
    ),
    (
        -0.0385459592773097,
        -6.723156277391984e-4,
        2.602884877659698e-6,
        1.194163699688297e-8,
        -0.00851515345806281,
    ),
    (
        -0.01837488495738111,
        1.720723574407498e-4,
        -3.717657974086814e-7,
        -5.148746022615196e-10,
        2.686602132926594e-4,
    ),
    (
        -0.06199739728812199,
        9.06958053583576e-4,
        -9.11727926129757e-7,
        -5.367963396508457e-9,
        -0.007742343393937707,
    ),
    (
        0.0121827103101659,
        -1.066499571188091e-4,
        2.534598655067518e-7,
        -3.635186504599571e-10,
        6.100650851863252e-4,
    ),
    (
        3.201836700403512e-4,
        -1.74761713262546e-5,
        6.065037668052182e-8,
        -1.421771723004557e-11,
        1.357509859501723e-4,
    ),
)

LN_RATE_MAX = 25.0
"""Above which nothing is told apart, the rate being limited to 1e10."""
_TEMPERATURES, _SATURATIONS = (190.15, 300.15), (1e-4, 1.0)
"""[K], [1]"""
_GASES, RATES = (1e4, 1e11), (1e-7, 1e10)
"""[cm-3], [cm-3 s-1]"""
LEAST_CLUSTER = 4.0
"""Molecules in a critical cluster below which M7 does not nucleate [1]."""
_ORGANIC = {"activation": (1.0, 1e-6), "kinetic": (2.0, 3.86e-13)}
"""H2SO4 molecules per new particle, which is the order in the gas, too, and the rate constant."""


class Cluster(NamedTuple):
    """A critical cluster, where M7 does not nucleate, too: float64 (n,)."""

    ln_rate: Tensor
    """Of what forms [ln cm-3 s-1]"""
    molecules: Tensor
    """In it [1]"""
    h2so4: Tensor
    """Of these [1]"""


class Nucleated(NamedTuple):
    """Gas left, sulfate nucleated [molecules cm-3], new NS particles [cm-3], guard's flag, (n,)."""

    gas: Tensor
    so4: Tensor
    num: Tensor
    flag: Tensor


def vehkamaki(
    settings: Settings, temperature: Tensor, saturation: Tensor, gas: Tensor
) -> tuple[Tensor, Tensor]:
    """Rate of binary homogeneous nucleation and H2SO4 molecules per new particle (section 10.1).

    Outside the fit's range m7_2004 does not nucleate, ham2 evaluates at its edge. In float64
    whatever the precision of the arguments, as the terms cancel.

    Parameters
    ----------
    temperature, saturation, gas
        (n,) [K], relative humidity [1], molecules of H2SO4 [cm-3]

    Returns
    -------
    rate, molecules
        (n,) [cm-3 s-1], [1]; both 0 where nothing forms
    """
    cluster = critical(temperature, saturation, gas)
    return _limited(settings, temperature, saturation, gas, *cluster)


def critical(temperature: Tensor, saturation: Tensor, gas: Tensor) -> Cluster:
    """Critical cluster, at the edge of the fit's range outside; arguments as of `vehkamaki`."""
    t = temperature.double().clamp(*_TEMPERATURES)
    s = torch.log(saturation.double().clamp(*_SATURATIONS))
    a = torch.log(gas.double().clamp(*_GASES))
    ln_rate, ln_cluster, x = critical_cluster(t, s, a)
    molecules = torch.exp(ln_cluster.clamp(-700.0, 700.0))
    return Cluster(ln_rate, molecules, x * molecules)


def unlimited(cluster: Cluster, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Rate up to M7's upper limit [cm-3 s-1], molecules in a cluster, and of H2SO4 in it (n,)."""
    rate = torch.exp(cluster.ln_rate.clamp(-700.0, LN_RATE_MAX)).clamp(max=RATES[1])
    return rate.to(dtype), cluster.molecules.to(dtype), cluster.h2so4.to(dtype)


def critical_cluster(t: Tensor, s: Tensor, a: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Ln of the rate, ln of the molecules in a critical cluster, mole fraction of H2SO4 in it.

    Parameters
    ----------
    t, s, a
        Temperature [K], ln of the saturation ratio, ln of the gas [ln cm-3], within the fit's range
    """
    # Mole fraction of H2SO4 in the critical cluster.
    x = 0.7409967177282139 - 0.002663785665140117 * t
    x = x + a * (-0.003499978417957668 + 0.0000504021689382576 * t)
    x = x + s * (
        (0.002010478847383187 - 0.0001832894131464668 * t)
        + s * (0.001574072538464286 - 0.00001790589121766952 * t)
        + s * s * (0.0001844027436573778 - 1.503452308794887e-6 * t)
    )
    factors = (torch.ones_like(t), s, s * s, s * s * s, a, s * a, s * s * a, a * a, s * a * a, a**3)
    ln_rate, ln_cluster = torch.zeros_like(t), torch.zeros_like(t)
    for factor, rate_term, cluster_term in zip(factors, _RATE, _CLUSTER, strict=True):
        ln_rate = ln_rate + factor * _term(rate_term, t, x)
        ln_cluster = ln_cluster + factor * _term(cluster_term, t, x)
    return ln_rate, ln_cluster, x


def learned(
    settings: Settings, temperature: Tensor, saturation: Tensor, gas: Tensor, network: Network
) -> tuple[Tensor, Tensor, Tensor]:
    """Give the same by a network, within the same limits, and the guard's flag (n,) int32."""
    features, there = features_of(temperature, saturation, gas)
    found, flag = evaluate(network, FORMS["nucleation"].features, features, there)
    cluster, h2so4 = (
        torch.exp(found[f"ln_cluster_{name}"].clamp(-30.0, 30.0)) for name in ("molecules", "h2so4")
    )
    rate = found["ln_nucleation_rate"]
    return *_limited(settings, temperature, saturation, gas, rate, cluster, h2so4), flag


def features_of(temperature: Tensor, saturation: Tensor, gas: Tensor) -> tuple[Tensor, Tensor]:
    """Features of the network (n, 3), and whether they are known: where there is any gas."""
    features = columns(
        (
            temperature.clamp(*_TEMPERATURES),
            torch.log(saturation.clamp(*_SATURATIONS)),
            torch.log(gas.clamp(*_GASES)),
        )
    )
    return features, (gas > 0.0)[:, None].expand_as(features)


def _limited(
    settings: Settings,
    temperature: Tensor,
    saturation: Tensor,
    gas: Tensor,
    ln_rate: Tensor,
    cluster: Tensor,
    h2so4: Tensor,
) -> tuple[Tensor, Tensor]:
    """Rate and H2SO4 of a cluster, 0 beyond the limits that M7 sets."""
    rate = torch.exp(ln_rate.clamp(-80.0, LN_RATE_MAX)).clamp(max=RATES[1])
    inside = (rate >= RATES[0]) & (cluster >= LEAST_CLUSTER)
    if settings.older:
        inside = inside & (gas >= _GASES[0]) & (saturation >= _SATURATIONS[0])
        inside = inside & (temperature >= _TEMPERATURES[0]) & (temperature <= _TEMPERATURES[1])
    each = (torch.where(inside, value, 0.0) for value in (rate, h2so4))
    rate, molecules = (value.to(gas.dtype) for value in each)
    return rate, molecules


def _term(k: tuple[float, ...], t: Tensor, x: Tensor) -> Tensor:
    constant, linear, square, cubic, inverse = k
    return constant + t * (linear + t * (square + t * cubic)) + inverse / x


def organic(
    settings: Settings, forest_fraction: Tensor, boundary_layer: Tensor, gas: Tensor
) -> tuple[Tensor, float]:
    """Rate of organic nucleation [cm-3 s-1] (n,) and molecules per new particle (section 10.3)."""
    if settings.organic_nucleation == "none":
        return torch.zeros_like(gas), 0.0
    molecules, constant = _ORGANIC[settings.organic_nucleation]
    inside = torch.where(boundary_layer > 0.5, forest_fraction, 0.0)
    return constant * inside * gas**molecules, molecules


def formation(
    settings: Settings,
    temperature: Tensor,
    relative_humidity: Tensor,
    forest_fraction: Tensor,
    boundary_layer: Tensor,
    gas: Tensor,
    network: Network | None = None,
    cluster: Cluster | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Find new particles [cm-3 s-1], what they take of the gas [molecules cm-3 s-1], and the flag.

    Arguments as of `nucleate`; `gas` is that in cloud-free air [molecules cm-3]; `cluster`
    what `critical` makes of them, if it is known. All (n,).
    """
    flag = torch.zeros_like(gas, dtype=torch.int32)
    rate = molecules = torch.zeros_like(gas)
    if settings.nucleation == "vehkamaki2002" and network is not None:
        rate, molecules, flag = learned(settings, temperature, relative_humidity, gas, network)
    elif settings.nucleation == "vehkamaki2002":
        if cluster is None:
            cluster = critical(temperature, relative_humidity, gas)
        rate, molecules = _limited(settings, temperature, relative_humidity, gas, *cluster)
    loss = molecules * rate
    if settings.older:
        return rate, loss, flag
    organic_rate, each = organic(settings, forest_fraction, boundary_layer, gas)
    return rate + organic_rate, loss + each * organic_rate, flag


def nucleate(
    settings: Settings,
    timestep: Tensor,
    temperature: Tensor,
    relative_humidity: Tensor,
    cloud_fraction: Tensor,
    forest_fraction: Tensor,
    boundary_layer: Tensor,
    sink: Tensor,
    gas: Tensor,
    network: Network | None = None,
) -> Nucleated:
    """Form NS particles from the gas that condensation has left (sections 10.2 and 10.3).

    Parameters
    ----------
    timestep
        (n,) [s], as all arguments (n,)
    temperature, relative_humidity, cloud_fraction, forest_fraction
        [K], [1], [1], [1]
    boundary_layer
        1 inside, 0 above
    sink
        Sum of the condensation sinks [s-1]
    gas
        [molecules cm-3]
    network
        Of the binary rate, which is exact without.
    """
    clear = torch.ones_like(gas) if settings.older else 1.0 - cloud_fraction
    within = ratio(gas, clear, clear > 0.0)
    rate, loss, flag = formation(
        settings, temperature, relative_humidity, forest_fraction, boundary_layer, within, network
    )
    if settings.older:
        taken = torch.minimum(timestep * loss, gas)
    else:
        taken = torch.minimum(timestep * loss / (1.0 + sink * timestep), within)
        taken = torch.minimum(taken * clear, gas)
    forms = (rate > EPSILON) & (loss > least(loss))
    taken = torch.where(forms, taken, 0.0)
    return Nucleated(gas - taken, taken, taken * ratio(rate, loss, forms), flag)
