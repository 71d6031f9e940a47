"""What several tests need."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyemu.variables import DIAGNOSTICS, PROGNOSTICS, names

Array = NDArray[np.float64]
OUTPUTS = names(PROGNOSTICS + DIAGNOSTICS)


def different(
    one: Mapping[str, NDArray[Any]],
    other: Mapping[str, NDArray[Any]],
    keys: Iterable[str] = OUTPUTS,
) -> list[str]:
    """Names of the variables whose bits differ."""
    return [key for key in keys if one[key].tobytes() != other[key].tobytes()]


def at(state: Mapping[str, Any], cells: Any) -> dict[str, Any]:
    """Choose cells of a state, in any order."""
    return {key: np.asarray(value)[cells] for key, value in state.items()}
