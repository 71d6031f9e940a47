"""Plain scalar M7 aerosol microphysics: one cell, one step, one function per section.

An independent reading of the physics contract ``m7_physics.md``; section numbers below are those
of that text. Units (section 2): SO4 and H2SO4 molecules cm-3; BC, OC, SS, DU ug m-3; number cm-3;
radius cm; density g cm-3; water kg m-3; pressure Pa; temperature K; relative humidity 0-1; s.

Two profiles: ``m7_2004`` (A) and ``ham2`` (B). What the text leaves open is a named switch in
``Scheme`` or a column of ``THRESHOLDS``, so that a reader can try the other choice, with
``step_with``. Corrections [R] that are on: sums reset between AS and CS (8.3), small volume
threshold of the insoluble modes (7), aged mass limited by what is there (14). Numerically
rewritten, same value: the Riccati form with source (12 iii) and the mixed collisions of 12.1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from itertools import pairwise

# --- Section 2: modes and species -------------------------------------------------------------

SOLUBLE = ("ns", "ks", "as", "cs")
INSOLUBLE = ("ki", "ai", "ci")
MODES = SOLUBLE + INSOLUBLE
SPECIES_OF = {
    "ns": ("so4",),
    "ks": ("so4", "bc", "oc"),
    "as": ("so4", "bc", "oc", "ss", "du"),
    "cs": ("so4", "bc", "oc", "ss", "du"),
    "ki": ("bc", "oc"),
    "ai": ("du",),
    "ci": ("du",),
}
SO4_MASSES = ("so4_ns", "so4_ks", "so4_as", "so4_cs")
MASSES = (
    *SO4_MASSES,
    *("bc_ks", "bc_as", "bc_cs", "bc_ki"),
    *("oc_ks", "oc_as", "oc_cs", "oc_ki"),
    *("ss_as", "ss_cs"),
    *("du_as", "du_cs", "du_ai", "du_ci"),
)
SIGMA = {"ns": 1.59, "ks": 1.59, "as": 1.59, "cs": 2.00, "ki": 1.59, "ai": 1.59, "ci": 2.00}
LN_SIGMA = {k: math.log(s) for k, s in SIGMA.items()}
AGES_INTO = {"ki": "ks", "ai": "as", "ci": "cs"}
EDGES = (5e-8, 5e-7, 5e-6, 5e-5)  # d1..d4, cm, lower edges of NS, KS, AS, CS

# --- Section 3: constants ---------------------------------------------------------------------

EPSILON = 2.0**-52  # machine epsilon, 2.2e-16
BOLTZMANN = 1.38e-16  # erg K-1
GAS_CONSTANT = 8.314e7  # erg K-1 mol-1
DENSITY = {"so4": 1.841, "bc": 2.0, "oc": 2.0, "ss": 2.165, "du": 2.650}
DENSITY_NACL, DENSITY_NA2SO4, DENSITY_WATER = 2.165, 2.68, 1.0
MOLAR_H2SO4, MOLAR_WATER, MOLAR_NACL, MOLAR_NA2SO4 = 98.0734, 18.0, 58.443, 142.0376
MOLAR_SO4_KAPPA = 96.0631  # sections 3 and 8.4 ("96.06")
ACCOMMODATION = {k: 1.0 if k in SOLUBLE else 0.3 for k in MODES}
CRYSTALLISATION = 0.45
COATING_LAYERS = 1.0
CROSS_SECTION = 2.39e-15  # cm2 per H2SO4 molecule
CONDENSED_AT_MOST = 0.95
KAPPA = {"so4": 0.60, "ss": 1.12, "oc": 0.06, "bc": 0.0, "du": 0.0}
SURFACE_TENSION = 0.072  # J m-2
MICROGRAM_M3 = 1e-12  # g cm-3


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """Section 16, one column of the table."""

    mean_number: float  # 7, cm-3
    mean_mass: float  # 7, molecules cm-3 or ug m-3
    insoluble_volume: float  # 7, cm3
    insoluble_dust: float  # 7, g per particle, AI and CI
    hygroscopic_volume: float  # 8.4, cm3
    kappa_radius: float  # 8.4, cm
    kernel_number: float  # 11, cm-3
    kernel_radius: float  # 11, cm
    kernel_density: float  # 11, g cm-3
    number_equation: float  # 12, cm-3
    no_rate: float  # 12, a and b
    ageing_number: float  # 14, cm-3
    merge_number: float  # 15, cm-3
    merge_radius: float  # 15, cm


THRESHOLDS = {
    "a_lotos": Thresholds(
        mean_number=1e-10,
        mean_mass=1e-15,
        insoluble_volume=1e-20,
        insoluble_dust=1e-26,
        hygroscopic_volume=0.0,
        kappa_radius=0.0,
        kernel_number=1e-10,
        kernel_radius=1e-10,
        kernel_density=1e-10,
        number_equation=1e-10,
        no_rate=1e-15,
        ageing_number=1e-5,
        merge_number=EPSILON,
        merge_radius=0.0,
    ),
    "b_2012": Thresholds(
        mean_number=1e-4,
        mean_mass=1e-23,
        insoluble_volume=1e-23,
        insoluble_dust=0.0,
        hygroscopic_volume=5e-22,
        kappa_radius=1e-8,
        kernel_number=1e-10,
        kernel_radius=1e-10,
        kernel_density=1e-10,
        number_equation=1e-10,
        no_rate=1e-15,
        ageing_number=1e-5,
        merge_number=1e-10,
        merge_radius=EPSILON,
    ),
    "b_later": Thresholds(
        mean_number=1e-10,
        mean_mass=1e-15,
        insoluble_volume=1e-23,
        insoluble_dust=0.0,
        hygroscopic_volume=1e-23,
        kappa_radius=1e-8,
        kernel_number=1e-10,
        kernel_radius=1e-8,
        kernel_density=1e-10,
        number_equation=1e-10,
        no_rate=1e-15,
        ageing_number=1e-10,
        merge_number=1e-10,
        merge_radius=1e-8,
    ),
}
THRESHOLDS_OF = {"m7_2004": "a_lotos", "ham2": "b_2012"}  # which column a profile uses


@dataclass(frozen=True, kw_only=True)
class Scheme:
    """What differs between the profiles (sections 1 and 3), and the open choices."""

    ham2: bool
    pi: float
    sqrt2: float
    avogadro: float
    limit: Thresholds
    water: str = "zsr"
    organic: str = "none"
    # Open choices, each with the section that leaves it open.
    carry_over_ns: bool = True  # 7: mu of SO4-NS kept (A) when only one condition fails
    pure_sulfate: float = 1e-21  # 8.2: g of other species per particle, 1e-15 ug
    kernel_epsilon: float = 0.0  # 11: added to the mean radius, cm
    tanh_without_loss: bool = False  # 12 (iii), b zero: corrected form instead of the legacy skip
    aged_by_sulfate: bool  # 14: moved mass from S/coat (TNO/LOTOS) or from min(N, S/coat)


SCHEMES = {
    "m7_2004": Scheme(
        ham2=False,
        pi=3.141592654,
        sqrt2=1.4142136,
        avogadro=6.02217e23,
        limit=THRESHOLDS[THRESHOLDS_OF["m7_2004"]],
        aged_by_sulfate=True,
    ),
    "ham2": Scheme(
        ham2=True,
        pi=math.pi,
        sqrt2=math.sqrt(2.0),
        avogadro=6.02214e23,
        limit=THRESHOLDS[THRESHOLDS_OF["ham2"]],
        aged_by_sulfate=False,
        kernel_epsilon=EPSILON,
    ),
}

# --- Section 4: log-normal relations ----------------------------------------------------------


def average_mass_factor(mode: str) -> float:
    """Section 4: radius of average mass over count median radius, exp(1.5 L^2)."""
    return math.exp(1.5 * LN_SIGMA[mode] ** 2)


def sphere(radius: float, scheme: Scheme) -> float:
    """Volume of a sphere [cm3]."""
    return 4.0 / 3.0 * scheme.pi * radius**3


def median_radius(volume: float, mode: str, scheme: Scheme) -> float:
    """Section 4: count median radius [cm] from the mean particle volume [cm3]."""
    return math.pow(0.75 * volume / scheme.pi, 1.0 / 3.0) / average_mass_factor(mode)


def molecule(scheme: Scheme) -> float:
    """Mass of one H2SO4 molecule [g]."""
    return MOLAR_H2SO4 / scheme.avogadro


# --- Sections 7 and 8: mean particles, water uptake -------------------------------------------


@dataclass
class Properties:
    """Means and sizes of the modes, sections 7 and 8. Means: SO4 molecules, others g."""

    mean: dict[str, float] = field(default_factory=lambda: dict.fromkeys(MASSES, 0.0))
    dry: dict[str, float] = field(default_factory=lambda: dict.fromkeys(SOLUBLE, 0.0))
    wet: dict[str, float] = field(default_factory=lambda: dict.fromkeys(MODES, 0.0))
    density: dict[str, float] = field(default_factory=lambda: dict.fromkeys(MODES, 0.0))
    water: dict[str, float] = field(default_factory=lambda: dict.fromkeys(SOLUBLE, 0.0))


def mean_masses(
    mass: dict[str, float],
    number: dict[str, float],
    previous: dict[str, float],
    scheme: Scheme,
) -> dict[str, float]:
    """Section 7: mean mass per particle, molecules for SO4 and g for the others."""
    limit = scheme.limit
    mean = {}
    for name in MASSES:
        species, mode = name.split("_")
        particles, amount = number[mode], mass[name]
        unit = 1.0 if species == "so4" else MICROGRAM_M3
        enough = particles > limit.mean_number, amount > limit.mean_mass
        if all(enough):
            mean[name] = amount / particles * unit
        elif name != "so4_ns":
            mean[name] = 0.0
        elif scheme.ham2:
            edge = sphere(EDGES[0], scheme)
            mean[name] = edge * DENSITY["so4"] / molecule(scheme)
        elif not any(enough):
            mean[name] = 100.0
        else:
            mean[name] = previous[name] if scheme.carry_over_ns else 0.0
    return mean


def insoluble_size(mean: dict[str, float], mode: str, scheme: Scheme) -> tuple[float, float]:
    """Section 7: count median radius and density of an insoluble mode."""
    content = {s: mean[f"{s}_{mode}"] for s in SPECIES_OF[mode]}
    volume = sum(m / DENSITY[s] for s, m in content.items())
    if not scheme.ham2 and mode != "ki":
        exists = content["du"] > scheme.limit.insoluble_dust
    else:
        exists = volume > scheme.limit.insoluble_volume
    if not exists:
        return 0.0, 0.0
    return median_radius(volume, mode, scheme), sum(content.values()) / volume


# Section 8.1: coefficients of the weight percentage and of the density of the solution.
# fmt: off
W = (
    95.80188, -28.5257, -1.082153, 0.1466501, -20627.51, 0.0461242,
    -0.003935, -3.36115, -0.00024137, 0.067938345, 0.00000649899, 8616124.373,
    1.168155578, -0.021317481, 0.000270358, -1353332314.0, -0.002403805,
)
G = (
    1.036391467, 0.00728531, -0.011013887, -0.068887407, 0.001047842, 0.001049607,
    0.000740534, -1.081202685, -0.0000029113,
)
# Section 8.3: molality polynomials, Jacobson et al. (1996).
MOLALITY = {
    "nacl": (
        -1.918004e2, 2.001540e3, -8.557205e3, 1.987670e4,
        -2.717192e4, 2.187103e4, -9.591577e3, 1.763672e3,
    ),
    "na2so4": (
        -3.295311e3, 3.188349e4, -1.305168e5, 2.935608e5,
        -3.920423e5, 3.109519e5, -1.356439e5, 2.510249e4,
    ),
    "h2so4": (
        5.611895, -1.387446e1, 1.750682e1, 7.138146e1,
        -3.109173e2, 4.662288e2, -3.128612e2, 7.76097e1,
    ),
}
# fmt: on


def sulfuric_solution(
    molecules: float, humidity: float, temperature: float, pressure: float
) -> tuple[float, float]:
    """Section 8.1: weight percentage of H2SO4 and density [g cm-3] of the solution."""
    t = max(temperature, 240.0)
    h = min(max(humidity, 0.05), 0.90)
    x = math.log(molecules)
    y = x / 3.0
    terms = (
        *(1.0, x, h * x, t * x, h / t, x**2 * h, x**2 * t, x * h**2, x * t**2),
        *(x**2 * h**2, x**2 * t**2, h**2 / t**2, x**2, x**3, x**4, h**3 / t**3),
        math.log(h * t / pressure),
    )
    w = sum(c * f for c, f in zip(W, terms, strict=True))
    density_terms = (1.0, w, y, h, t, y**2, y / h, y / t, t**2)
    rho = sum(c * f for c, f in zip(G, density_terms, strict=True))
    return w, min(max(rho, 1.0), 1.841)


@dataclass(frozen=True, kw_only=True)
class Air:
    """State of the air in the cell."""

    pressure: float
    temperature: float
    humidity: float
    cloud: float
    production: float
    forest: float
    in_boundary_layer: bool


def sulfate_size(found: Properties, mode: str, particles: float, air: Air, scheme: Scheme) -> None:
    """Section 8.2: sizes and water of a soluble mode without sea salt, set in ``found``."""
    molecules = found.mean[f"so4_{mode}"]
    if molecules <= 0.0:
        return
    w, rho = sulfuric_solution(molecules, air.humidity, air.temperature, air.pressure)
    sulfate = molecules * molecule(scheme)
    solution = sulfate / (w / 100.0)
    others = {s: found.mean[f"{s}_{mode}"] for s in SPECIES_OF[mode] if s not in ("so4", "ss")}
    core_mass = sum(others.values())
    core_volume = sum(m / DENSITY[s] for s, m in others.items())
    if core_mass < scheme.pure_sulfate:
        core_mass = core_volume = 0.0
    wet_volume = solution / rho + core_volume
    found.dry[mode] = median_radius(sulfate / DENSITY["so4"] + core_volume, mode, scheme)
    found.wet[mode] = median_radius(wet_volume, mode, scheme)
    found.density[mode] = rho if core_mass == 0.0 else (solution + core_mass) / wet_volume
    found.water[mode] = (solution - sulfate) * particles * 1e3


def molality(salt: str, activity: float) -> float:
    """Section 8.3: binary molality [mol kg-1] at a water activity."""
    root = 0.0
    for c in reversed(MOLALITY[salt]):
        root = root * activity + c
    return root * root


def sea_salt_size(
    found: Properties,
    mode: str,
    mass: dict[str, float],
    particles: float,
    air: Air,
    scheme: Scheme,
) -> None:
    """Section 8.3: sizes and water of AS or CS with sea salt (ZSR), set in ``found``."""
    sodium = mass[f"ss_{mode}"] * 1e-6 / MOLAR_NACL  # mol m-3
    sulfur = mass[f"so4_{mode}"] * 1e6 / scheme.avogadro
    na2so4 = min(sodium / 2.0, sulfur)
    moles = {"nacl": sodium - 2.0 * na2so4, "na2so4": na2so4, "h2so4": sulfur - na2so4}
    parts = [  # g m-3 and g cm-3
        (moles["nacl"] * MOLAR_NACL, DENSITY_NACL),
        (moles["na2so4"] * MOLAR_NA2SO4, DENSITY_NA2SO4),
        (moles["h2so4"] * MOLAR_H2SO4, DENSITY["so4"]),
        *((mass[f"{s}_{mode}"] * 1e-6, DENSITY[s]) for s in ("bc", "oc", "du")),
    ]
    dry_mass = sum(m for m, _ in parts)
    dry_volume = sum(m / rho for m, rho in parts)  # cm3 m-3
    water = 0.0
    if air.humidity >= CRYSTALLISATION:
        activity = min(air.humidity, 1.0)
        water = sum(n / molality(salt, activity) for salt, n in moles.items())  # kg m-3
    water_volume = water / 1e-3
    found.dry[mode] = median_radius(dry_volume / (particles * 1e6), mode, scheme)
    wet_volume = dry_volume + water_volume
    found.wet[mode] = median_radius(wet_volume / (particles * 1e6), mode, scheme)
    found.density[mode] = (dry_mass + water_volume * DENSITY_WATER) / wet_volume
    found.water[mode] = water


def kappa_growth(radius: float, kappa: float, humidity: float, temperature: float) -> float:
    """Section 8.4: growth factor G >= 1 of a dry radius [cm], kappa-Koehler, by bisection."""
    humidity = min(humidity, 1.0)
    if kappa <= 0.0 or humidity <= 0.0:
        return 1.0
    # A = 2 sigma M / (R T rho) in m, with SI units, over the dry radius in m.
    curvature = 2.0 * SURFACE_TENSION * MOLAR_WATER * 1e-3
    curvature /= GAS_CONSTANT * 1e-7 * temperature * 1000.0 * radius * 1e-2

    def too_small(growth: float) -> bool:
        volume = growth**3 - 1.0
        return humidity * math.exp(-curvature / growth) * (volume + kappa) > volume

    low, high = 1.0, 2.0
    while too_small(high):
        high *= 2.0
    for _ in range(200):
        middle = 0.5 * (low + high)
        if too_small(middle):
            low = middle
        else:
            high = middle
    return 0.5 * (low + high)


def kappa_size(found: Properties, mode: str, particles: float, air: Air, scheme: Scheme) -> None:
    """Section 8.4: sizes and water of a soluble mode by kappa-Koehler, set in ``found``."""
    content = {s: found.mean[f"{s}_{mode}"] for s in SPECIES_OF[mode]}
    content["so4"] *= MOLAR_SO4_KAPPA / scheme.avogadro
    volumes = {s: m / DENSITY[s] for s, m in content.items()}
    dry_mass, dry_volume = sum(content.values()), sum(volumes.values())
    dry = median_radius(dry_volume, mode, scheme)
    found.dry[mode] = found.wet[mode] = dry
    if dry <= scheme.limit.kappa_radius:
        found.density[mode] = 1.0
        return
    hygroscopic = sum(v for s, v in volumes.items() if KAPPA[s] > 0.0)
    kappa = 0.0
    if hygroscopic > scheme.limit.hygroscopic_volume:  # averaged as the real generation does
        kappa = sum(KAPPA[s] * v for s, v in volumes.items()) / hygroscopic
    wet = dry * kappa_growth(dry, kappa, air.humidity, air.temperature)
    factor = average_mass_factor(mode)
    water_volume = sphere(wet * factor, scheme) - sphere(dry * factor, scheme)
    water = water_volume * DENSITY_WATER
    found.wet[mode] = wet
    found.density[mode] = (dry_mass + water) / (dry_volume + water_volume)
    found.water[mode] = water * particles * 1e3


def properties(
    mass: dict[str, float],
    number: dict[str, float],
    previous: Properties,
    air: Air,
    scheme: Scheme,
) -> Properties:
    """Sections 7 and 8: step 1 of section 6, repeated before and after merging."""
    found = Properties(mean=mean_masses(mass, number, previous.mean, scheme))
    for mode in SOLUBLE:
        if scheme.water == "kappa":
            kappa_size(found, mode, number[mode], air, scheme)
        elif mode in ("as", "cs") and mass[f"ss_{mode}"] > 1e-15 and number[mode] > 1e-10:
            sea_salt_size(found, mode, mass, number[mode], air, scheme)
        else:
            sulfate_size(found, mode, number[mode], air, scheme)
    for mode in INSOLUBLE:
        found.wet[mode], found.density[mode] = insoluble_size(found.mean, mode, scheme)
    return found


# --- Section 9: condensation ------------------------------------------------------------------


def condensation_coefficient(radius: float, mode: str, air: Air, scheme: Scheme) -> float:
    """Section 9: C_k/N_k [cm3 s-1] of one particle at the count median radius."""
    if radius <= 0.0:
        return 0.0
    t = air.temperature
    diffusivity = 0.073 * (1000.0 / (air.pressure / 100.0)) * math.pow(t / 298.15, 1.5)
    speed = math.sqrt(8.0 * GAS_CONSTANT * t / (scheme.pi * MOLAR_H2SO4))
    path = 8.0 * diffusivity / (scheme.pi * speed)
    jump = (radius + path) ** 3 - math.pow(radius**2 + path**2, 1.5)
    jump = jump / (3.0 * radius * path) - radius
    resistance = 4.0 * diffusivity / (speed * radius * ACCOMMODATION[mode])
    resistance += radius / (radius + jump)
    return 4.0 * scheme.pi * diffusivity * radius / resistance


def condensation(
    gas: float,
    mass: dict[str, float],
    number: dict[str, float],
    wet: dict[str, float],
    air: Air,
    timestep: float,
    scheme: Scheme,
) -> tuple[float, float, dict[str, float]]:
    """Section 9: gas left, sink CS [s-1], sulfate on KI, AI, CI; SO4 added to ``mass``."""
    rate = {k: number[k] * condensation_coefficient(wet[k], k, air, scheme) for k in MODES}
    sink = sum(rate.values())
    received = dict.fromkeys(MODES, 0.0)
    if not scheme.ham2:
        if sink > 0.0 and gas > 1e-10:
            condensed = min(sink * gas * timestep, CONDENSED_AT_MOST * gas)
            gas -= condensed
            received = {k: rate[k] / sink * condensed for k in MODES}
    elif sink > 1e-10:
        offered = gas + air.production * timestep
        # The text's (G - P/CS) exp(-CS dt) + P/CS, and what it leaves over, without cancellation.
        x = sink * timestep
        lost = -math.expm1(-x)
        late = x - lost
        if x < 0.1:
            late = math.fsum((-x) ** n / math.factorial(n) for n in range(2, 14))
        after = max(gas * math.exp(-x) + air.production * lost / sink, 0.0)
        clear = (1.0 - air.cloud) * (gas * lost + air.production * late / sink)
        clear = clear if after > 0.0 else (1.0 - air.cloud) * offered
        received = {k: rate[k] / sink * clear for k in MODES}
        largest = next(k for k in ("cs", "as", "ks", "ns", "ci", "ai", "ki") if rate[k] > 0.0)
        received[largest] += air.cloud * offered
        gas = (1.0 - air.cloud) * after
    else:
        gas += air.production * timestep
    for mode in SOLUBLE:
        mass[f"so4_{mode}"] += received[mode]
    return gas, sink, {k: received[k] for k in INSOLUBLE}


# --- Section 10: nucleation -------------------------------------------------------------------

# Section 10.1: rows k0..k4 for the factors 1, s, s^2, s^3, a, s a, s^2 a, a^2, s a^2, a^3.
# fmt: off
VEHKAMAKI_RATE: tuple[tuple[float, float, float, float, float], ...] = (
    # 1
    (
        0.1430901615568665, 2.219563673425199, -0.02739106114964264, 7.228107239317088e-5,
        5.91822263375044,
    ),
    # s
    (
        0.1174886643003278, 0.4625315047693772, -0.01180591129059253, 4.04196487152575e-5,
        15.79628615047088,
    ),
    # s2
    (
        -0.215553951893509, -0.0810269192332194, 0.001435808434184642, -4.775796947178588e-6,
        -2.912974063702185,
    ),
    # s3
    (
        -3.588557942822751, 0.04950795302831703, -2.138195118737068e-4, 3.108005107949533e-7,
        -0.02933332747098296,
    ),
    # a
    (
        1.145983818561277, -0.6007956227856778, 0.00864244733283759, -2.289467254710888e-5,
        -8.44984513869014,
    ),
    # s.a
    (
        2.158548369286559, 0.0808121412840917, -4.073815255395214e-4, -4.019572560156515e-7,
        0.7213255852557236,
    ),
    # s2.a
    (
        1.62409850488771, -0.01601062035325362, 3.771238979714162e-5, 3.217942606371182e-8,
        -0.01132550810022116,
    ),
    # a2
    (
        9.71681713056504, -0.1150478558347306, 1.570982486038294e-4, 4.009144680125015e-7,
        0.7118597859976135,
    ),
    # s.a2
    (
        -1.056105824379897, 0.00903377584628419, -1.984167387090606e-5, 2.460478196482179e-8,
        -0.05790872906645181,
    ),
    # a3
    (
        -0.1487119673397459, 0.002835082097822667, -9.24618825471694e-6, 5.004267665960894e-9,
        -0.01270805101481648,
    ),
)

VEHKAMAKI_MOLECULES: tuple[tuple[float, float, float, float, float], ...] = (
    # 1
    (
        -0.002954125078716302, -0.0976834264241286, 0.001024847927067835, -2.186459697726116e-6,
        -0.1017165718716887,
    ),
    # s
    (
        -0.002050640345231486, -0.007585041382707174, 1.926539658089536e-4, -6.70429719683894e-7,
        -0.2557744774673163,
    ),
    # s2
    (
        0.003223076552477191, 8.52636632240633e-4, -1.547571354871789e-5, 5.666608424980593e-8,
        0.03384437400744206,
    ),
    # s3
    (
        0.04743226764572505, -6.251042204583412e-4, 2.650663328519478e-6, -3.674710848763778e-9,
        -2.672510825259393e-4,
    ),
    # a
    (
        -0.01252108546759328, 0.005806550506277202, -1.016735312443444e-4, 2.881946187214505e-7,
        0.0942243379396279,
    ),
    # s.a
    (
        -0.0385459592773097, -6.723156277391984e-4, 2.602884877659698e-6, 1.194163699688297e-8,
        -0.00851515345806281,
    ),
    # s2.a
    (
        -0.01837488495738111, 1.720723574407498e-4, -3.717657974086814e-7, -5.148746022615196e-10,
        2.686602132926594e-4,
    ),
    # a2
    (
        -0.06199739728812199, 9.06958053583576e-4, -9.11727926129757e-7, -5.367963396508457e-9,
        -0.007742343393937707,
    ),
    # s.a2
    (
        0.0121827103101659, -1.066499571188091e-4, 2.534598655067518e-7, -3.635186504599571e-10,
        6.100650851863252e-4,
    ),
    # a3
    (
        3.201836700403512e-4, -1.74761713262546e-5, 6.065037668052182e-8, -1.421771723004557e-11,
        1.357509859501723e-4,
    ),
)
# fmt: on


def vehkamaki_sum(
    table: tuple[tuple[float, float, float, float, float], ...],
    t: float,
    s: float,
    a: float,
    x: float,
) -> float:
    """Section 10.1: one of the two polynomials, at T, ln S, ln N and mole fraction x."""
    factors = (1.0, s, s**2, s**3, a, s * a, s**2 * a, a**2, s * a**2, a**3)
    return sum(
        (k0 + k1 * t + k2 * t**2 + k3 * t**3 + k4 / x) * factor
        for (k0, k1, k2, k3, k4), factor in zip(table, factors, strict=True)
    )


def vehkamaki(
    temperature: float, humidity: float, gas: float, scheme: Scheme
) -> tuple[float, float]:
    """Section 10.1: rate J [cm-3 s-1] after M7's limits, and H2SO4 molecules per particle."""
    t = temperature
    if scheme.ham2:
        t = min(max(t, 190.15), 300.15)
        gas, humidity = max(gas, 1e4), max(humidity, 1e-4)
    elif gas < 1e4 or humidity < 1e-4 or not 190.15 <= t <= 300.15:
        return 0.0, 0.0
    s = math.log(min(humidity, 1.0))
    a = math.log(min(gas, 1e11))
    x = (
        0.7409967177282139
        - 0.002663785665140117 * t
        - 0.003499978417957668 * a
        + 0.0000504021689382576 * t * a
        + 0.002010478847383187 * s
        - 0.0001832894131464668 * t * s
        + 0.001574072538464286 * s**2
        - 0.00001790589121766952 * t * s**2
        + 0.0001844027436573778 * s**3
        - 1.503452308794887e-6 * t * s**3
    )
    rate = math.exp(min(vehkamaki_sum(VEHKAMAKI_RATE, t, s, a, x), 700.0))
    total = math.exp(min(vehkamaki_sum(VEHKAMAKI_MOLECULES, t, s, a, x), 700.0))
    if rate < 1e-7 or total < 4.0:
        return 0.0, 0.0
    return min(rate, 1e10), x * total


