"""Harder et al. (2022, EDS 1:e20): their seven measures, and their public data as records.

The measures follow their published code (github.com/paulaharder/aerosol-microphysics-emulation,
utils.py, get_scores), on our variables: sea salt counts as a fifth species.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyemu.metrics import State, total
from pyemu.records import WATERS, write_records
from pyemu.variables import ENVIRONMENT, MASSES, NUMBERS, PROGNOSTICS, SPECIES, names

Array = NDArray[np.float64]

_FLOOR = 1e-8
_MODES = {"so4": "ns ks as cs", "bc": "ks as cs ki", "oc": "ks as cs ki", "du": "as cs ai ci"}
INPUTS = (
    "pressure",
    "temperature",
    "relative_humidity",
    "ion_pair_production",
    "cloud_fraction",
    "boundary_layer",
    "forest_fraction",
    "h2so4_production",
    "h2so4",
    *(f"{species}_{mode}" for species, modes in _MODES.items() for mode in modes.split()),
    *names(NUMBERS),
)
"""Columns of X; those of y are tendencies from `h2so4` on, then the waters [kg m-3]."""
_MOVED = INPUTS[INPUTS.index("h2so4") :]
TIMESTEP = 450.0
"""Of ECHAM-HAM in T63, which made the data [s]."""


@dataclass(frozen=True, kw_only=True)
class Measures:
    """Their seven.

    `r2` and `log_r2` (of ln(|x| + 1e-8)) are averaged over variables, `rmse` is of standardised
    tendencies, `mass_bias` and `mass_rmse` of the change of species' totals over their mean
    amounts, `negative_fraction` of prognostics, `negative_mean` over the true means.
    """

    r2: float
    log_r2: float
    rmse: float
    mass_bias: Mapping[str, float]
    mass_rmse: float
    negative_fraction: float
    negative_mean: float


def measures(before: State, truth: State, after: State) -> Measures:
    """Judge 26 prognostics and 4 waters after the step, by name (ncell,); water counts itself.

    Sulfate includes the gas and its production is not subtracted, as theirs was zero: `mass_bias`
    of so4 is 0 only where there is no production.
    """
    moving = names(PROGNOSTICS)
    true = {n: truth[n] - before[n] for n in moving} | {n: truth[n] for n in WATERS}
    given = {n: after[n] - before[n] for n in moving} | {n: after[n] for n in WATERS}
    scale = {name: float(values.std()) for name, values in true.items()}
    varying = [name for name in true if scale[name] > 0.0]
    wrong = [np.mean(((given[n] - true[n]) / scale[n]) ** 2) for n in varying]
    bias: dict[str, float] = {}
    square: list[float] = []
    for species in names(SPECIES):
        mean = _mean_mass(before, species)
        if mean > 0.0:
            change = total(given, species)
            bias[species] = float(change.mean()) / mean
            square.append(float(np.sqrt(np.mean(change**2))) / mean)
    there = [n for n in moving if truth[n].mean() > 0.0]
    lost = [np.minimum(after[n], 0.0).mean() / truth[n].mean() for n in there]
    return Measures(
        r2=_mean([1.0 - np.mean((given[n] - true[n]) ** 2) / scale[n] ** 2 for n in varying]),
        log_r2=_mean([_log_r2(true[n], given[n]) for n in varying]),
        rmse=float(np.sqrt(_mean(wrong))),
        mass_bias=bias,
        mass_rmse=_mean(square),
        negative_fraction=_mean([np.mean(after[n] < 0.0) for n in moving]),
        negative_mean=_mean(lost),
    )


def read(inputs: Path, outputs: Path) -> tuple[dict[str, Array], dict[str, Array]]:
    """Read their arrays: state before, and prognostics and waters after the step.

    Parameters
    ----------
    inputs, outputs
        `X_*.npy` (n, 32) and `y_*.npy` (n, 28) of Zenodo record 6583397, units as ours. Sea salt,
        which they have not, is 0.

    Raises
    ------
    ValueError
        A file that is missing, no array, or of another shape.
    """
    x, y = _array(inputs, len(INPUTS)), _array(outputs, len(_MOVED) + len(WATERS))
    if len(x) != len(y):
        raise ValueError(f"{inputs} has {len(x)} cells and {outputs} {len(y)}")
    given = dict(zip(INPUTS, x.T, strict=True))
    before = {n: given.get(n, np.zeros(len(x))) for n in names(ENVIRONMENT + PROGNOSTICS)}
    shares = [variable.name for variable in ENVIRONMENT if variable.maximum == 1.0]
    before |= {n: np.clip(before[n], 0.0, 1.0) for n in shares}  # their air is supersaturated
    change = dict(zip((*_MOVED, *WATERS), y.T, strict=True))
    after = {n: before[n] + change.get(n, 0.0) for n in names(PROGNOSTICS)}
    return before, after | {n: change[n] for n in WATERS}


def to_records(inputs: Path, outputs: Path, path: Path, timestep: float = TIMESTEP) -> int:
    """Write their arrays as records; returns the cells written.

    Round-off of their single precision below 0 after the step is kept, as is what M7 left negative.
    """
    before, after = read(inputs, outputs)
    values = before | {f"{name}_after": column for name, column in after.items()}
    count = len(before["pressure"])
    attributes: dict[str, str | float] = {
        "title": "M7 of ECHAM-HAM before and after a step, Harder et al. (2022)",
        "source": "Zenodo 6583397",
        "history": f"{inputs.name}, {outputs.name}",
        "profile": "ham2",
        "timestep": timestep,
    }
    write_records(path, count, values, values.__getitem__, attributes)
    return count


def _array(path: Path, columns: int) -> Array:
    if not path.is_file():
        raise ValueError(f"{path}: there is no such file")
    try:
        found = np.load(path, allow_pickle=False)
    except ValueError as error:
        raise ValueError(f"{path}: it is no array of numpy ({error})") from None
    if found.ndim != 2 or found.shape[1] != columns:
        raise ValueError(f"{path} has shape {found.shape}, not (n, {columns})")
    return np.asarray(found, dtype=np.float64)


def _mean_mass(state: State, species: str) -> float:
    """Mean amount of a species in a mode [unit of the species]; for sulfate the gas is one, too."""
    carried = [v.name for v in MASSES if v.species == species]
    carried += ["h2so4"] if species == "so4" else []
    return float(np.mean([state[name] for name in carried]))


def _log_r2(truth: Array, given: Array) -> float:
    x, y = (np.log(np.abs(values) + _FLOOR) for values in (truth, given))
    spread = x.var()
    return float(1.0 - np.mean((x - y) ** 2) / spread) if spread > 0.0 else 1.0


def _mean(values: Sequence[Any]) -> float:
    return float(np.mean(values)) if len(values) else 0.0
