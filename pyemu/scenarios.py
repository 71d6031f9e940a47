"""What drives a box of each regime: primary sources and the daily cycle; and other climates."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pyemu.regimes import REGIMES
from pyemu.variables import unknown


@dataclass(frozen=True, kw_only=True)
class Source:
    """Primary particles of a mode: number [cm-3 h-1], dry median radius [um], volume fractions."""

    number: float
    radius: float
    mixture: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """Forcing of a box.

    `production` of H2SO4 at noon [cm-3 s-1], `warming` and `drying` the amplitudes of temperature
    [K] and relative humidity [1], `sources` and `lifetime` against dilution and deposition [d] by
    mode. `forest` is the forest fraction in the boundary layer, 0 above it [1].
    """

    production: float
    warming: float = 4.0
    drying: float = 0.15
    forest: float = 0.0
    sources: Mapping[str, Source] = field(default_factory=dict)
    lifetime: Mapping[str, float] = field(
        default_factory=lambda: {
            "ns": 1.0,
            "ks": 2.0,
            "as": 4.0,
            "cs": 0.8,
            "ki": 2.0,
            "ai": 4.0,
            "ci": 0.8,
        }
    )


def _source(number: float, radius: float, **mixture: float) -> Source:
    return Source(number=number, radius=radius, mixture=mixture)


_SALT = {"as": _source(1.0, 0.1, ss=1.0), "cs": _source(0.1, 0.6, ss=1.0)}

SCENARIOS: Mapping[str, Scenario] = {
    "marine_boundary_layer": Scenario(production=6e3, warming=1.0, drying=0.05, sources=_SALT),
    "continental_clean": Scenario(
        production=2e4,
        warming=6.0,
        drying=0.15,
        forest=0.6,
        sources={
            "ki": _source(5.0, 0.03, bc=0.2, oc=0.8),
            "as": _source(0.5, 0.075, so4=0.4, oc=0.6),
            "cs": _source(2e-4, 0.6, ss=1.0),
            "ci": _source(2e-4, 0.9, du=1.0),
        },
    ),
    "continental_polluted": Scenario(
        production=3e5,
        warming=5.0,
        drying=0.15,
        forest=0.1,
        sources={
            "ki": _source(300.0, 0.03, bc=0.4, oc=0.6),
            "ks": _source(50.0, 0.03, so4=1.0),
            "as": _source(10.0, 0.075, so4=0.3, oc=0.7),
            "ai": _source(0.02, 0.25, du=1.0),
            "ci": _source(2e-3, 0.9, du=1.0),
        },
    ),
    "biomass_smoke": Scenario(
        production=2e4,
        warming=5.0,
        sources={
            "ki": _source(500.0, 0.04, bc=0.1, oc=0.9),
            "as": _source(20.0, 0.075, oc=0.95, so4=0.05),
        },
    ),
    "dust_plume": Scenario(
        production=3e3,
        warming=8.0,
        drying=0.1,
        sources={"ai": _source(0.5, 0.25, du=1.0), "ci": _source(0.1, 0.9, du=1.0)},
    ),
    "sea_salt_plume": Scenario(
        production=3e3,
        warming=1.0,
        drying=0.1,
        sources={"as": _source(10.0, 0.1, ss=1.0), "cs": _source(1.0, 0.6, ss=1.0)},
    ),
    "free_troposphere": Scenario(production=3e3, warming=1.0, drying=0.1),
    "nucleating_upper_troposphere": Scenario(production=2e3, warming=1.0, drying=0.1),
    "clean_stratosphere": Scenario(production=10.0, warming=1.0, drying=0.0),
    "volcanic": Scenario(
        production=2e5, warming=1.0, drying=0.05, sources={"ai": _source(0.1, 0.2, du=1.0)}
    ),
}


def scenario(regime: str) -> Scenario:
    """Return the scenario of a regime; ValueError for a regime without one."""
    if regime not in SCENARIOS:
        hint = "; it has no scenario" if regime in REGIMES else ""
        raise ValueError(unknown(regime, SCENARIOS) + hint)
    return SCENARIOS[regime]


@dataclass(frozen=True, kw_only=True)
class Forcing:
    """How the air of another climate differs from ours, in the beginning and in what drives it.

    `warming` [K] at unchanged relative humidity, `production` a factor and `plume` an addition
    [cm-3 s-1] to the production of H2SO4 at noon, `modes` factors of number and all masses, and
    `species` of the masses in all other modes [1].
    """

    warming: float = 0.0
    production: float = 1.0
    plume: float = 0.0
    modes: Mapping[str, float] = field(default_factory=dict)
    species: Mapping[str, float] = field(default_factory=dict)

    def factor(self, mode: str | None, species: str | None = None) -> float:
        """Of the number of a mode, or of a species in it [1]."""
        if mode is not None and mode in self.modes:
            return self.modes[mode]
        return self.species.get(species, 1.0) if species else 1.0


PRESENT = "present"
FORCINGS: Mapping[str, Forcing] = {
    PRESENT: Forcing(),
    "plus_4k": Forcing(warming=4.0),
    # Emissions of 1850 over those of 2010 (CMIP6, orders of magnitude): SO2 0.1, BC 0.3, OC 0.6.
    "preindustrial": Forcing(
        production=0.1,
        modes={"ki": 0.4, "ks": 0.5},
        species={"so4": 0.3, "bc": 0.3, "oc": 0.6},
    ),
    # SO2 of 1 ppm at 50 hPa with 1e6 OH cm-3, as days after Pinatubo.
    "volcanic_plume": Forcing(plume=1.5e6),
    "double_dust": Forcing(modes={"ai": 2.0, "ci": 2.0}, species={"du": 2.0}),
}
"""Present air, and the out-of-distribution sets of emulator.md section 5."""
