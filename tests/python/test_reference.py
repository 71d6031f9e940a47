"""The reference against real M7, against misuse, and against itself in other order."""

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import OUTPUTS, at, different

from pyemu import states
from pyemu.reference import Config, Profile, step
from pyemu.variables import MASSES, MODES, NUMBERS, PROGNOSTICS, SOLUBLE, SPLIT, names

GOLDEN = json.loads((Path(__file__).parents[1] / "golden/m7_golden.json").read_text())
CASES = [pytest.param(case, id=case["name"]) for case in GOLDEN["cases"]]
PROFILES: tuple[Profile, ...] = ("ham2", "m7_2004")
AIR = {"pressure": 9e4, "temperature": 280.0, "relative_humidity": 0.6}


def golden_state(case: dict[str, Any]) -> dict[str, Any]:
    single = ("pressure", "temperature", "relative_humidity", "h2so4", "h2so4_production")
    return (
        {name: case[name] for name in single}
        | dict(zip(names(MASSES), case["mass"], strict=True))
        | dict(zip(names(NUMBERS), case["number"], strict=True))
    )


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("case", CASES)
def test_real_m7(case: dict[str, Any], profile: Profile) -> None:
    """Within 1e-9; residues of what was emptied may differ by 1e-12 of what there was."""
    state, real = golden_state(case), case["after"][profile]
    expected = {"h2so4": real["h2so4"]}
    expected |= dict(zip(names(MASSES), real["mass"], strict=True))
    expected |= dict(zip(names(NUMBERS), real["number"], strict=True))
    for kind, modes in (("wet_radius", MODES), ("dry_radius", SOLUBLE), ("density", MODES)):
        expected |= {f"{kind}_{m.name}": x for m, x in zip(modes, real[kind], strict=True)}
    expected |= {f"water_{m.name}": x for m, x in zip(SOLUBLE, real["water"], strict=False)}
    after = step(state, case["timestep"], profile)
    assert set(expected) == set(OUTPUTS)
    for name, value in expected.items():
        residue = 1e-12 * state.get(name, 0.0)
        assert after[name][0] == pytest.approx(value, rel=1e-9, abs=residue), name


@pytest.fixture(scope="module")
def cells() -> dict[str, Any]:
    return states.sample(1003, 7)


