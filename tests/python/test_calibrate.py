"""Calibration: what made records is found from them, whatever their attributes say."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
import xarray as xr

from pyemu import evaluate, modelfile, steps, train
from pyemu.blocks import chain, coagulation, condensation
from pyemu.blocks.chain import Chain
from pyemu.blocks.settings import Settings
from pyemu.calibrate import Calibration, calibrate, notes
from pyemu.candidates import SWITCHES, Teacher
from pyemu.evidence import Evidence
from pyemu.records import load, open_records
from pyemu.reference import Config
from pyemu.sampling import Sample, sample
from pyemu.trainconfig import TrainConfig
from pyemu.variables import DIAGNOSTICS, PROGNOSTICS, names

BIN = Path(sys.executable).parent
STATES, SEEN = names(PROGNOSTICS), names(DIAGNOSTICS)
LATE = tuple(f"{name}_after" for name in (*STATES, *SEEN))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> xr.Dataset:
    path = tmp_path_factory.mktemp("calibrate") / "base.nc"
    sample(Sample(count=3000, timesteps=(450.0, 1800.0)), path)
    return open_records(path).drop_attrs().load()


def made(base: xr.Dataset, teacher: Teacher, cells: Any = slice(0, 1500)) -> xr.Dataset:
    """Records of a teacher on cells of the base, without attributes."""
    records = base.isel(cell=cells).copy()
    seen = Evidence.read(records, records.sizes["cell"])
    after = seen.predict(teacher)
    return records.assign({f"{name}_after": ("cell", after[name]) for name in (*STATES, *SEEN)})


def alike(found: Calibration, teacher: Teacher, base: xr.Dataset) -> float:
    """Worst R2 of what was found against the teacher, on cells that calibration has not seen."""
    other = made(base, teacher, slice(2000, 3000))
    again = Evidence.read(other, 1000).predict(found.teacher)
    scores = []
    for name in STATES:
        truth = (other[f"{name}_after"] - other[name]).to_numpy()
        spread = ((truth - truth.mean()) ** 2).sum()
        if spread > 0.0:
            wrong = again[name] - other[f"{name}_after"].to_numpy()
            scores.append(1.0 - float((wrong**2).sum() / spread))
    return min(scores)


def single(records: xr.Dataset) -> xr.Dataset:
    return records.map(lambda v: v.astype("f4").astype("f8") if v.dtype == float else v)


PLAIN = {
    "densities": Config(densities={"bc": 1.8, "oc": 1.3}, thresholds="icon_ham"),
    "odd densities": Config(densities={"bc": 1.75, "oc": 1.432, "du": 2.5}, profile="m7_2004"),
    "messy": Config(profile="m7_2004", thresholds="messy", small_insoluble_volume=False),
    "no condensation": Config(condensation=False, sulfate_free_radius=True),
    "no coagulation": Config(coagulation=False, organic_nucleation="kinetic"),
    "no nucleation": Config(nucleation="none", clip_weight_percent=True),
    "kappa": Config(water="kappa", kappas={"ss": 1.0}, kappa_full_volume=True),
    "digits": Config(amounts={"pi": 3.141592654, "sqrt2": 1.4142136, "avogadro": 6.02217e23}),
    "threshold": Config(profile="m7_2004", amounts={"number_min": 1e-7}),
}


@pytest.mark.parametrize("name", PLAIN)
def test_settings_are_found_without_attributes(base: xr.Dataset, name: str) -> None:
    config = PLAIN[name]
    found = calibrate(made(base, Teacher(config=config)))
    settings, wanted = found.settings, Settings.from_reference(config)
    for key in ("profile", "water", "nucleation", "organic_nucleation", "condensation"):
        assert getattr(settings, key) == getattr(wanted, key), key
    for key in ("coagulation", "density", "kappa", "avogadro", "reset_seasalt_sums"):
        assert getattr(settings, key) == getattr(wanted, key), key
    for key in ("number_min", "clip_weight_percent", "sulfate_free_radius", "kappa_full_volume"):
        assert getattr(settings, key) == getattr(wanted, key), key
    assert found.substeps == 1
    assert found.wrong < 1e-4
    assert not found.missed
    assert alike(found, Teacher(config=config), base) > 1.0 - 1e-9


def test_kappa_water_from_a_table_is_told(base: xr.Dataset) -> None:
    """A table's growth factors are off by up to 2 % in water; sizes follow."""
    records = made(base, Teacher(config=Config(water="kappa")))
    draw = np.random.default_rng(3)
    for mode in ("ns", "ks", "as", "cs"):
        wrong = draw.uniform(-0.02, 0.02, records.sizes["cell"])
        records[f"water_{mode}_after"] = records[f"water_{mode}_after"] * (1.0 + wrong)
        radius = records[f"wet_radius_{mode}_after"]
        records[f"wet_radius_{mode}_after"] = radius * (1.0 + wrong / 5.0)
    found = calibrate(records)
    assert found.settings.water == "kappa"
    assert found.blocks["water"].reproduced is False
    assert train.to_learn(found) == ()
    assert any(note.startswith("water is kappa-Koehler's to") for note in notes(found))


