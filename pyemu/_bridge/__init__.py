"""The C ABI of `bridge/include/m7emu.h`, as cffi sees it; `pyemu.emulator` is its face."""

from pyemu._bridge.binding import ffi, lib

__all__ = ["ffi", "lib"]

if lib.m7emu_abi_version() != lib.M7EMU_ABI_VERSION:
    raise ImportError(
        f"the engine has ABI version {lib.m7emu_abi_version()}, "
        f"this binding was built for {lib.M7EMU_ABI_VERSION}"
    )