def organic_nucleation(gas: float, air: Air, scheme: Scheme) -> tuple[float, float]:
    """Section 10.3: rate J_o [cm-3 s-1] and H2SO4 molecules per particle."""
    if not air.in_boundary_layer or scheme.organic == "none":
        return 0.0, 0.0
    if scheme.organic == "activation":
        return 1e-6 * air.forest * gas, 1.0
    return 3.86e-13 * air.forest * gas**2, 2.0


def nucleation(
    gas: float, sink: float, air: Air, timestep: float, scheme: Scheme
) -> tuple[float, float, float]:
    """Sections 10.2 (A) and 10.3 (B): gas left, new particles, their sulfate [cm-3]."""
    if not scheme.ham2:
        rate, molecules = vehkamaki(air.temperature, air.humidity, gas, scheme)
        if rate <= EPSILON or molecules <= 0.0:
            return gas, 0.0, 0.0
        used = min(max(rate * molecules * timestep, 0.0), gas)
        return gas - used, used / molecules, used
    clear = gas / (1.0 - air.cloud) if air.cloud < 1.0 else 0.0
    rate, molecules = vehkamaki(air.temperature, air.humidity, clear, scheme)
    organic_rate, organic_molecules = organic_nucleation(clear, air, scheme)
    total = rate + organic_rate
    loss = molecules * rate + organic_molecules * organic_rate
    if total <= EPSILON or loss <= 0.0:
        return gas, 0.0, 0.0
    used = min(timestep * loss / (1.0 + sink * timestep), clear) * (1.0 - air.cloud)
    return gas - used, used * total / loss, used


