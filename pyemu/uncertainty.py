"""How far an emulator knows its own error: coverage, CRPS, spread against skill, PIT.

An emulator's `uncertainty` u [1] (ncell,) says that the error of each tendency is normal with a
standard deviation of u times the tendency's own; see emulator.md section 6.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

Array = NDArray[np.float64]

LEVEL = 0.9
_QUANTILE = 1.6448536269514722
"""Of the normal distribution at (1 + LEVEL)/2."""
_BINS = 10


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Measures of a probabilistic forecast.

    `coverage` of the 90 % interval [1], `crps` in standard deviations of the tendencies (NaN
    without the package scoringrules), `spread_skill` the expected error over the true one, both
    root mean squares, and `pit`, the mean distance of ten bins of the probability integral
    transform from uniform, over a tenth [1].
    """

    coverage: float
    crps: float
    spread_skill: float
    pit: float


def calibration(truth: Array, change: Array, expected: Array) -> Calibration:
    """Judge expected errors of tendencies.

    Parameters
    ----------
    truth, change
        True and predicted tendencies (n, m), any units.
    expected
        [1] (n,)
    """
    scale = truth.std(axis=0)
    varies = scale > 0.0
    error = ((truth - change)[:, varies] / scale[varies]).ravel()
    sigma = np.repeat(np.maximum(expected, np.finfo(float).tiny), int(varies.sum()))
    place = ndtr(error / sigma)
    bins = np.histogram(place, bins=_BINS, range=(0.0, 1.0))[0] / len(place)
    return Calibration(
        coverage=float((np.abs(error) <= _QUANTILE * sigma).mean()),
        crps=_crps(error, sigma),
        spread_skill=math.sqrt(float((sigma**2).mean() / max((error**2).mean(), 1e-300))),
        pit=float(np.abs(bins - 1.0 / _BINS).mean() * _BINS),
    )


def _crps(error: Array, sigma: Array) -> float:
    try:
        from scoringrules import crps_normal
    except ImportError:
        return math.nan
    return float(np.mean(crps_normal(error, 0.0, sigma)))
