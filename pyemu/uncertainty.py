"""How far an emulator knows its own error: coverage, skill and ranks of what its head expects.

`uncertainty` u [1] (ncell,) says that with a probability of 90 % a cell's error stays below it: the
root mean square, over the variables, of the errors of the tendencies in units of `scale`
(`pyemu.modelfile`, emulator.md section 6).
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from pyemu.modelspec import LEVEL

Array = NDArray[np.float64]

LEAST = 1e-12
"""Smaller errors count as this one: round-off."""


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Measures of expected errors.

    `coverage` is the share of the cells whose error is at most u [1]. `skill` is 1 - loss/loss of
    the one u for all cells that is best in hindsight, the loss being that of the 90 % quantile of
    ln(error) (Koenker and Bassett 1978, Econometrica 46:33): 0 is no better than a constant.
    `ranks` is Spearman's correlation of u and the error.
    """

    coverage: float
    skill: float
    ranks: float


def scaled_error(truth: Array, change: Array, scale: Array | None = None) -> Array:
    """Root mean square, over the variables that vary, of errors over `scale` [1] (n,).

    Parameters
    ----------
    truth, change
        True and predicted tendencies (n, m), any units.
    scale
        In the same units (m,), 0 of a variable that does not count; None: standard deviations of
        the truth.
    """
    scale = truth.std(axis=0) if scale is None else scale
    counts = scale > 0.0
    wrong = (change - truth)[:, counts] / scale[counts]
    return np.asarray(np.sqrt(np.mean(wrong**2, axis=1)))


def calibration(
    truth: Array, change: Array, expected: Array, scale: Array | None = None
) -> Calibration:
    """Judge u, `expected` [1] (n,); the other arguments are those of `scaled_error`."""
    error = np.log(np.maximum(scaled_error(truth, change, scale), LEAST))
    bound = np.log(np.maximum(expected, LEAST))
    constant = np.full_like(error, np.quantile(error, LEVEL))
    least = quantile_loss(error, constant)
    return Calibration(
        coverage=float((error <= bound).mean()),
        skill=1.0 - quantile_loss(error, bound) / least if least > 0.0 else math.nan,
        ranks=float(spearmanr(error, bound).statistic) if np.ptp(bound) > 0.0 else math.nan,
    )


def quantile_loss(truth: Array, bound: Array) -> float:
    """Mean loss of a bound that the truth should stay below with probability `LEVEL`."""
    above = truth - bound
    return float(np.maximum(LEVEL * above, (LEVEL - 1.0) * above).mean())