# --- Section 11: coagulation kernels ----------------------------------------------------------

PAIRS = (
    *(("ns", k) for k in MODES),
    *(("ks", k) for k in ("ks", "as", "cs", "ki", "ai", "ci")),
    *(("as", k) for k in ("as", "ki")),
    ("ki", "ki"),
)


@dataclass(frozen=True, kw_only=True)
class Brownian:
    """Section 11: radius, diffusivity, thermal speed and jump distance of one mode."""

    radius: float
    diffusivity: float
    speed: float
    jump: float


def brownian(radius: float, density: float, air: Air, scheme: Scheme) -> Brownian:
    """Section 11: quantities of one mode."""
    t = air.temperature
    if scheme.ham2:
        path = 2.251e-3 * t / air.pressure
    else:
        path = 6.6e-6 * (t / 293.15) * (1000.0 / (air.pressure / 100.0))
    viscosity = 1.827e-4 * (t / 291.15) ** 0.74
    speed = math.sqrt(8.0 * BOLTZMANN * t / (scheme.pi * sphere(radius, scheme) * density))
    knudsen = path / (2.0 * radius)
    slip = 1.0 + knudsen * (2.492 + 0.84 * math.exp(-0.43 / knudsen))
    diffusivity = BOLTZMANN * t / (6.0 * scheme.pi * viscosity * radius) * slip
    free = 8.0 * diffusivity / (scheme.pi * speed)
    jump = (2.0 * radius + free) ** 3 - math.pow(4.0 * radius**2 + free**2, 1.5)
    jump = jump / (6.0 * radius * free) - 2.0 * radius
    return Brownian(radius=radius, diffusivity=diffusivity, speed=speed, jump=scheme.sqrt2 * jump)


