"""Fields in a GPU's memory as a block of `m7emu.h`: nothing is copied."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from pyemu._bridge import ffi, lib
from pyemu.variables import ENVIRONMENT, MASSES, MODES, NUMBERS, SOLUBLE, unknown

PLANES = {
    **{variable.name: 0 for variable in ENVIRONMENT},
    "h2so4": 0,
    "mass": len(MASSES),
    "number": len(NUMBERS),
    "wet_radius": len(MODES),
    "dry_radius": len(SOLUBLE),
    "density": len(MODES),
    "water": len(SOLUBLE),
    "flag": 0,
    "uncertainty": 0,
    "negatives": 0,
}
"""Members of a block and their leading dimension, 0 where they have none."""
_WHOLE = ("flag", "negatives")
_NEEDED = ("pressure", "temperature", "relative_humidity", "h2so4", "mass", "number")
_KINDS = {"<f8": ("m7emu_block", "double *"), "<f4": ("m7emu_block_float", "float *")}


def block(fields: Mapping[str, Any], timestep: float, stream: int) -> Any:
    """Describe fields on a GPU as a block.

    Parameters
    ----------
    fields
        Members of the block by name: anything with `__cuda_array_interface__` (torch's CUDA
        tensors, CuPy), of shape (klev, kbdim) or (n, klev, kbdim), contiguous, all float64 or all
        float32; "flag" and "negatives" int32.
    timestep
        [s]
    stream
        Of CUDA; 0 is the default one.

    Raises
    ------
    ValueError
        A field that is unknown, missing, or of another kind, naming it.
    """
    for name in fields:
        if name not in PLANES:
            raise ValueError(unknown(str(name), PLANES))
    missing = [name for name in _NEEDED if name not in fields]
    if missing:
        raise ValueError(f"missing from the fields: {', '.join(missing)}")
    told = {name: _told(name, value) for name, value in fields.items()}
    plane, real = told["pressure"]["shape"], told["pressure"]["typestr"]
    if len(plane) != 2:
        raise ValueError(f"pressure has shape {plane}; expected (klev, kbdim)")
    if real not in _KINDS:
        raise ValueError(f"pressure is of type '{real}'; allowed are {', '.join(_KINDS)}")
    kind, pointer = _KINDS[real]
    made = ffi.new(f"{kind} *")
    made.struct_size = ffi.sizeof(kind)
    made.space = lib.M7EMU_DEVICE
    made.stream = ffi.cast("void *", stream)
    made.klev, made.kproma, made.kbdim = plane[0], plane[1], plane[1]
    made.timestep = timestep
    for name, interface in told.items():
        expected = (PLANES[name],) * (PLANES[name] > 0) + plane
        if interface["shape"] != expected:
            raise ValueError(f"{name} has shape {interface['shape']}; expected {expected}")
        kind_of = "<i4" if name in _WHOLE else real
        if interface["typestr"] != kind_of:
            raise ValueError(f"{name} is of type '{interface['typestr']}'; expected '{kind_of}'")
        place = ffi.cast("int32_t *" if name in _WHOLE else pointer, interface["data"][0])
        setattr(made, name, place)
    return made


def _told(name: str, value: Any) -> dict[str, Any]:
    """Ask an array where and what it is."""
    interface = getattr(value, "__cuda_array_interface__", None)
    if interface is None:
        raise ValueError(f"{name} is not in a GPU's memory: it has no __cuda_array_interface__")
    shape, strides = tuple(interface["shape"]), interface.get("strides")
    size = np.dtype(interface["typestr"]).itemsize
    packed = tuple(size * int(np.prod(shape[place + 1 :])) for place in range(len(shape)))
    if strides is not None and tuple(strides) != packed:
        raise ValueError(f"{name} is not contiguous: strides {tuple(strides)}, expected {packed}")
    return {**interface, "shape": shape}
