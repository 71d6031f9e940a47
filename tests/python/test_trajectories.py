"""Other climates, other drivers, the host: what is sampled beside plain records."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from numpy.typing import NDArray

from pyemu import reference, sampling, states
from pyemu.evaluate import shifted
from pyemu.hosttrajectories import MONTHS, HostRun
from pyemu.records import HOST, KINDS, SPUN_UP, load, open_records
from pyemu.sampling import Sample, sample
from pyemu.scenarios import FORCINGS
from pyemu.steps import native, teacher
from pyemu.trajectories import Boxes, trajectories
from pyemu.variables import ENVIRONMENT, PROGNOSTICS, names

Array = NDArray[np.float64]
FIRST = Path(sampling.__file__).with_name("models") / "first.safetensors"


def columns(plan: Sample, number: int = 0) -> dict[str, Array]:
    """A part in the order in which it was made: by trajectory, time of day and so on."""
    return dict(zip(plan.columns, sampling.part(plan, number).T, strict=True))


def visited(drive: Any, forcing: str = "present") -> dict[str, Array]:
    generator = np.random.default_rng(7)
    boxes = Boxes(("dust_plume", "volcanic"), 4, 900.0, generator, FORCINGS[forcing])
    return trajectories(boxes, 8, 1.0, generator, drive)


def test_emulator_leads_elsewhere_in_the_same_weather() -> None:
    plain, led = visited(teacher(reference.Config())), visited(native(FIRST))
    for name in names(ENVIRONMENT):
        assert np.array_equal(plain[name], led[name])
    assert not np.array_equal(plain["num_ns"], led["num_ns"])
    there = plain["num_ns"] > 1.0
    assert np.allclose(led["num_ns"][there], plain["num_ns"][there], rtol=0.2)


def test_drivers_lead_elsewhere() -> None:
    by = {n: visited(teacher(reference.Config(), n)) for n in (1, 8)}
    assert not np.array_equal(by[1]["so4_ns"], by[8]["so4_ns"])
    plans = [Sample(count=320, kinds=("volcanic",), substeps=8, drive=d) for d in (None, 8, 1)]
    told, same, other = (sampling.part(plan, 0) for plan in plans)
    assert np.array_equal(told, same)
    assert not np.array_equal(told, other)


def test_dagger_records_are_steps_of_m7_at_other_states() -> None:
    plan = Sample(count=320, kinds=("volcanic",), emulator=FIRST)
    found = columns(plan)
    state = {name: found[name] for name in names(ENVIRONMENT + PROGNOSTICS)}
    after = reference.step(state, 900.0)
    assert np.array_equal(after["num_ns"], found["num_ns_after"])
    plain = columns(Sample(count=320, kinds=("volcanic",)))
    assert not set(found["pressure"]) & set(plain["pressure"])  # others, so that none is held twice


def killed(steps: Sequence[int]) -> Iterator[int]:
    """Two parts, then the end; that of a real signal is tried in test_records."""
    yield from steps[:2]
    raise KeyboardInterrupt


def test_dagger_resumes_to_the_same_bits(tmp_path: Path) -> None:
    plan = Sample(count=2000, kinds=("sea_salt_plume",), emulator=FIRST)
    whole, path = tmp_path / "whole.nc", tmp_path / "killed.nc"
    sample(plan, whole)
    with pytest.raises(KeyboardInterrupt):
        sample(plan, path, watch=killed)
    assert len(list((tmp_path / ".killed.nc.parts").glob("part_*.npy"))) == 2
    with pytest.raises(ValueError, match="holds parts of another run"):
        sample(replace(plan, emulator=FIRST.with_stem("accurate")), path)
    sample(plan, path)
    assert path.read_bytes() == whole.read_bytes()
    assert open_records(path).attrs.keys() == open_records(whole).attrs.keys()


def test_climates_differ_as_they_say() -> None:
    config = reference.Config()
    air = {name: visited(teacher(config), name) for name in FORCINGS}
    now = air["present"]
    assert np.allclose(air["plus_4k"]["temperature"], now["temperature"] + 4.0, atol=1e-9)
    assert np.array_equal(air["plus_4k"]["relative_humidity"], now["relative_humidity"])
    dusty = air["double_dust"]
    total = {n: sum(a[f"du_{m}"] for m in ("as", "cs", "ai", "ci")) for n, a in air.items()}
    assert np.allclose(total["double_dust"], 2.0 * total["present"], rtol=0.1)
    there = now["num_ci"] > 0.1
    assert np.allclose(dusty["num_ci"][there] / now["num_ci"][there], 2.0, rtol=0.1)
    day = now["h2so4_production"] > 0.0
    plume = air["volcanic_plume"]["h2so4_production"]
    assert (plume[day] > now["h2so4_production"][day]).all()
    assert plume.max() > 1e6
    past = air["preindustrial"]
    assert np.allclose(past["h2so4_production"], 0.1 * now["h2so4_production"])
    assert past["so4_as"].sum() < 0.6 * now["so4_as"].sum()


def test_climate_is_sampled_for_evaluation() -> None:
    cells = shifted("plus_4k", (reference.Config(), 1), np.array([450.0, 1800.0]), 640, threads=1)
    assert len(cells) == 640
    assert set(cells.timestep) == {450.0, 1800.0}


def test_spun_up_states_are_cloud_free_with_production() -> None:
    plan = Sample(count=500, kinds=(SPUN_UP,), substeps=16, timesteps=(450.0, 900.0, 1800.0))
    assert plan.parts == 3
    found = columns(plan, 2)
    assert not found["cloud_fraction"].any()
    assert (found["h2so4_production"] > 0.0).all()
    assert (found["timestep"] == 1800.0).all()
    assert (found["regime"] == KINDS.index(SPUN_UP)).all()
    state = {name: found[name] for name in names(ENVIRONMENT + PROGNOSTICS)}
    many = reference.step(state, 1800.0, substeps=16)
    assert np.array_equal(many["num_ns"], found["num_ns_after"])
    assert len(states.spun_up(12)["num_ns"]) == 12


def hosted(part: sampling.Part, **options: Any) -> Sample:
    few = {"count": 400, "days": 0.25, "timesteps": (1800.0,), "grid": (8, 6, 7)}
    return Sample(**{**few, "kinds": (HOST,), "part": part, **options})


def test_host_gives_states_and_m7_steps_them(tmp_path: Path) -> None:
    path = tmp_path / "host.nc"
    sample(hosted("validation", substeps=4), path, threads=1)
    cells = load(open_records(path))
    assert len(cells) == 400
    assert cells.regime is not None
    assert (cells.regime == KINDS.index(HOST)).all()
    state = dict(zip(names(ENVIRONMENT), cells.environment.T, strict=True))
    state |= dict(zip(names(PROGNOSTICS), cells.before.T, strict=True))
    after = reference.step(state, 1800.0, substeps=4)
    assert np.array_equal(after["num_ks"], cells.after[:, names(PROGNOSTICS).index("num_ks")])
    assert len(np.unique(open_records(path)["trajectory"])) == len(MONTHS["validation"])


def test_host_is_led_by_an_emulator_too() -> None:
    plain, led = (columns(hosted("test", **o)) for o in ({}, {"emulator": FIRST}))
    assert len(plain["num_ns"]) == len(led["num_ns"]) == 200
    assert not np.array_equal(np.sort(plain["num_ns"]), np.sort(led["num_ns"]))


def test_parts_share_no_trajectory() -> None:
    months = [set(MONTHS[part]) for part in ("train", "validation", "test")]
    assert sum(map(len, months)) == len(set.union(*months)) == 12
    boxes = [
        set(columns(Sample(count=320, kinds=("volcanic",), part=part))["pressure"])
        for part in get_args(sampling.Part)
    ]
    assert sum(map(len, boxes)) == len(set.union(*boxes))
    with pytest.raises(ValueError, match="within a month"):
        HostRun(month=1, days=31.0, timestep=1800.0, physics={})


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"kinds": ("host", "boxes")}, "kind host stands alone"),
        ({"forcing": "plus_5k"}, "did you mean 'plus_4k'"),
        ({"forcing": "plus_4k"}, "is for kinds with a scenario"),
        ({"kinds": ("space_filling",), "emulator": FIRST}, "an emulator moves boxes or the host"),
        ({"drive": 8, "emulator": FIRST}, "not by both"),
        ({"emulator": Path("none.safetensors")}, "none.safetensors: there is no such model file"),
        ({"days": 0.0}, "days = 0.0; allowed is"),
    ],
)
def test_refusals(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        Sample(**{"count": 10, **wrong})