def pair_kernel(one: Brownian, two: Brownian, scheme: Scheme) -> float:
    """Section 11: K_ij [cm3 s-1]."""
    radius = (one.radius + two.radius) / 2.0 + scheme.kernel_epsilon
    diffusivity = (one.diffusivity + two.diffusivity) / 2.0
    speed = math.sqrt(one.speed**2 + two.speed**2)
    jump = math.sqrt(one.jump**2 + two.jump**2)
    if not scheme.ham2:
        jump /= scheme.sqrt2
    resistance = 4.0 * diffusivity / (speed * radius) + radius / (radius + jump / 2.0)
    return 16.0 * scheme.pi * diffusivity * radius / resistance


def kernels(
    number: dict[str, float],
    wet: dict[str, float],
    density: dict[str, float],
    air: Air,
    scheme: Scheme,
) -> dict[tuple[str, str], float]:
    """Section 11: the 16 kernels; 0 where one of the two modes does not take part."""
    limit = scheme.limit
    valid = {
        k: brownian(wet[k], density[k], air, scheme)
        for k in MODES
        if number[k] > limit.kernel_number
        and wet[k] > limit.kernel_radius
        and density[k] > limit.kernel_density
    }
    return {
        (i, j): pair_kernel(valid[i], valid[j], scheme) if i in valid and j in valid else 0.0
        for i, j in PAIRS
    }


