"""Arithmetic that stays finite, gradients too, in float32 as in float64.

A gradient through `where` is NaN if the branch that is not taken is infinite: therefore every
division, root or logarithm gets an argument that is safe wherever it is not wanted.
"""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

EPSILON = 2.0**-52
"""Machine epsilon of the Fortran reference, where M7 uses it as a threshold, in any precision."""

_CUBE = 1e18
_SERIES_BELOW = 0.1
_SERIES_ORDER = 11


def columns(parts: Iterable[Tensor]) -> Tensor:
    """Join (n,) tensors to (n, k), cells contiguous."""
    return torch.stack(tuple(parts)).T


def pick(x: Tensor, places: Sequence[int]) -> Tensor:
    """Take columns of x (n, k) -> (n, len(places)), in any order and number, cells contiguous."""
    each = x.unbind(1)
    return columns(each[place] for place in places)


def row(values: Iterable[float], like: Tensor) -> Tensor:
    """Make constants of the columns (k,), of the precision and on the device of `like`."""
    return torch.tensor(tuple(values), dtype=like.dtype, device=like.device)


def least(x: Tensor) -> float:
    """Magnitude below which dividing by x may overflow: 1e-30 in float32, 2e-300 in float64."""
    return torch.finfo(x.dtype).tiny * 1e8


def ratio(above: Tensor, below: Tensor, there: Tensor, otherwise: float = 0.0) -> Tensor:
    """Compute above/below where `there`, which must keep `below` off 0; `otherwise` elsewhere."""
    return torch.where(there, above / torch.where(there, below, 1.0), otherwise)


def cube_root(x: Tensor) -> Tensor:
    """Cube root of volumes [cm3], 0 below `least`.

    Taken in units of (10 nm)3, as a power loses digits of float32 far from 1.
    """
    there = x > least(x)
    root = torch.where(there, x * _CUBE, 1.0).pow(1.0 / 3.0)
    return torch.where(there, root * _CUBE ** (-1.0 / 3.0), 0.0)


def decay(x: Tensor) -> tuple[Tensor, Tensor]:
    """exp(-x) and 1 - exp(-x) for x >= 0, neither with cancellation."""
    return torch.exp(-x), -torch.expm1(-x)


def lag(x: Tensor) -> Tensor:
    """1 - (1 - exp(-x))/x for x >= 0, without cancellation: 0 at 0, towards 1 for large x."""
    small = x < _SERIES_BELOW
    little = torch.where(small, x, 0.0)
    series = torch.ones_like(x)
    for k in range(_SERIES_ORDER, 2, -1):
        series = 1.0 - little / k * series
    much = torch.where(small, 1.0, x)
    return torch.where(small, 0.5 * little * series, 1.0 + torch.expm1(-much) / much)