@pytest.mark.parametrize("seed", range(3))
def test_settings_at_random_are_found_under_wrong_attributes(base: xr.Dataset, seed: int) -> None:
    draw = np.random.default_rng(seed)
    switches: dict[str, Any] = {
        name: values[int(draw.integers(len(values)))]
        for name, values in SWITCHES.items()
        if name not in ("water", "condensation", "coagulation")
    }
    densities = {name: round(float(draw.uniform(1.0, 2.5)), 2) for name in ("bc", "oc", "du")}
    teacher = Teacher(config=Config(densities=densities, **switches))
    other = "ham2" if teacher.config.profile == "m7_2004" else "m7_2004"
    records = made(base, teacher).assign_attrs(profile=other, water="kappa", nucleation="odd")
    found = calibrate(records)
    assert found.wrong < 1e-4
    assert alike(found, teacher, base) > 1.0 - 1e-9
    assert found.choices["profile"].contradicts
    assert any("attribute profile" in note for note in notes(found))


@pytest.mark.parametrize("count", [4, 7])
def test_substeps_are_found(base: xr.Dataset, count: int, tmp_path: Path) -> None:
    teacher = Teacher(config=Config(densities={"oc": 1.3}), substeps=count)
    records = made(base, teacher)
    found = calibrate(records)
    assert found.substeps == count
    assert found.settings.densities["oc"] == 1.3
    files = train.Files(model=tmp_path / "model.safetensors")
    with pytest.raises(
        ValueError, match=f"records of {count} sub-steps; a model has the single step"
    ):
        train.run(TrainConfig(), records, files, calibration=found)


def test_single_precision_and_few_cells(base: xr.Dataset) -> None:
    config = Config(profile="m7_2004", densities={"bc": 1.8, "oc": 1.35}, reset_seasalt_sums=False)
    for change, count in ((single, 2000), (lambda r: r, 400), (single, 400)):
        found = calibrate(change(made(base, Teacher(config=config), slice(0, count))))
        assert found.settings.densities["bc"] == 1.8
        assert found.settings.densities["oc"] == 1.35
        assert not found.settings.reset_seasalt_sums
        assert found.settings.older
        assert not found.missed
    assert 1e-8 < found.precision < 1e-6


def test_records_without_diagnostics_and_with_foreign_water_before(base: xr.Dataset) -> None:
    config = Config(densities={"bc": 1.7})
    records = made(base, Teacher(config=config))
    records["water_as"] = records["water_as"] * 3.0  # of another humidity
    assert calibrate(records).settings.densities["bc"] == 1.7
    found = calibrate(
        records.drop_vars(
            [n for n in records if str(n).split("_")[0] in ("water", "wet", "dry", "density")]
        )
    )
    assert found.settings.densities["bc"] == 1.7
    assert found.blocks["water"].reproduced is None
    assert found.blocks["coagulation"].reproduced


def test_production_that_is_in_the_gas_already(base: xr.Dataset, tmp_path: Path) -> None:
    config = Config(profile="m7_2004", production_in_gas=True)
    records = made(base, Teacher(config=config)).assign_attrs(profile="m7_2004")
    found = calibrate(records)
    assert found.settings.production_in_gas
    assert found.sulfur is not None
    assert max(map(abs, found.sulfur)) < 1e-3
    model = tmp_path / "model.safetensors"
    train.run(TrainConfig(), records, train.Files(model=model), calibration=found)
    cells = load(records)
    for step in (steps.native(model), steps.in_torch(modelfile.read(model))):
        assert evaluate.score(cells, steps.on_cells(step)(cells)).mean > 0.9999


def test_timestep_of_a_leap_frog(base: xr.Dataset) -> None:
    records = made(base, Teacher(config=Config(), timestep=2.0))
    records["h2so4_production"] = 0.0 * records["h2so4_production"]
    records = made(records, Teacher(config=Config(), timestep=2.0))
    found = calibrate(records)
    assert found.teacher.timestep == 2.0
    assert np.array_equal(found.corrected(records)["timestep"], 2.0 * records["timestep"])
    assert any("2 times the recorded timestep" in note for note in notes(found))