# --- Section 12: number equations -------------------------------------------------------------

LOST_TO = {
    "ns": ("ks", "as", "cs", "ki", "ai", "ci"),
    "ks": ("as", "cs", "ai", "ci"),
    "ki": ("ks", "as"),
}


def number_equation(
    start: float,
    a: float,
    b: float,
    timestep: float,
    new: float = 0.0,
    old: float = 0.0,
    zero: float = 1e-15,
    tanh_without_loss: bool = False,
) -> tuple[float, float, float]:
    """Section 12: dn/dt = c - a n^2 - b n. Returns n, inter-modal loss, intra-modal loss.

    ``start`` is n0 with the ``new`` particles, ``old`` without (used only with a source).
    """
    no_a, no_b = a < zero, b < zero
    if no_a and no_b:
        return start, 0.0, 0.0
    source = new / timestep
    if source < 1.0:  # the text takes the losses from n0 - n; these forms do not cancel
        time = timestep if no_b else -math.expm1(-b * timestep) / b
        left = 1.0 if no_b else math.exp(-b * timestep)
        share = 1.0 / (1.0 + a * start * time)
        inter = 0.0 if no_b else start * b * time * share
        return start * left * share, inter, start * a * start * time * share
    if no_b:
        n = number_with_source_only(start, a, timestep, source, old, tanh_without_loss)
    else:
        n = min(number_with_source(a, b, timestep, source, old), start)
    lost = start - n
    if no_b:
        return n, 0.0, lost
    rates = a * start + b
    return n, lost * b / rates, lost * a * start / rates


