"""Build step: write the sources of the extension from the Fortran that Python sees.

Usage: wrap.py OUTPUT_DIRECTORY FILE.f90 ...

f90wrap turns derived types into classes (`__init__.py`) over handles (`wrappers.f90`), and f2py
makes C of the handles (`_f2pymodule.c`). Plain f2py, not f2py-f90wrap: the latter swaps the signal
handler around each call and leaves it on Ctrl-C by longjmp through one global buffer, which crashes
once a call has released the GIL or runs in two threads.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

from numpy import f2py

# Calls during which other Python threads run on.
WITHOUT_GIL = ("run",)
# f90wrap looks a kind up twice, as it is written and as the number it has put in its place.
KINDS = (
    "{'real': {'wp': 'double', '8': 'double'}, 'integer': {'ik': 'long_long', '8': 'long_long'}}"
)


def simplified(source: str) -> str:
    """Drop array constructors: f90wrap 0.3 takes their elements for further components."""
    return re.sub(r"=\s*(\[[^\]]*\]|\(/.*?/\))", "", source, flags=re.DOTALL)


def released(wrappers: str, routine: str) -> str:
    """Mark the wrapper of a routine as running without the GIL."""
    head = rf"(subroutine f90wrap_\w+__{routine}\([^)]*\)\n)"
    marked, count = re.subn(head, r"\1    !f2py threadsafe\n", wrappers)
    if count != 1:
        raise SystemExit(f"wrap.py: {count} wrappers of {routine}, expected one")
    return marked


def main(output: Path, sources: list[Path]) -> None:
    """Run both generators and leave in `output` what meson compiles and installs."""
    work = output / "wrap"
    work.mkdir(parents=True, exist_ok=True)
    names = [source.name for source in sources]
    for source in sources:
        (work / source.name).write_text(simplified(source.read_text()))
    (work / "kinds").write_text(KINDS)

    def run(*module: str) -> None:
        command = [sys.executable, "-m", *module]
        done = subprocess.run(command, cwd=work, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")

    run("f90wrap", "-m", "_m7", "--f90-mod-name", "pyemu._m7._f2py", "-k", "kinds",
        "--return-decoded", *names)  # fmt: skip
    wrappers = "".join((work / f"f90wrap_{name}").read_text() for name in names)
    for routine in WITHOUT_GIL:
        wrappers = released(wrappers, routine)
    (work / "wrappers.f90").write_text(wrappers)
    run("numpy.f2py", "--quiet", "-m", "_f2py", "wrappers.f90")

    shutil.copy(work / "_m7.py", output / "__init__.py")
    for name in ("wrappers.f90", "_f2pymodule.c"):
        shutil.copy(work / name, output)
    for name in ("fortranobject.c", "fortranobject.h"):
        shutil.copy(Path(f2py.get_include()) / name, output)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), [Path(name).resolve() for name in sys.argv[2:]])
