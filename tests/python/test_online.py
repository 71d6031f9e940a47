"""The main job, small: the host with M7 and with an emulator of exact blocks."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pyemu.cli import app
from pyemu.online import OnlineConfig, facts, namelist, run

MODEL = Path(__file__).parents[1] / "abi/ham2.safetensors"


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> OnlineConfig:
    folder = tmp_path_factory.mktemp("online")
    return OnlineConfig(
        model=MODEL, folder=folder, days=0.5, grid=(8, 6, 7), record_fraction=0.1, threads=1
    )


def test_exact_blocks_give_the_climate_of_m7(config: OnlineConfig) -> None:
    found = facts(config, run(config, lambda _: None))
    for one in found["runs"].values():
        assert max(one["closure"].values()) < 1e-12
        assert one["negatives"] == 0
        assert one["seconds_microphysics"] > 0.0
    for kind in ("burden", "number"):
        for name, each in found[kind].items():
            assert each["m7"] > 0.0, name
            assert each["largest_difference"] < 1e-4, name


def test_command(config: OnlineConfig, tmp_path: Path) -> None:
    options = ["--model", "first", "--days", "0.25", "--output", str(tmp_path)]
    done = CliRunner().invoke(app, ["online", *options], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    for name in ("series", "zonal", "tendencies"):
        assert (tmp_path / f"{name}.png").stat().st_size > 10_000
    assert json.loads((tmp_path / "online.json").read_text())["evaluation"]["mean_r2"] > 0.999
    assert config.folder != tmp_path


def test_runs_differ_in_the_slot_alone(config: OnlineConfig) -> None:
    m7, emulator = (namelist(config, name).splitlines() for name in ("m7", "emulator"))
    differ = [line for line in m7 if line not in emulator]
    assert {line.split("=")[0].strip() for line in differ} == {
        "microphysics",
        "file",
        "records",
        "record_fraction",
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": Path("no.safetensors")}, "no.safetensors: there is no such model file"),
        ({"days": 0.0}, "days = 0.0; allowed is above 0"),
        ({"threads": 0}, "threads = 0; allowed is"),
        ({"record_fraction": 2.0}, "record_fraction = 2.0; allowed is"),
        ({"host": Path("no/host")}, "no/host: no executable"),
    ],
)
def test_refusals(tmp_path: Path, change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        OnlineConfig(**{"model": MODEL, "folder": tmp_path, **change})  # type: ignore[arg-type]


def test_a_host_that_fails_says_why(config: OnlineConfig, tmp_path: Path) -> None:
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"not a model")
    with pytest.raises(ChildProcessError, match=r"with emulator failed.*broken.safetensors"):
        run(
            OnlineConfig(model=broken, folder=tmp_path, days=0.125, grid=config.grid),
            lambda _: None,
        )


def test_other_files_of_the_folder_stay(config: OnlineConfig, tmp_path: Path) -> None:
    mine = tmp_path / "records_mine.nc"
    mine.write_text("mine")
    run(OnlineConfig(model=MODEL, folder=tmp_path, days=0.125, grid=config.grid), lambda _: None)
    assert mine.read_text() == "mine"