def number_with_source(a: float, b: float, timestep: float, c: float, old: float) -> float:
    """Section 12 (iii), b non-zero, rationalised: sums of positive terms only.

    With t = tanh(q dt/2) the text's form is [(2c - b N) t + q N]/(q + f t), and
    q - b t = 4ac/(q + b) + b (1 - t).
    """
    q = math.sqrt(b * b + 4.0 * a * c)
    f = 2.0 * a * old + b
    decay = math.exp(-q * timestep)
    t = -math.expm1(-q * timestep) / (1.0 + decay)
    q_minus_bt = 4.0 * a * c / (q + b) + b * 2.0 * decay / (1.0 + decay)
    return (2.0 * c * t + old * q_minus_bt) / (q + f * t)


def number_with_source_only(
    start: float, a: float, timestep: float, c: float, old: float, corrected: bool
) -> float:
    """Section 12 (iii), b zero. Legacy: no coagulation where f - E < 1e-15, so if N < q."""
    q = math.sqrt(c / a)
    if not corrected and old != q:
        f = (old + q) / (old - q)
        if f - math.exp(-2.0 * a * q * timestep) < 1e-15:
            return start
    t = math.tanh(a * q * timestep)
    return q * (old + q * t) / (q + old * t)


@dataclass
class Loss:
    """Section 12: result of one mode's number equation, with the fractions f_kj."""

    start: float = 0.0
    n: float = 0.0
    inter: float = 0.0
    intra: float = 0.0
    to: dict[str, float] = field(default_factory=lambda: dict.fromkeys(MODES, 0.0))


def coat_molecules(radius: float, mode: str, scheme: Scheme) -> float:
    """Section 14: H2SO4 molecules that coat one particle of an insoluble mode."""
    surface = 4.0 * scheme.pi * (radius * math.exp(LN_SIGMA[mode] ** 2)) ** 2
    return COATING_LAYERS * surface / CROSS_SECTION


def insoluble_correction(
    loss: Loss,
    a: float,
    mean_sulfate: float,
    number: dict[str, float],
    coat: dict[str, float],
    timestep: float,
    scheme: Scheme,
) -> None:
    """Section 12.1: more NS lost to the insoluble modes; changes ``loss`` of NS.

    With u = 2 + A n_t the text's z_t - z_i - z_s is, without cancellation,
    2 A n_i n_s/u [1/(2 + A n_s) + 1/(2 + A n_i)], and z_i more when n_i <= 1 (there z_i = 0).
    """
    n_i = sum(number[k] for k in INSOLUBLE)
    n_s = loss.start + number["ks"]
    if loss.inter <= 0.0 or n_s <= n_i or n_i <= (EPSILON if scheme.ham2 else 0.0):
        return
    aa = a * timestep
    u = 2.0 + aa * (n_s + n_i)
    mixed = 2.0 * aa * n_i * n_s / u * (1.0 / (2.0 + aa * n_s) + 1.0 / (2.0 + aa * n_i))
    if n_i <= 1.0:
        mixed += 4.0 * n_i / (u * (2.0 + aa * n_s))
    mixed = min(mixed, n_i)
    extra = 0.0
    if mean_sulfate > 0.0:
        extra = sum(number[k] / n_i * mixed * coat[k] / mean_sulfate for k in INSOLUBLE)
    extra = min(extra, 0.95 * loss.intra)
    share = loss.inter / (loss.inter + extra)
    for k in MODES:
        loss.to[k] *= share
    for k in INSOLUBLE:
        loss.to[k] += (1.0 - share) * number[k] / n_i
    total = sum(loss.to.values())
    for k in MODES:
        loss.to[k] /= total
    loss.inter += extra
    loss.intra -= extra


