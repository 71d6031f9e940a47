"""The box and the command that runs it."""

import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from typer.testing import CliRunner

from pyemu import box, boxcard
from pyemu.cli import app
from pyemu.reference import Config
from pyemu.scenarios import SCENARIOS
from pyemu.variables import DIAGNOSTICS, ENVIRONMENT, MODES, PROGNOSTICS, SPECIES, SPLIT, names

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.mark.parametrize("regime", list(SCENARIOS))
def test_every_regime_runs_and_closes(regime: str) -> None:
    data = box.run(regime, days=0.25, timestep=1800.0)
    facts = box.summary(data)
    assert data.sizes == {"time": 12}
    assert facts["negatives"] == 0
    for species in names(SPECIES):
        assert float(data[f"closure_{species}"].max()) <= 1e-14
        assert facts["budget"][species] <= 1e-13


def test_dataset_says_what_it_holds() -> None:
    data = box.run(days=0.1, timestep=1800.0, config=Config(profile="m7_2004"), substeps=2)
    for variable in ENVIRONMENT + PROGNOSTICS + DIAGNOSTICS + SPLIT:
        assert data[variable.name].attrs["units"] == variable.unit
    assert all(data[name].attrs["long_name"] for name in data.data_vars)
    assert data.attrs["profile"] == "m7_2004"
    assert data.attrs["Conventions"].startswith("CF-")
    assert data["time"].attrs["standard_name"] == "time"


def test_day_and_night() -> None:
    data = box.run("continental_polluted", days=1.0, timestep=1800.0)
    hours = 0.5 * np.arange(48) + 0.25
    night = (hours < 6.0) | (hours > 18.0)
    assert (data["produced_so4"].to_numpy()[night] == 0.0).all()
    assert (data["produced_so4"].to_numpy()[~night] > 0.0).all()
    assert data["temperature"].to_numpy().argmax() == pytest.approx(30, abs=1)
    assert data["relative_humidity"].to_numpy().argmin() == pytest.approx(30, abs=1)


def test_primary_particles_land_in_their_modes() -> None:
    data = box.run("dust_plume", days=0.1, timestep=900.0)
    assert (data["emitted_du"] > 0.0).all()
    assert (data["emitted_bc"] == 0.0).all()
    assert (data["lost_du"] > 0.0).all()


def test_size_distribution_holds_all_particles() -> None:
    radii = np.geomspace(1e-9, 1e-2, 4000)
    for mode in MODES:
        density = boxcard.size_distribution(
            np.array([7.0, 0.0]), np.array([1e-5, 0.0]), mode, radii
        )
        assert np.trapezoid(density[0], np.log(radii)) == pytest.approx(7.0, rel=1e-6)
        assert not density[1].any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"regime": "continental"}, "unknown name 'continental'"),
        ({"regime": "sparse"}, "it has no scenario"),
        ({"days": 0.0}, "days = 0.0"),
        ({"timestep": float("nan")}, "timestep = nan"),
        ({"days": 0.001, "timestep": 3600.0}, "hold no step"),
    ],
)
def test_misuse(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        box.run(**arguments)  # type: ignore[arg-type]


def test_command(tmp_path: Path) -> None:
    figure, output, facts = (tmp_path / name for name in ("new/box.png", "box.nc", "box.json"))
    options = ["--days", "0.25", "--timestep", "1800", "--figure", str(figure)]
    result = CliRunner().invoke(
        app, ["box", *options, "--output", str(output), "--json", str(facts)]
    )
    assert result.exit_code == 0, result.output
    assert "nucleation soluble (NS)" in result.output
    assert figure.read_bytes().startswith(PNG)
    told = json.loads(facts.read_text())
    assert told["steps"] == 12
    assert set(told["number"]) == set(names(MODES))
    with xr.open_dataset(output) as data:
        assert data.sizes == {"time": 12}
        assert float(data["num_ks"][-1]) == told["number"]["ks"]
        assert data["so4_as"].attrs["units"] == "cm-3"
    written = {path.name for path in tmp_path.iterdir()}
    assert written == {"new", "box.nc", "box.json"}, "temporary files are gone"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--regime", "moon"], "unknown name 'moon'"),
        (["--days", "-1"], "days = -1.0; allowed is (0, inf)"),
        (["--output", "absent/box.nc"], "there is no directory"),
        (["--json", "."], "is a directory"),
        (["--substeps", "0"], "substeps = 0; allowed is [1, inf)"),
    ],
)
def test_command_tells_what_is_wrong(
    options: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["box", "--days", "0.1", *options])
    assert result.exit_code == 1
    assert message in result.output
    assert "Traceback" not in result.output
    assert not list(tmp_path.glob("**/*.png"))


def test_help_has_an_example() -> None:
    for command in ("box", "bench"):
        result = CliRunner().invoke(app, [command, "--help"])
        assert result.exit_code == 0
        assert f"Example: pyemu {command}" in result.output


def test_help_keeps_what_is_in_brackets() -> None:
    text = CliRunner().invoke(app, ["box", "--help"]).output
    text = " ".join(text.replace("\N{BOX DRAWINGS LIGHT VERTICAL}", " ").split())
    assert "Timestep of M7 [s]" in text
    assert "[default: activation in ham2" in text
