"""Emulators of the M7 aerosol microphysics scheme, and its Fortran reference.

Importing this does no work: a module is loaded when it is first used.
"""

import importlib
from typing import Any

_MODULES = ("emulator", "reference", "states", "variables")


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib import metadata

        return metadata.version("m7emu")
    if name == "load":
        from pyemu.emulator import load

        return load
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return ["__version__", "load", *_MODULES]
