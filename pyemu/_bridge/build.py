"""Build step: write the C source of the binding from the header.

Usage: build.py CC MODULE HEADER OUTPUT.c

What cffi is told of the library is the header itself, preprocessed: there is no second list.
"""

import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import cffi

STANDARD = ("stddef.h", "stdint.h")
"""Headers whose types cffi knows by itself: empty ones stand in for them."""


def declarations(compiler: str, header: Path) -> str:
    """Preprocess the header without the standard ones and without attributes."""
    with tempfile.TemporaryDirectory() as empty:
        for name in STANDARD:
            (Path(empty) / name).touch()
        command = [*shlex.split(compiler), "-E", "-P", "-nostdinc", "-I", empty, "-U__GNUC__"]
        done = subprocess.run([*command, str(header)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    constants = re.findall(r"^#define (M7EMU_\w+) \d+$", header.read_text(), flags=re.MULTILINE)
    return done.stdout + "".join(f"#define {name} ...\n" for name in constants)


def main(compiler: str, module: str, header: Path, output: Path) -> None:
    """Write the source of the extension module `pyemu._bridge.<module>`."""
    builder = cffi.FFI()
    builder.cdef(declarations(compiler, header))
    builder.set_source(f"pyemu._bridge.{module}", f'#include "{header.name}"')
    builder.emit_c_code(str(output))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]))