def test_noise_does_not_mislead(base: xr.Dataset) -> None:
    config = Config(profile="m7_2004", densities={"oc": 1.3}, nucleation="none")
    records = made(base, Teacher(config=config))
    draw = np.random.default_rng(1)
    for name in STATES:
        noise = 1.0 + 1e-3 * draw.standard_normal(records.sizes["cell"])
        records[f"{name}_after"] = records[f"{name}_after"] * noise
    found = calibrate(records)
    assert found.settings.older
    assert found.settings.nucleation == "none"
    assert found.settings.densities["oc"] == pytest.approx(1.3, rel=0.02)
    assert found.substeps == 1
    assert 1e-4 < found.precision < 1e-2
    assert not found.missed
    assert any("close to" in note for note in notes(found))


def foreign(records: xr.Dataset, name: str, other: Any) -> xr.Dataset:
    """Records of the chain of blocks with one of its functions replaced."""
    cells = load(records)
    given = (
        torch.from_numpy(np.ascontiguousarray(x))
        for x in (cells.environment, cells.before, cells.timestep)
    )
    with mock.patch.object(chain, name, other), torch.no_grad():
        out = Chain(Settings.from_reference(Config()))(*given)
    late = torch.cat([out.prognostic, out.diagnostic], dim=1).numpy()
    return records.assign({n: ("cell", x) for n, x in zip(LATE, late.T, strict=True)})


def quicker_coagulation(records: xr.Dataset) -> xr.Dataset:
    true = coagulation.kernels

    def kernels(*given: Any) -> Any:
        found = true(*given)
        return found._replace(kernel=1.3 * found.kernel)

    module = mock.Mock(wraps=coagulation, kernels=kernels)
    return foreign(records, "coagulation", module)


def test_foreign_coagulation_is_named_and_learned(base: xr.Dataset, tmp_path: Path) -> None:
    records = quicker_coagulation(base)
    found = calibrate(records)
    assert found.missed == ("coagulation",)
    assert found.blocks["coagulation"].error == pytest.approx(0.23, abs=0.03)
    assert found.blocks["condensation"].reproduced
    assert found.blocks["merging"].reproduced
    assert found.settings == Settings.from_reference(Config())
    assert train.to_learn(found) == ("coagulation",)
    config = TrainConfig(
        forms_steps=300, forms_batch=256, step_batch=128, curve_every=50, foreign_steps=60
    )
    files = train.Files(model=tmp_path / "model.safetensors")
    model = train.run(config, records, files, calibration=found)
    assert set(model.networks) == {"coagulation"}


def test_foreign_condensation_is_named(base: xr.Dataset) -> None:
    true = condensation.condensation_sink
    found = calibrate(foreign(base, "condensation_sink", lambda *given: 0.6 * true(*given)))
    assert found.missed == ("condensation",)
    assert found.blocks["coagulation"].reproduced
    assert train.to_learn(found) == ("condensation",)


def test_worse_network_is_not_kept(base: xr.Dataset, tmp_path: Path) -> None:
    found = calibrate(quicker_coagulation(base))
    config = TrainConfig(forms_steps=1, forms_batch=64, step_batch=16, foreign_steps=1)
    files = train.Files(model=tmp_path / "model.safetensors")
    model = train.run(config, base, files, calibration=found)
    assert not model.networks
    assert model.provenance["scores"]["validation mean tendency R2"] > 0.999999


@pytest.mark.parametrize("config", [Config(profile="m7_2004"), Config(densities={"oc": 1.3})])
def test_command_on_records_of_both_generations(config: Config, tmp_path: Path) -> None:
    sample(Sample(count=3000, timesteps=(900.0,), config=config), tmp_path / "train.nc")
    boxes = Sample(count=1000, seed=9, part="test", kinds=("boxes",), config=config)
    sample(boxes, tmp_path / "test.nc")
    raw = xr.open_dataset(tmp_path / "train.nc").load()
    raw.attrs = {"timestep": 900.0}
    raw.to_netcdf(tmp_path / "bare.nc")
    model = tmp_path / "model.safetensors"
    done = subprocess.run(
        [
            BIN / "pyemu",
            "train",
            tmp_path / "bare.nc",
            "--output",
            model,
            "--json",
            model.with_suffix(".json"),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "learned nothing: all blocks are exact" in " ".join(done.stdout.split())
    told = json.loads(model.with_suffix(".json").read_text())["calibration"]
    assert told["choices"]["profile"]["value"] == config.profile
    cells = evaluate.some_cells([tmp_path / "test.nc"], None, None)
    scores = evaluate.score(cells, steps.on_cells(steps.native(model))(cells))
    assert scores.mean > 0.999
