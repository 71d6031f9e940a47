"""Kinds of air: what `pyemu.states` samples from. Orders of magnitude, not a climatology.

Ranges lie within section 17 of the physics contract; `sparse` are its stress states.
"""

from collections.abc import Mapping
from dataclasses import dataclass

Range = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Population:
    """One mode: number [cm-3] and dry count median radius [um], log-uniform; Dirichlet weights.

    The mode is there in the share `presence` of cells, else exactly 0.
    """

    number: Range
    radius: Range
    presence: float
    mixture: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Regime:
    """Pressure [hPa], temperature [K], humidity [1], gas [cm-3], production [cm-3 s-1], modes.

    Gas and production are log-uniform and exactly 0 in the share `quiet` of cells each. In the
    share `cloudy` there are clouds, in the share `missing` a species is absent from a mode, in the
    share `boundary_layer` the cell lies in the boundary layer over some forest.
    """

    pressure: Range
    temperature: Range
    humidity: Range
    gas: Range
    production: Range
    modes: Mapping[str, Population]
    cloudy: float = 0.2
    quiet: float = 0.1
    missing: float = 0.05
    boundary_layer: float = 0.0


def _mode(number: Range, radius: Range, presence: float = 1.0, **mixture: float) -> Population:
    return Population(number=number, radius=radius, presence=presence, mixture=mixture)


_ANY = {"so4": 1.0, "bc": 0.5, "oc": 1.0, "ss": 0.5, "du": 0.5}
_ANY_KS = {"so4": 1.0, "bc": 0.5, "oc": 1.0}