# --- Sections 12 to 14 together: step 4 of section 6 ------------------------------------------


def coagulation(
    mass: dict[str, float],
    number: dict[str, float],
    kernel: dict[tuple[str, str], float],
    found: Properties,
    new: float,
    new_sulfate: float,
    condensed: dict[str, float],
    timestep: float,
    scheme: Scheme,
) -> None:
    """Sections 12, 13, 14: numbers, mass with them, ageing; changes mass and number."""
    before = dict(number)  # losses between modes use the numbers at the start
    coat = {k: coat_molecules(found.wet[k], k, scheme) for k in INSOLUBLE}
    dust = {k: mass[f"du_{k}"] / before[k] if before[k] > 0.0 else 0.0 for k in ("ai", "ci")}
    gained_mass = dict.fromkeys(MASSES, 0.0)
    gained_number = dict.fromkeys(MODES, 0.0)
    losses = {}
    means: dict[str, float] = {}
    for mode in ("ki", *SOLUBLE):
        source = new if mode == "ns" else 0.0
        a = kernel.get((mode, mode), 0.0) / 2.0
        loss = lose_number(mode, a, before, kernel, source, timestep, scheme)
        losses[mode] = loss
        if mode == "ns":
            mass["so4_ns"] += new_sulfate
            sulfate = mass["so4_ns"] / loss.start if loss.start > 0.0 else 0.0
            insoluble_correction(loss, a, sulfate, number, coat, timestep, scheme)
        number[mode] = loss.n
        means |= transfer(mode, loss, mass, found.mean, gained_mass, scheme)
    ageing(losses, means, dust, coat, condensed, mass, number, gained_mass, gained_number, scheme)
    for name in MASSES:
        mass[name] += gained_mass[name]
    for mode in MODES:
        number[mode] += gained_number[mode]


def lose_number(
    mode: str,
    a: float,
    before: dict[str, float],
    kernel: dict[tuple[str, str], float],
    new: float,
    timestep: float,
    scheme: Scheme,
) -> Loss:
    """Section 12: the number equation of one mode with its kernels."""
    rates = {
        k: kernel[(mode, k) if (mode, k) in kernel else (k, mode)] * before[k]
        for k in LOST_TO.get(mode, ())
    }
    b = sum(rates.values())
    start = before[mode] + new
    loss = Loss(start=start, n=start)
    if start > scheme.limit.number_equation:
        loss.n, loss.inter, loss.intra = number_equation(
            start,
            a,
            b,
            timestep,
            new,
            before[mode],
            scheme.limit.no_rate,
            scheme.tanh_without_loss,
        )
    for k, rate in rates.items():
        loss.to[k] = rate / b if b > 0.0 else 0.0
    return loss


def transfer(
    mode: str,
    loss: Loss,
    mass: dict[str, float],
    first_mean: dict[str, float],
    gained: dict[str, float],
    scheme: Scheme,
) -> dict[str, float]:
    """Section 13: mass that leaves a mode with its number. Returns the means that were used."""
    means: dict[str, float] = {}
    if loss.start <= scheme.limit.number_equation:
        return means
    for species in SPECIES_OF[mode]:
        if species in ("ss", "du"):
            continue
        name = f"{species}_{mode}"
        if scheme.ham2 and species != "so4" and first_mean[name] > 0.0:
            mean = first_mean[name] / MICROGRAM_M3
        else:  # B too where a threshold of section 7 made the mean 0: mass is then kept
            mean = mass[name] / loss.start
        means[name] = mean
        if loss.inter == loss.intra == 0.0:
            continue
        mass[name] = (loss.n + loss.intra) * mean
        for target in SOLUBLE[1:]:
            insoluble = next(k for k, v in AGES_INTO.items() if v == target)
            share = loss.to[target] + (loss.to[insoluble] if mode != "ki" else 0.0)
            if share > 0.0:
                gained[f"{species}_{target}"] += loss.inter * mean * share
    return means


def ageing(
    losses: dict[str, Loss],
    means: dict[str, float],
    dust: dict[str, float],
    coat: dict[str, float],
    condensed: dict[str, float],
    mass: dict[str, float],
    number: dict[str, float],
    gained_mass: dict[str, float],
    gained_number: dict[str, float],
    scheme: Scheme,
) -> None:
    """Section 14: coated insoluble particles move to the soluble mode of their size."""
    for mode, target in AGES_INTO.items():
        gained_mass[f"so4_{target}"] += condensed[mode]
        if number[mode] < scheme.limit.ageing_number or coat[mode] <= EPSILON:
            continue
        sulfate = condensed[mode]
        for giver in ("ns", "ks"):
            loss = losses[giver]
            sulfate += loss.inter * loss.to[mode] * means.get(f"so4_{giver}", 0.0)
        coated = sulfate / coat[mode]
        aged = min(number[mode], coated)
        number[mode] -= aged
        gained_number[target] += aged
        for species in SPECIES_OF[mode]:
            name = f"{species}_{mode}"
            mean = dust[mode] if species == "du" else means.get(name, 0.0)
            moved = (coated if scheme.aged_by_sulfate else aged) * mean
            moved = min(moved, mass[name])
            mass[name] -= moved
            gained_mass[f"{species}_{target}"] += moved


# --- Section 15: mode merging -----------------------------------------------------------------