@pytest.mark.parametrize("profile", PROFILES)
class TestIndependence:
    def test_second_call(self, cells: dict[str, Any], profile: Profile) -> None:
        assert not different(step(cells, 1800.0, profile), step(cells, 1800.0, profile))

    def test_order(self, cells: dict[str, Any], profile: Profile) -> None:
        order = np.random.default_rng(3).permutation(cells["pressure"].size)
        shuffled = step(at(cells, order), 1800.0, profile)
        assert not different(at(step(cells, 1800.0, profile), order), shuffled)

    @pytest.mark.parametrize("size", [1, 2, 15, 16, 17, 500])
    def test_subset(self, cells: dict[str, Any], profile: Profile, size: int) -> None:
        some = slice(31, 31 + size)
        whole = at(step(cells, 900.0, profile), some)
        assert not different(whole, step(at(cells, some), 900.0, profile))

    @pytest.mark.parametrize("threads", [0, 2, 5])
    def test_threads(self, cells: dict[str, Any], profile: Profile, threads: int) -> None:
        one, many = (step(cells, 1800.0, profile, split=True, threads=n) for n in (1, threads))
        assert not different(one, many, one)

    def test_python_threads(self, cells: dict[str, Any], profile: Profile) -> None:
        results: list[dict[str, Any]] = []
        workers = [
            threading.Thread(target=lambda: results.append(step(cells, 1800.0, profile)))
            for _ in range(4)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert not any(different(results[0], other) for other in results[1:])

    def test_split_does_not_change_the_step(self, cells: dict[str, Any], profile: Profile) -> None:
        plain, split = (step(cells, 1800.0, profile, split=on) for on in (False, True))
        assert not different(plain, split)
        assert set(names(SPLIT)) <= set(split)
        assert not set(names(SPLIT)) & set(plain)

    @pytest.mark.parametrize("count", [2, 3, 7])
    def test_substeps_are_chained_steps(
        self, cells: dict[str, Any], profile: Profile, count: int
    ) -> None:
        chained: dict[str, Any] = cells
        for _ in range(count):
            chained = cells | step(chained, 1800.0 / count, profile)
        assert not different(step(cells, 1800.0, profile, substeps=count), chained)


class TestConverged:
    def test_substeps_reported(self, cells: dict[str, Any]) -> None:
        after = step(cells, 1800.0, substeps="converged", tolerance=0.1)
        counts = after["substeps"]
        assert counts.dtype == np.int32
        assert set(np.abs(counts)) <= {2**k for k in range(1, 11)}
        cell = int(np.argmax(counts))
        alone = step(at(cells, [cell]), 1800.0, substeps=int(counts[cell]))
        assert not different(at(after, [cell]), alone)

    def test_tighter_tolerance_takes_more(self, cells: dict[str, Any]) -> None:
        config = Config(substeps_max=64)
        loose, tight = (
            np.abs(step(cells, 900.0, substeps="converged", tolerance=t, config=config)["substeps"])
            for t in (0.3, 0.03)
        )
        assert (tight >= loose).all()
        assert tight.sum() > loose.sum()

    def test_maximum_is_told_by_the_sign(self, cells: dict[str, Any]) -> None:
        config = Config(substeps_max=2)
        after = step(cells, 3600.0, substeps="converged", tolerance=1e-6, config=config)
        assert (after["substeps"] == -2).any()
        assert (np.abs(after["substeps"]) == 2).all()

    def test_empty_air_converges_at_once(self) -> None:
        assert step(AIR, 1800.0, substeps="converged")["substeps"] == 2


class TestInput:
    def test_is_left_unchanged(self, cells: dict[str, Any]) -> None:
        copies = {name: value.copy() for name, value in cells.items()}
        step(cells, 1800.0, split=True, threads=2)
        assert not different(cells, copies, copies)

    def test_scalars_integers_and_singles(self) -> None:
        given: dict[str, Any] = AIR | {"temperature": [280, 281, 282], "so4_ks": 10**8}
        given["num_ks"] = np.float32(500.0)
        plain = {
            name: np.broadcast_to(np.float64(1.0) * np.asarray(x), 3) for name, x in given.items()
        }
        assert not different(step(given, 900.0), step(plain, 900.0))
        assert step(AIR, 900.0)["num_ks"].shape == (1,)

    def test_no_cells(self) -> None:
        after = step(AIR | {"num_ks": []}, 900.0, split=True)
        assert all(value.shape == (0,) for value in after.values())

    def test_strides_do_not_matter(self, cells: dict[str, Any]) -> None:
        table = np.stack(list(cells.values()), axis=1)[::3]
        strided = dict(zip(cells, table.T, strict=True))
        third = at(step(cells, 900.0), slice(None, None, 3))
        assert not different(third, step(strided, 900.0))

    def test_result_can_be_fed_back(self, cells: dict[str, Any]) -> None:
        after = step(cells, 900.0, substeps="converged", split=True)
        environment = {name: x for name, x in cells.items() if name not in names(PROGNOSTICS)}
        again = step(environment | after, 900.0)
        fed = {name: after[name] for name in names(PROGNOSTICS)}
        assert not different(again, step(environment | fed, 900.0))

    def test_missing_counts_as_nothing(self) -> None:
        zeros = dict.fromkeys(names(PROGNOSTICS), 0.0) | {"cloud_fraction": 0.0}
        assert not different(step(AIR, 900.0), step(AIR | zeros, 900.0))

    def test_negatives_count_as_nothing(self) -> None:
        state = AIR | {"num_ks": [1e3, 1e3], "so4_ks": [1e8, 1e8]}
        below = state | {"h2so4": [-1.0, 0.0], "bc_ks": [-1e-9, 0.0], "num_ci": [-2.0, -1e-30]}
        after = step(below, 1800.0)
        assert after["negatives"].dtype == np.int32
        assert after["negatives"].tolist() == [3, 1]
        assert not different(after, step(state, 1800.0))
        assert step(state, 1800.0)["negatives"].tolist() == [0, 0]

    def test_round_off_of_humidity_is_clipped(self) -> None:
        for given, taken in ((-9e-7, 0.0), (1.0 + 9e-7, 1.0)):
            near, exact = (
                step(AIR | {"relative_humidity": x, "num_as": 100.0, "ss_as": 1.0}, 1800.0)
                for x in (given, taken)
            )
            assert not different(near, exact)

    def test_negative_production_takes_no_more_than_there_is(self) -> None:
        after = step(AIR | {"h2so4": 1e6, "h2so4_production": -1e6, "num_as": 100.0}, 1800.0)
        assert 0.0 <= after["h2so4"][0] < 1e-9


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"temperature": [280.0, np.nan]}, r"temperature\[1\] = nan; allowed is \(0, 1e\+30\] K"),
        ({"so4_as": [np.inf, 0.0]}, r"so4_as\[0\] = inf; allowed is \[0, 1e\+30\] cm-3"),
        ({"num_ns": -np.inf}, r"num_ns = -inf; allowed is \[0, 1e\+30\] cm-3"),
        (
            {"h2so4_production": np.nan},
            r"h2so4_production = nan; allowed is \[-1e\+30, 1e\+30\] cm-3 s-1",
        ),
        (
            {"num_as": [1.0, 9.96921e36]},
            r"num_as\[1\] = 9.96921e\+36; allowed is \[0, 1e\+30\] cm-3",
        ),
        ({"temperature": 1e-310}, r"M7 refuses its temperature"),
        ({"temperature": 0.0}, r"temperature\[0\] = 0; allowed is \(0, 1e\+30\] K"),
        ({"temperature": [280.0, -3.0]}, r"temperature\[1\] = -3; allowed is \(0, 1e\+30\] K"),
        ({"pressure": 0.0}, r"pressure\[0\] = 0; allowed is \(0, 1e\+30\] Pa"),
        (
            {"relative_humidity": [0.5, 1.01]},
            r"relative_humidity\[1\] = 1.01; allowed is \[0, 1\] 1",
        ),
        ({"relative_humidity": -0.01}, r"relative_humidity\[0\] = -0.01; allowed is \[0, 1\] 1"),
        ({"cloud_fraction": 50.0}, r"cloud_fraction\[0\] = 50; allowed is \[0, 1\] 1"),
        ({"forest_fraction": -0.1}, r"forest_fraction\[0\] = -0.1; allowed is \[0, 1\] 1"),
        ({"boundary_layer": 2}, r"boundary_layer\[0\] = 2; allowed is \[0, 1\] 1"),
        ({"ion_pair_production": -1.0}, r"ion_pair_production\[0\] = -1; allowed is \[0, 1e\+30\]"),
        ({"num_k": 1.0}, r"unknown name 'num_k'; did you mean 'num_k[si]'\?"),
        ({"so4_ki": 1.0}, r"unknown name 'so4_ki'; did you mean"),
        ({"num_ks": [1.0, 2.0], "num_as": [1.0]}, r"num_as has shape \(1,\), but num_ks has shape"),
        ({"num_ks": [[1.0, 2.0]]}, r"num_ks has shape \(1, 2\); allowed is a scalar or \(ncell,\)"),
        ({"num_ks": [[1.0], [1.0, 2.0]]}, r"num_ks is not an array"),
        ({"num_ks": "many"}, r"num_ks has type <U4; it needs real numbers"),
        ({"num_ks": 1j}, r"num_ks has type complex128; it needs real numbers"),
        ({"num_ks": None}, r"num_ks has type object; it needs real numbers"),
        ({"num_ks": np.ma.masked_less([1.0, 2.0], 1.5)}, r"num_ks has masked values"),
    ],
)
def test_bad_state(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        step(AIR | change, 1800.0)


@pytest.mark.parametrize("name", list(AIR))
def test_missing_environment(name: str) -> None:
    with pytest.raises(ValueError, match=f"missing from the state: {name}"):
        step({key: value for key, value in AIR.items() if key != name}, 1800.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"timestep": 0.0}, r"timestep = 0.0; allowed is \(0, inf\)"),
        ({"timestep": -1.0}, r"timestep = -1.0; allowed is \(0, inf\)"),
        ({"timestep": np.nan}, r"timestep = nan; allowed is \(0, inf\)"),
        ({"timestep": np.inf}, r"timestep = inf; allowed is \(0, inf\)"),
        ({"substeps": 0}, r"substeps = 0; allowed is \[1, inf\)"),
        ({"substeps": 1.5}, r"substeps = 1.5; allowed is an integer from 1, or 'converged'"),
        ({"substeps": "convergd"}, r"substeps = 'convergd'; allowed is an integer from 1"),
        ({"tolerance": 0.0}, r"tolerance = 0.0; allowed is \(0, inf\)"),
        ({"threads": -1}, r"threads = -1; allowed is \[0, inf\)"),
        ({"profile": "ham3"}, r"profile = 'ham3'; allowed is 'ham2', 'm7_2004'"),
        ({"water": "koehler"}, r"water = 'koehler'; allowed is 'zsr', 'kappa'"),
        ({"nucleation": "binary"}, r"nucleation = 'binary'; allowed is"),
        ({"config": Config(), "profile": "m7_2004"}, r"profile='m7_2004' contradicts"),
        ({"config": Config(), "water": "kappa"}, r"water='kappa' contradicts the config's 'zsr'"),
        ({"config": Config(), "nucleation": "none"}, r"nucleation='none' contradicts"),
    ],
)
def test_bad_argument(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        step(AIR, **{"timestep": 1800.0, **arguments})


class TestConfig:
    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"profile": "M7"}, "profile = 'M7'; allowed is"),
            ({"organic_nucleation": "cluster"}, "organic_nucleation = 'cluster'; allowed is"),
            ({"thresholds": "echam"}, "thresholds = 'echam'; allowed is None, 'tm5'"),
            ({"limited_ageing": "yes"}, "limited_ageing = 'yes'; allowed is True, False"),
            ({"densities": {"BC": 1.8}}, "unknown name 'BC'"),
            ({"densities": {"bc": 0.0}}, r"densities\['bc'\] = 0.0; allowed is"),
            ({"kappas": {"ss": np.nan}}, r"kappas\['ss'\] = nan; allowed is"),
            ({"substeps_max": 0}, "substeps_max = 0; allowed is"),
            ({"nucleation": "kazil_lovejoy2007"}, "needs nucleation_table"),
        ],
    )
    def test_bad_setting(self, settings: dict[str, Any], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            Config(**settings)

    def test_every_setting_reaches_fortran(self) -> None:
        native = Config(
            profile="m7_2004",
            water="kappa",
            nucleation="none",
            organic_nucleation="kinetic",
            thresholds="messy",
            condensation=False,
            coagulation=False,
            densities={"oc": 1.3},
            kappas={"ss": 1.0},
            reset_seasalt_sums=False,
            small_insoluble_volume=False,
            limited_ageing=False,
            source_coagulation=True,
            clip_weight_percent=True,
            sulfate_free_radius=True,
            kappa_full_volume=True,
            substeps_max=32,
        ).build(5, 0.1)
        default = Config().build()
        assert (native.substeps, native.tolerance, native.substeps_max) == (5, 0.1, 32)
        assert native.profile != default.profile
        assert native.water != default.water
        assert native.nucleation != default.nucleation
        assert native.organic_nucleation != default.organic_nucleation
        assert native.number_min == 1e-7
        assert native.density.tolist() == [1.841, 2.0, 1.3, 2.165, 2.65]
        assert native.kappa.tolist() == [0.6, 0.0, 0.06, 1.0, 0.0]
        on_by_default = (
            "condensation",
            "coagulation",
            "reset_seasalt_sums",
            "small_insoluble_volume",
            "limited_ageing",
        )
        off_by_default = (
            "source_coagulation",
            "clip_weight_percent",
            "sulfate_free_radius",
            "kappa_full_volume",
        )
        for name in on_by_default:
            assert (bool(getattr(default, name)), bool(getattr(native, name))) == (True, False)
        for name in off_by_default:
            assert (bool(getattr(default, name)), bool(getattr(native, name))) == (False, True)

    def test_same_as_single_arguments(self, cells: dict[str, Any]) -> None:
        config = Config(profile="m7_2004", nucleation="none")
        one = step(cells, 1800.0, config=config, profile="m7_2004")
        assert not different(one, step(cells, 1800.0, "m7_2004", nucleation="none"))

    def test_may_be_compared_and_used_as_a_key(self) -> None:
        assert Config(densities={"bc": 1.8}) == Config(densities={"bc": 1.8}) != Config()
        assert len({Config(), Config(), Config(profile="m7_2004")}) == 2

    def test_missing_nucleation_table(self, tmp_path: Path) -> None:
        config = Config(nucleation="kazil_lovejoy2007", nucleation_table=tmp_path / "absent.txt")
        with pytest.raises(ValueError, match=r"nucleation table .*absent\.txt: "):
            step(AIR, 1800.0, config=config)

    def test_kazil_lovejoy_reads_a_table(self, tmp_path: Path) -> None:
        """A table of constant J nucleates J x 15 molecules, less what the sink takes."""
        axes = [[190.0, 320.0], [0.0, 100.0], [1.0, 1e12], [0.0, 100.0], [0.0, 1.0]]
        lines = ["# temperature, humidity, gas, ions, sink; ln J", "2 2 2 2 2"]
        lines += [" ".join(map(str, axis)) for axis in axes]
        lines += [str(np.log(2.0))] * 2**5
        path = tmp_path / "table.txt"
        path.write_text("\n".join(lines) + "\n")
        config = Config(nucleation="kazil_lovejoy2007", nucleation_table=path)
        state = AIR | {"h2so4": 1e7, "ion_pair_production": 5.0}
        after = step(state, 900.0, config=config, split=True)
        assert after["nucleated_num"][0] == pytest.approx(2.0 * 900.0, rel=1e-12)
        assert after["nucleated_so4"][0] == pytest.approx(15.0 * 2.0 * 900.0, rel=1e-12)
