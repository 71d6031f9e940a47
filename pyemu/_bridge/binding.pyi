# Written by build.py from bridge/include/m7emu.h; the objects of cffi have no types.

from typing import Any

ffi: Any
lib: Any