REGIMES: Mapping[str, Regime] = {
    "marine_boundary_layer": Regime(
        pressure=(900.0, 1030.0),
        temperature=(272.0, 302.0),
        humidity=(0.6, 1.0),
        gas=(1e5, 1e7),
        production=(1e2, 1e4),
        cloudy=0.5,
        boundary_layer=1.0,
        modes={
            "ns": _mode((1e-1, 3e2), (7e-4, 4e-3), 0.5, so4=1.0),
            "ks": _mode((3e1, 8e2), (8e-3, 3e-2), so4=3.0, oc=0.5, bc=0.1),
            "as": _mode((1e1, 3e2), (4e-2, 1.4e-1), so4=2.0, ss=2.0, oc=0.5, bc=0.1),
            "cs": _mode((1e-1, 5.0), (3e-1, 1.2), ss=4.0, so4=0.3),
            "ki": _mode((1e-1, 5e1), (1e-2, 5e-2), 0.3, bc=1.0, oc=1.0),
        },
    ),
    "continental_clean": Regime(
        pressure=(850.0, 1030.0),
        temperature=(255.0, 303.0),
        humidity=(0.35, 0.98),
        gas=(1e5, 1e7),
        production=(1e2, 2e4),
        boundary_layer=0.9,
        modes={
            "ns": _mode((1.0, 3e4), (6e-4, 4e-3), 0.8, so4=1.0),
            "ks": _mode((2e1, 3e3), (8e-3, 3e-2), so4=2.0, bc=0.1, oc=1.0),
            "as": _mode((1e1, 5e2), (4e-2, 1.4e-1), so4=2.0, bc=0.1, oc=1.5, du=0.1, ss=0.1),
            "cs": _mode((1e-3, 5e-1), (3e-1, 1.0), so4=1.0, du=1.0, oc=0.5, ss=0.3),
            "ki": _mode((1.0, 5e2), (1e-2, 6e-2), 0.9, bc=1.0, oc=3.0),
            "ai": _mode((1e-4, 3e-1), (1e-1, 4e-1), 0.5, du=1.0),
            "ci": _mode((1e-5, 5e-2), (4e-1, 1.5), 0.5, du=1.0),
        },
    ),
    "continental_polluted": Regime(
        pressure=(850.0, 1030.0),
        temperature=(260.0, 312.0),
        humidity=(0.2, 0.95),
        gas=(1e6, 3e7),
        production=(1e3, 3e5),
        boundary_layer=0.9,
        modes={
            "ns": _mode((1e1, 1e5), (7e-4, 4e-3), 0.8, so4=1.0),
            "ks": _mode((1e3, 3e4), (8e-3, 4e-2), so4=2.0, bc=0.5, oc=1.0),
            "as": _mode((3e2, 6e3), (4e-2, 1.6e-1), so4=3.0, bc=0.5, oc=2.0, du=0.2, ss=0.1),
            "cs": _mode((1e-2, 2.0), (3e-1, 1.0), so4=1.0, du=1.0, oc=0.3, bc=0.1, ss=0.2),
            "ki": _mode((1e2, 2e4), (1e-2, 6e-2), bc=1.0, oc=1.5),
            "ai": _mode((1e-3, 3.0), (1e-1, 4e-1), 0.5, du=1.0),
            "ci": _mode((1e-4, 5e-1), (4e-1, 1.5), 0.5, du=1.0),
        },
    ),
    "biomass_smoke": Regime(
        pressure=(600.0, 1020.0),
        temperature=(270.0, 315.0),
        humidity=(0.1, 0.9),
        gas=(1e5, 1e7),
        production=(1e2, 5e4),
        boundary_layer=0.7,
        modes={
            "ns": _mode((1e-1, 1e3), (7e-4, 4e-3), 0.4, so4=1.0),
            "ks": _mode((3e2, 2e4), (1e-2, 4e-2), so4=0.5, bc=0.5, oc=3.0),
            "as": _mode((5e2, 1e4), (5e-2, 1.6e-1), so4=0.5, bc=0.5, oc=4.0),
            "cs": _mode((1e-3, 1.0), (3e-1, 8e-1), 0.7, so4=0.5, oc=2.0, bc=0.2, du=0.5),
            "ki": _mode((5e2, 5e4), (1.5e-2, 6e-2), bc=0.7, oc=4.0),
        },
    ),
    "dust_plume": Regime(
        pressure=(500.0, 1020.0),
        temperature=(265.0, 318.0),
        humidity=(0.02, 0.7),
        gas=(1e4, 5e6),
        production=(1e1, 1e4),
        boundary_layer=0.5,
        modes={
            "ns": _mode((1e-2, 1e2), (7e-4, 4e-3), 0.3, so4=1.0),
            "ks": _mode((1e1, 2e3), (8e-3, 3e-2), so4=2.0, bc=0.3, oc=0.5),
            "as": _mode((1e1, 1e3), (4e-2, 2e-1), so4=1.0, du=2.0, bc=0.1, oc=0.3),
            "cs": _mode((1e-2, 2e1), (3e-1, 2.0), du=4.0, so4=0.2, ss=0.1),
            "ki": _mode((1e-1, 3e2), (1e-2, 5e-2), 0.5, bc=1.0, oc=1.0),
            "ai": _mode((1.0, 1e2), (1e-1, 5e-1), du=1.0),
            "ci": _mode((3e-1, 2e1), (4e-1, 2.0), du=1.0),
        },
    ),
    "sea_salt_plume": Regime(
        pressure=(950.0, 1030.0),
        temperature=(270.0, 303.0),
        humidity=(0.35, 1.0),
        gas=(1e4, 3e6),
        production=(1e1, 5e3),
        cloudy=0.5,
        boundary_layer=1.0,
        modes={
            "ks": _mode((1e1, 3e2), (8e-3, 3e-2), 0.8, so4=2.0, oc=0.5),
            "as": _mode((1e1, 5e2), (6e-2, 1.6e-1), ss=5.0, so4=0.5),
            "cs": _mode((1.0, 3e1), (4e-1, 1.2), ss=9.0, so4=0.2),
        },
    ),
    "free_troposphere": Regime(
        pressure=(300.0, 800.0),
        temperature=(220.0, 280.0),
        humidity=(0.05, 0.9),
        gas=(1e4, 1e7),
        production=(1e1, 1e4),
        modes={
            "ns": _mode((1e-1, 1e4), (5e-4, 4e-3), 0.7, so4=1.0),
            "ks": _mode((1e1, 3e3), (6e-3, 3e-2), so4=3.0, bc=0.2, oc=0.4),
            "as": _mode((1.0, 5e2), (3e-2, 1.5e-1), so4=3.0, bc=0.2, oc=0.7, du=0.2, ss=0.1),
            "cs": _mode((1e-5, 1e-1), (3e-1, 1.5), 0.8, so4=0.5, du=1.0, ss=0.5),
            "ki": _mode((1e-3, 1e2), (1e-2, 5e-2), 0.7, bc=1.0, oc=1.0),
            "ai": _mode((1e-5, 1e-1), (5e-2, 4e-1), 0.5, du=1.0),
            "ci": _mode((1e-6, 1e-2), (4e-1, 1.5), 0.5, du=1.0),
        },
    ),
    "nucleating_upper_troposphere": Regime(
        pressure=(150.0, 350.0),
        temperature=(195.0, 240.0),
        humidity=(0.2, 1.0),
        gas=(1e5, 1e8),
        production=(1e1, 1e4),
        modes={
            "ns": _mode((1e2, 1e6), (4e-4, 3e-3), so4=1.0),
            "ks": _mode((1e1, 2e4), (5e-3, 2e-2), so4=5.0, oc=0.2, bc=0.1),
            "as": _mode((1e-1, 1e2), (3e-2, 1.2e-1), so4=3.0, oc=0.4, bc=0.1),
            "cs": _mode((1e-6, 1e-2), (3e-1, 1.0), 0.5, so4=1.0, du=0.5),
            "ki": _mode((1e-3, 1e1), (1e-2, 4e-2), 0.4, bc=1.0, oc=0.5),
        },
    ),
    "clean_stratosphere": Regime(
        pressure=(10.0, 120.0),
        temperature=(185.0, 235.0),
        humidity=(0.0, 0.05),
        gas=(1e2, 1e6),
        production=(1e-2, 1e2),
        cloudy=0.0,
        modes={
            "ns": _mode((1e-3, 1e2), (5e-4, 3e-3), 0.6, so4=1.0),
            "ks": _mode((1e-1, 1e2), (6e-3, 3e-2), so4=1.0),
            "as": _mode((1e-1, 2e1), (4e-2, 1.6e-1), so4=1.0),
            "cs": _mode((1e-6, 1e-3), (3e-1, 6e-1), 0.5, so4=1.0),
        },
    ),
    "volcanic": Regime(
        pressure=(10.0, 400.0),
        temperature=(195.0, 255.0),
        humidity=(0.0, 0.6),
        gas=(1e6, 1e9),
        production=(1e3, 1e6),
        modes={
            "ns": _mode((1.0, 1e6), (4e-4, 4e-3), 0.8, so4=1.0),
            "ks": _mode((1e1, 5e4), (6e-3, 4e-2), so4=1.0),
            "as": _mode((1.0, 1e4), (4e-2, 2e-1), so4=1.0),
            "cs": _mode((1e-4, 5e1), (3e-1, 1.5), so4=2.0, du=0.5),
            "ai": _mode((1e-3, 1e2), (5e-2, 4e-1), 0.5, du=1.0),
            "ci": _mode((1e-4, 1e1), (4e-1, 2.0), 0.5, du=1.0),
        },
    ),
    "sparse": Regime(
        pressure=(10.0, 1030.0),
        temperature=(185.0, 320.0),
        humidity=(0.0, 1.0),
        gas=(1.0, 1e10),
        production=(1e-2, 1e6),
        cloudy=0.3,
        quiet=0.2,
        missing=0.25,
        boundary_layer=0.5,
        modes={
            "ns": _mode((1e-7, 1e6), (3e-4, 5e-3), 0.65, so4=1.0),
            "ks": _mode((1e-7, 5e4), (4e-3, 5e-2), 0.65, **_ANY_KS),
            "as": _mode((1e-7, 1e4), (3e-2, 5e-1), 0.65, **_ANY),
            "cs": _mode((1e-7, 5e1), (3e-1, 2.0), 0.65, **_ANY),
            "ki": _mode((1e-7, 5e4), (1e-2, 6e-2), 0.65, bc=1.0, oc=1.0),
            "ai": _mode((1e-7, 1e2), (5e-2, 5e-1), 0.65, du=1.0),
            "ci": _mode((1e-7, 2e1), (4e-1, 2.0), 0.65, du=1.0),
        },
    ),
    "all_modes": Regime(
        pressure=(100.0, 1030.0),
        temperature=(210.0, 310.0),
        humidity=(0.05, 0.99),
        gas=(1e4, 3e7),
        production=(1e2, 1e5),
        cloudy=0.3,
        quiet=0.0,
        missing=0.0,
        boundary_layer=0.5,
        modes={
            "ns": _mode((1.0, 1e5), (5e-4, 4e-3), so4=1.0),
            "ks": _mode((1e1, 2e4), (6e-3, 4e-2), **_ANY_KS),
            "as": _mode((1.0, 5e3), (3e-2, 1.6e-1), **_ANY),
            "cs": _mode((1e-3, 1e1), (3e-1, 2.0), **_ANY),
            "ki": _mode((1e-1, 1e4), (1e-2, 6e-2), bc=1.0, oc=1.0),
            "ai": _mode((1e-3, 5e1), (5e-2, 5e-1), du=1.0),
            "ci": _mode((1e-4, 1e1), (4e-1, 2.0), du=1.0),
        },
    ),
}

SPACE_FILLING = Regime(
    pressure=(10.0, 1050.0),
    temperature=(180.0, 320.0),
    humidity=(0.0, 1.0),
    gas=(1e2, 1e9),
    production=(1e-1, 1e6),
    cloudy=0.25,
    missing=0.1,
    boundary_layer=0.5,
    modes={
        "ns": _mode((1e-6, 1e6), (3e-4, 5e-3), 0.85, so4=1.0),
        "ks": _mode((1e-6, 5e4), (4e-3, 5e-2), 0.85, **_ANY_KS),
        "as": _mode((1e-6, 1e4), (3e-2, 5e-1), 0.85, **_ANY),
        "cs": _mode((1e-6, 5e1), (3e-1, 2.0), 0.85, **_ANY),
        "ki": _mode((1e-6, 5e4), (1e-2, 6e-2), 0.85, bc=1.0, oc=1.0),
        "ai": _mode((1e-6, 1e2), (5e-2, 5e-1), 0.85, du=1.0),
        "ci": _mode((1e-6, 2e1), (4e-1, 2.0), 0.85, du=1.0),
    },
)
"""All of section 17, for Sobol points: each mode absent in 15 % of the cells."""
