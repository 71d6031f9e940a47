"""The table against the Fortran that it describes, and against the design."""

import pytest

from pyemu import variables as v
from pyemu._m7 import m7_python
from pyemu.reference import Config

MASSES_KIND, MODES_KIND, SPLIT_KIND = 1, 2, 3


@pytest.mark.parametrize(
    ("kind", "table"), [(MASSES_KIND, v.MASSES), (MODES_KIND, v.MODES), (SPLIT_KIND, v.SPLIT)]
)
def test_names_and_order_are_those_of_fortran(
    kind: int, table: tuple[v.Variable | v.Mode, ...]
) -> None:
    told = [m7_python.describe(kind, place + 1).strip() for place in range(len(table) + 1)]
    assert told == [*v.names(table), ""]


def test_densities_and_constants_are_those_of_fortran() -> None:
    native = Config().build()
    assert [s.density for s in v.SPECIES] == native.density.tolist()
    assert [s.kappa for s in v.SPECIES] == native.kappa.tolist()
    assert native.avogadro == v.AVOGADRO


def test_order_of_the_design() -> None:
    assert v.names(v.ENVIRONMENT) == (
        "pressure",
        "temperature",
        "relative_humidity",
        "cloud_fraction",
        "h2so4_production",
        "ion_pair_production",
        "forest_fraction",
        "boundary_layer",
    )
    assert v.names(v.PROGNOSTICS) == ("h2so4", *v.names(v.MASSES), *v.names(v.NUMBERS))
    assert v.names(v.NUMBERS) == tuple(f"num_{mode.name}" for mode in v.MODES)
    kinds = {"wet_radius": v.MODES, "dry_radius": v.SOLUBLE, "density": v.MODES, "water": v.SOLUBLE}
    expected = [f"{kind}_{mode.name}" for kind, modes in kinds.items() for mode in modes]
    assert list(v.names(v.DIAGNOSTICS)) == expected


def test_names_are_unique() -> None:
    everything = v.names(v.VARIABLES + v.SPLIT)
    assert len(set(everything)) == len(everything)


def test_every_mass_belongs_to_a_species_of_its_mode() -> None:
    for mode in v.MODES:
        assert tuple(mass.species for mass in v.masses_in(mode.name)) == mode.species
    for species in v.SPECIES:
        masses = v.masses_of(species.name)
        assert {mass.unit for mass in masses} == {species.unit}
        assert [mass.name for mass in masses] == [
            f"{species.name}_{mode.name}" for mode in v.MODES if species.name in mode.species
        ]


def test_index_and_lookup() -> None:
    assert v.index("num_ks", v.NUMBERS) == v.index("ks", v.MODES)
    assert v.lookup("du_ci").unit == "ug m-3"
    assert v.lookup("water_uptake_as").role == "split"
    assert v.lookup("relative_humidity").allowed == "[0, 1] 1"
    assert v.lookup("temperature").allowed == "(0, 1e+30] K"


def test_misspelt_name_gets_a_suggestion() -> None:
    with pytest.raises(
        ValueError, match=r"unknown name 'temprature'; did you mean 'temperature'\?"
    ):
        v.lookup("temprature")
    with pytest.raises(ValueError, match=r"unknown name 'xyzzy'$"):
        v.index("xyzzy", v.MASSES)
