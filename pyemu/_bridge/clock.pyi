# Written by build.py from bridge/clock/clock.h; the objects of cffi have no types.

from typing import Any

ffi: Any
lib: Any