def kept_fractions(
    number: float, volume: float, matter: float, dry: float, rank: int, scheme: Scheme
) -> tuple[float, float]:
    """Section 15: fractions of mass and of number that stay in mode ``rank`` (0 NS .. 2 AS).

    ``volume`` [cm3 cm-3] and ``matter`` [g cm-3] are those of the whole dry mode.
    """
    mode = SOLUBLE[rank]
    limit = scheme.limit
    if number <= limit.merge_number or dry <= limit.merge_radius or volume <= 0.0:
        return 1.0, 1.0
    lower, upper = EDGES[rank], EDGES[rank + 1]
    factor = average_mass_factor(mode)
    middle_volume = sphere(math.sqrt(lower * upper) * factor, scheme)
    if volume / number <= middle_volume:
        return 1.0, 1.0
    z = math.log(upper / dry) / LN_SIGMA[mode]
    below = 0.5 * math.erfc(-z / math.sqrt(2.0))
    if not scheme.ham2:
        if below < EPSILON:
            below = 0.0
        stay = below * number * middle_volume
        moved_number = (1.0 - below) * number
        if moved_number <= EPSILON:
            return 1.0, 1.0
        moved_mean = (volume - stay) / moved_number
        edge = sphere(upper * factor, scheme)
        if moved_mean >= edge:
            return stay / volume, below
        moved_number /= 1.0 + (edge - moved_mean) / (moved_mean - middle_volume)
        return 1.0 - moved_number * edge / volume, 1.0 - moved_number / number
    if dry > 10.0 * upper:
        below = 0.0
    elif below <= EPSILON:
        below = 1.0
    moved_number = (1.0 - below) * number
    if moved_number <= 0.0:
        return 1.0, 1.0
    mean_density = matter / volume
    stay = below * number * middle_volume * mean_density
    edge = mean_density * sphere(upper, scheme)
    if (matter - stay) / moved_number < edge:
        return stay / matter, 1.0 - (matter - stay) / edge / number
    return stay / matter, below


def merging(
    mass: dict[str, float], number: dict[str, float], dry: dict[str, float], scheme: Scheme
) -> None:
    """Section 15: NS to KS, KS to AS, AS to CS, all from the values before; changes both."""
    moves: list[tuple[str, str, float]] = []
    number_moves: list[tuple[str, str, float]] = []
    for rank, (mode, target) in enumerate(pairwise(SOLUBLE)):
        content = {s: mass[f"{s}_{mode}"] * MICROGRAM_M3 for s in SPECIES_OF[mode]}
        content["so4"] = mass[f"so4_{mode}"] * molecule(scheme)
        volume = sum(m / DENSITY[s] for s, m in content.items())
        matter = sum(content.values())
        keep_mass, keep_number = kept_fractions(
            number[mode], volume, matter, dry[mode], rank, scheme
        )
        if keep_mass == keep_number == 1.0:
            continue
        number_moves.append((mode, target, (1.0 - keep_number) * number[mode]))
        for s in SPECIES_OF[mode]:
            name = f"{s}_{mode}"
            moves.append((name, f"{s}_{target}", (1.0 - keep_mass) * mass[name]))
    for source, target, amount in moves:
        mass[source] -= amount
        mass[target] += amount
    for source, target, amount in number_moves:
        number[source] -= amount
        number[target] += amount


# --- Section 6: one step ----------------------------------------------------------------------


def step(
    cell: dict[str, float],
    timestep: float,
    profile: str = "ham2",
    water: str = "zsr",
    organic: str = "none",
) -> dict[str, float]:
    """Section 6: one M7 step of one cell.

    ``cell``: pressure, temperature, relative_humidity, cloud_fraction, h2so4_production,
    forest_fraction, boundary_layer (0 or 1), h2so4, the 18 masses and the 7 numbers ``num_<mode>``;
    missing keys are 0 and negative values are taken as 0. ``water``: "zsr" or "kappa" (8.4, B
    only). ``organic``: "none", "activation" or "kinetic" (10.3, B only). Profile A adds
    production times timestep to the gas first.
    """
    if profile not in SCHEMES:
        raise ValueError(f"profile {profile!r} is none of {', '.join(SCHEMES)}")
    if water not in ("zsr", "kappa") or organic not in ("none", "activation", "kinetic"):
        raise ValueError(f"water {water!r} or organic {organic!r} is not known")
    scheme = SCHEMES[profile]
    if not scheme.ham2 and (water != "zsr" or organic != "none"):
        raise ValueError("profile m7_2004 has water 'zsr' and organic 'none' only")
    limit = THRESHOLDS[THRESHOLDS_OF[profile]]
    chosen = replace(scheme, limit=limit, water=water, organic=organic)
    return step_with(cell, timestep, chosen)


def step_with(cell: dict[str, float], timestep: float, scheme: Scheme) -> dict[str, float]:
    """Section 6 with every choice given by ``scheme``."""

    def get(name: str) -> float:
        return max(cell.get(name, 0.0), 0.0)

    air = Air(
        pressure=get("pressure"),
        temperature=get("temperature"),
        humidity=get("relative_humidity"),
        cloud=min(get("cloud_fraction"), 1.0),
        production=get("h2so4_production"),
        forest=get("forest_fraction"),
        in_boundary_layer=get("boundary_layer") > 0.5,
    )
    mass = {name: get(name) for name in MASSES}
    number = {mode: get(f"num_{mode}") for mode in MODES}
    gas = get("h2so4")
    if not scheme.ham2:
        gas += air.production * timestep

    found = properties(mass, number, Properties(), air, scheme)
    gas, sink, condensed = condensation(gas, mass, number, found.wet, air, timestep, scheme)
    kernel = kernels(number, found.wet, found.density, air, scheme)
    gas, new, new_sulfate = nucleation(gas, sink, air, timestep, scheme)
    coagulation(mass, number, kernel, found, new, new_sulfate, condensed, timestep, scheme)
    found = properties(mass, number, found, air, scheme)
    merging(mass, number, found.dry, scheme)
    found = properties(mass, number, found, air, scheme)

    return {
        "h2so4": gas,
        **mass,
        **{f"num_{k}": number[k] for k in MODES},
        **{f"wet_radius_{k}": found.wet[k] for k in MODES},
        **{f"dry_radius_{k}": found.dry[k] for k in SOLUBLE},
        **{f"density_{k}": found.density[k] for k in MODES},
        **{f"water_{k}": found.water[k] for k in SOLUBLE},
    }
