"""A model of exact blocks: written by the command, run by the engine, equal to the reference."""

from pathlib import Path

import numpy as np
import pytest
from helpers import OUTPUTS
from typer.testing import CliRunner

import pyemu
from pyemu import reference, states
from pyemu.cli import app
from pyemu.variables import NUMBERS, names


@pytest.mark.parametrize("profile", ["ham2", "m7_2004"])
def test_exact_is_m7(profile: reference.Profile, tmp_path: Path) -> None:
    path = tmp_path / "exact.safetensors"
    options = ["--profile", profile, "--output", str(path)]
    done = CliRunner().invoke(app, ["exact", *options], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    before = states.sample(400, 5, "all_modes")
    told = reference.step(before, 1800.0, profile)
    after = pyemu.load(path).step(before, 1800.0)
    numbers = sum(told[name] for name in names(NUMBERS))
    for name in OUTPUTS:
        # Fractions are computed in float32: relative to what there was, not to what is left.
        size = np.maximum(np.abs(told[name]), before.get(name, 0.0))
        size = numbers if name.startswith("num") else size
        assert np.quantile(np.abs(after[name] - told[name]) / (size + 1e-30), 0.99) < 1e-4, name


def test_what_cannot_be_written_is_refused(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["exact", "--output", str(tmp_path / "none/exact.safetensors")])
    assert done.exit_code == 1
    assert "there is no directory" in done.output
