"""The Fortran against an independent scalar reading of the contract (m7_scalar.py)."""

from typing import Any

import m7_scalar
import numpy as np
import pytest
from helpers import OUTPUTS

from pyemu import states
from pyemu.reference import Config, step

COUNT, TIMESTEP = 300, 1800.0
CONFIGS = [
    Config(profile="ham2"),
    Config(profile="m7_2004"),
    Config(profile="ham2", organic_nucleation="kinetic"),
    Config(profile="ham2", organic_nucleation="activation", water="kappa"),
]


def scale(before: dict[str, Any], after: dict[str, Any], name: str) -> Any:
    """Amount over all modes of what a variable is a part of, 0 for radii and densities."""
    kind = name.partition("_")[0]
    if kind in ("wet", "dry", "density"):
        return 0.0
    made = before["h2so4_production"] * TIMESTEP if kind in ("so4", "h2so4") else 0.0
    kinds = ("so4", "h2so4") if kind in ("so4", "h2so4") else (kind,)
    parts = [n for n in OUTPUTS if n.partition("_")[0] in kinds]
    return made + sum(np.maximum(after[n], before.get(n, 0.0)) for n in parts)


@pytest.mark.parametrize("kind", ["sparse", "all_modes", "mixed"])
@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: f"{c.profile}-{c.organic_nucleation}")
def test_agrees(config: Config, kind: str) -> None:
    """99.5 % of all values within 1e-9, all within 1e-6 but residues of 1e-12 of what there is."""
    before = states.sample(COUNT, 11, kind)
    cells = [{name: float(x[place]) for name, x in before.items()} for place in range(COUNT)]
    scalar = [
        m7_scalar.step(cell, TIMESTEP, config.profile, config.water, config.organic_nucleation)
        for cell in cells
    ]
    after = step(before, TIMESTEP, config=config)
    good = 0
    for name in OUTPUTS:
        told = np.array([cell[name] for cell in scalar])
        error, size = np.abs(after[name] - told), np.abs(told)
        good += int(np.sum(error <= 1e-9 * size))
        wrong = error > 1e-6 * size + 1e-12 * scale(before, after, name)
        assert not wrong.any(), (name, np.flatnonzero(wrong), after[name][wrong], told[wrong])
    assert good >= 0.995 * COUNT * len(OUTPUTS), good / (COUNT * len(OUTPUTS))
