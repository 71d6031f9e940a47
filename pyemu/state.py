"""The state of cells: checked, completed, packed into the matrices that the native steps take."""

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pyemu.variables import (
    DIAGNOSTICS,
    ENVIRONMENT,
    PROGNOSTICS,
    SPLIT,
    Variable,
    names,
    unknown,
)

Matrix = NDArray[np.float64]
State = Mapping[str, ArrayLike]

ROUND_OFF = 1e-6
"""How far a bounded input may lie outside its range before it is refused instead of clipped [1]."""

REPORTS = ("negatives", "substeps", "flag", "uncertainty")
"""What a step returns besides variables: allowed in a state and ignored, as are diagnostics."""


def pack(state: State) -> tuple[Matrix, Matrix]:
    """Check a state and copy it into matrices, the given arrays untouched.

    Parameters
    ----------
    state : mapping
        Name -> value, scalars or arrays (ncell,), see `pyemu.variables`. Missing variables take
        their default. Outputs of a former step (diagnostics, split output, counts) are ignored.

    Returns
    -------
    environment : Matrix
        (ncell, 8), Fortran order, within its bounds.
    prognostic : Matrix
        (ncell, 26), Fortran order: gas, masses, numbers; negative values as given.

    Raises
    ------
    ValueError
        An unknown or missing name, a wrong shape or type, a value not finite or not allowed.
    """
    inputs = ENVIRONMENT + PROGNOSTICS
    _refuse_unknown(state)
    missing = [v.name for v in inputs if v.default is None and v.name not in state]
    if missing:
        raise ValueError(f"missing from the state: {', '.join(missing)}")
    columns = {v.name: _column(v, state[v.name]) for v in inputs if v.name in state}
    ncell = _cells(columns)
    environment = _matrix(ENVIRONMENT, columns, ncell)
    prognostic = _matrix(PROGNOSTICS, columns, ncell)
    for place, variable in enumerate(ENVIRONMENT):
        _bound(variable, environment[:, place])
    for place, variable in enumerate(PROGNOSTICS):
        amount = prognostic[:, place]
        _refuse(variable, amount, amount > variable.maximum)
    return environment, prognostic


def unpack(matrix: Matrix, table: Iterable[Variable]) -> dict[str, Matrix]:
    """Name the columns of a matrix (ncell, n): views, not copies."""
    return {variable.name: matrix[:, place] for place, variable in enumerate(table)}


def _refuse_unknown(state: State) -> None:
    inputs = names(ENVIRONMENT + PROGNOSTICS)
    known = {*inputs, *names(DIAGNOSTICS), *names(SPLIT), *REPORTS}
    for name in state:
        if name not in known:
            raise ValueError(unknown(str(name), inputs))


def _column(variable: Variable, value: ArrayLike) -> Matrix:
    """Convert one variable to float64, shape () or (ncell,), all values finite."""
    name = variable.name
    if np.ma.is_masked(value):
        raise ValueError(f"{name} has masked values; fill or drop them")
    try:
        given = np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name} is not an array: {error}") from None
    if given.dtype.kind not in "biuf":
        raise ValueError(f"{name} has type {given.dtype}; it needs real numbers")
    if given.ndim > 1:
        raise ValueError(f"{name} has shape {given.shape}; allowed is a scalar or (ncell,)")
    column = given.astype(np.float64)
    _refuse(variable, column, ~np.isfinite(column))
    return column


def _cells(columns: Mapping[str, Matrix]) -> int:
    """Find the common number of cells; 1 if there are only scalars."""
    sizes = {name: column.size for name, column in columns.items() if column.ndim}
    if not sizes:
        return 1
    first, ncell = next(iter(sizes.items()))
    for name, size in sizes.items():
        if size != ncell:
            raise ValueError(f"{name} has shape ({size},), but {first} has shape ({ncell},)")
    return ncell


def _matrix(table: tuple[Variable, ...], columns: Mapping[str, Matrix], ncell: int) -> Matrix:
    matrix = np.empty((ncell, len(table)), order="F")
    for place, variable in enumerate(table):
        matrix[:, place] = columns.get(variable.name, variable.default)
    return matrix


def _bound(variable: Variable, column: Matrix) -> None:
    """Refuse what is out of range; clip, in place, what is so by round-off."""
    low, high = variable.minimum, variable.maximum
    slack = ROUND_OFF if high == 1.0 else 0.0
    below = column <= low if variable.above else column < low - slack
    _refuse(variable, column, below | (column > high + slack))
    np.clip(column, low, high, out=column)


def _refuse(variable: Variable, column: Matrix, bad: NDArray[np.bool_]) -> None:
    if bad.any():
        place = int(np.argmax(bad))
        index = f"[{place}]" if column.ndim else ""
        value = float(column.flat[place])
        raise ValueError(f"{variable.name}{index} = {value:g}; allowed is {variable.allowed}")
