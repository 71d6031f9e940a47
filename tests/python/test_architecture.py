"""Who may use whom: the arrows of the design, for every file that is there or will come."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# Module or subpackage of pyemu -> those it may use. One that is missing here fails the test.
PYTHON = {
    "variables": set(),
    "files": set(),
    "_m7": set(),
    "_bridge": set(),
    "dense": set(),
    "models": set(),
    "state": {"variables"},
    "metrics": {"variables"},
    "regimes": {"variables"},
    "scenarios": {"regimes", "variables"},
    "reference": {"_m7", "state", "variables"},
    "states": {"files", "reference", "regimes", "state", "variables"},
    "box": {"metrics", "reference", "scenarios", "state", "states", "variables"},
    "style": set(),
    "boxcard": {"box", "files", "style", "variables"},
    "slabs": {"mapping", "reading", "records", "state", "variables"},
    "replaycells": {"emulator", "lessons", "metrics", "records", "slabs", "variables"},
    "replayfile": {"modelfile", "records", "replaycells", "slabs", "variables"},
    "reportfigures": {"replay", "slabs", "style", "variables"},
    "report": {
        "emulator",
        "files",
        "modelfile",
        "online",
        "reportfigures",
        "scorecard",
        "variables",
    },
    "integrals": {"variables"},
    "climate": {"variables"},
    "uncertainty": {"modelspec"},
    "distil": {
        "blocks",
        "exchange",
        "feed",
        "lessons",
        "modelfile",
        "modelspec",
        "steps",
        "uncertainty",
    },
    "steps": {
        "emulator",
        "exchange",
        "lessons",
        "modelfile",
        "records",
        "reference",
        "state",
        "variables",
    },
    "rollout": {"integrals", "scenarios", "steps", "trajectories", "variables"},
    "rollcard": {"files", "rollout", "style", "variables"},
    "harder": {"metrics", "records", "variables"},
    "frontier": {
        "bench",
        "emulator",
        "files",
        "lessons",
        "metrics",
        "modelfile",
        "reference",
        "rollout",
        "states",
        "steps",
        "variables",
    },
    "judging": {
        "baselines",
        "emulator",
        "evaluate",
        "modelfile",
        "records",
        "rollcard",
        "rollout",
        "scenarios",
        "scorecard",
        "steps",
    },
    "blocks": {"variables"},
    "units": {"variables"},
    "mapping": {"variables"},
    "reading": {"mapping", "units", "variables"},
    "records": {"files", "mapping", "reading", "regimes", "state", "variables"},
    "trajectories": {"scenarios", "states", "variables"},
    "hosttrajectories": {"online", "variables"},
    "sampling": {
        "emulator",
        "files",
        "hosttrajectories",
        "modelfile",
        "records",
        "reference",
        "scenarios",
        "states",
        "trajectories",
        "variables",
    },
    "modelspec": {"variables"},
    "modelfile": {"files", "modelspec", "variables"},
    "info": {"modelfile"},
    "exchange": {"blocks", "modelfile"},
    "feed": {"records"},
    "checkpoint": {"files"},
    "lessons": {"blocks", "feed", "metrics", "records", "variables"},
    "trainconfig": {"blocks", "variables"},
    "refine": {"blocks"},
    "bench": {
        "_bridge",
        "_m7",
        "baselines",
        "emulator",
        "files",
        "metrics",
        "reference",
        "state",
        "states",
        "style",
        "variables",
    },
    "latency": {
        "blocks",
        "emulator",
        "exchange",
        "lessons",
        "modelfile",
        "records",
        "reference",
        "state",
        "states",
    },
    "menu": {"blocks", "dense", "feed", "latency", "lessons", "trainconfig"},
    "search": {
        "blocks",
        "checkpoint",
        "dense",
        "exchange",
        "feed",
        "files",
        "latency",
        "menu",
        "modelfile",
        "train",
        "trainconfig",
        "variables",
    },
    "loop": {"blocks", "checkpoint", "feed", "lessons", "metrics", "refine", "trainconfig"},
    "baselines": {"checkpoint", "records"},
    "online": {"variables"},
    "comparison": {"files", "online", "style", "variables"},
    "scorecard": {"evaluate", "files", "lessons", "metrics", "records", "variables"},
    "candidates": {"blocks", "reference", "variables"},
    "evidence": {"candidates", "records", "reference", "variables"},
    "verdicts": {"blocks", "candidates", "evidence", "variables"},
    "calibrate": {
        "blocks",
        "candidates",
        "evidence",
        "metrics",
        "records",
        "reference",
        "verdicts",
    },
    "train": {
        "blocks",
        "calibrate",
        "checkpoint",
        "dense",
        "exchange",
        "feed",
        "files",
        "lessons",
        "loop",
        "modelfile",
        "reference",
        "states",
        "trainconfig",
    },
    "emulator": {"_bridge", "models", "ondevice", "state", "torchengine", "variables"},
    "ondevice": {"_bridge", "variables"},
    "torchengine": {"_bridge", "exchange", "modelfile", "variables"},
    "evaluate": {
        "feed",
        "files",
        "harder",
        "lessons",
        "metrics",
        "modelfile",
        "reading",
        "records",
        "reference",
        "sampling",
        "steps",
        "uncertainty",
        "variables",
    },
    "replay": {
        "evaluate",
        "files",
        "lessons",
        "mapping",
        "modelfile",
        "records",
        "replaycells",
        "replayfile",
        "slabs",
        "steps",
        "variables",
    },
}
# These join everything; nothing but each other and the entry point uses them.
JOINING = {"__init__", "__main__", "cli"}

# Folder -> folders whose Fortran modules and C headers it may use besides its own.
NATIVE = {
    "fortran/m7": set(),
    "fortran/m7emu": set(),
    "fortran/host": {"fortran/m7", "fortran/m7emu"},
    "bridge/include": set(),
    "bridge/engine": {"bridge/include", "bridge/embed", "bridge/gpu"},
    "bridge/embed": {"bridge/include"},
    "bridge/clock": {"bridge/engine", "bridge/include"},
    "bridge/gpu": {"bridge/include", "bridge/engine"},
}
FOREIGN = {"tests", "benchmarks"}


def room(path: Path) -> str:
    return path.relative_to(ROOT / "pyemu").parts[0].removesuffix(".py")


def imported(tree: ast.AST, package: str) -> Iterator[str]:
    """Full names of all that a file imports, at any depth, relative ones resolved."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")[: -(node.level - 1) or None] if node.level else []
            module = ".".join([*parts, *filter(None, [node.module])])
            yield from (f"{module}.{alias.name}" for alias in node.names)


def python_files() -> list[Path]:
    return sorted((ROOT / "pyemu").rglob("*.py"))


@pytest.mark.parametrize("path", python_files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_python_imports_follow_the_arrows(path: Path) -> None:
    here = room(path)
    assert here in PYTHON or here in JOINING, f"give pyemu.{here} its arrows in {__file__}"
    package = ".".join(path.relative_to(ROOT).parent.parts)
    for name in imported(ast.parse(path.read_text()), package):
        top, *rest = name.split(".")
        assert top not in FOREIGN, f"{here} imports {name}"
        if top != "pyemu" or here in JOINING:
            continue
        used = rest[0] if rest else ""
        assert used in PYTHON[here] | {here}, f"{here} may not use {name}"


def test_arrows_have_no_cycle() -> None:
    done: set[str] = set()
    while len(done) < len(PYTHON):
        ready = {name for name, used in PYTHON.items() if used <= done} - done
        assert ready, f"a cycle among {sorted(PYTHON.keys() - done)}"
        done |= ready


def native_files() -> list[Path]:
    kinds = {".f90", ".F90", ".h", ".hpp", ".c", ".cpp", ".cu"}
    rooms = (ROOT / "fortran", ROOT / "bridge")
    return sorted(p for top in rooms for p in top.rglob("*") if p.suffix in kinds)


def folder(path: Path) -> str:
    return "/".join(path.relative_to(ROOT).parts[:2])


# A Fortran module by its name (style: the file's name), a header by the file's.
OWNER = {(p.stem if p.suffix.lower() == ".f90" else p.name): folder(p) for p in native_files()}
OWNER |= {p.stem: "tests" for p in (ROOT / "tests").rglob("*.f90")}
USE = re.compile(
    r"^\s*use\b(?!\s*,\s*intrinsic)(?:[^:\n]*::)?\s*(\w+)", re.IGNORECASE | re.MULTILINE
)
INCLUDE = re.compile(r"^\s*#\s*include\s*\"(?:[^\"]*/)?([^\"/]+)\"", re.MULTILINE)


@pytest.mark.parametrize("path", native_files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_native_uses_follow_the_arrows(path: Path) -> None:
    here = folder(path)
    assert here in NATIVE, f"give {here} its arrows in {__file__}"
    text = path.read_text()
    pattern = USE if path.suffix.lower() == ".f90" else INCLUDE
    for name in pattern.findall(text):
        owner = OWNER.get(name.lower() if pattern is USE else name)
        assert owner is None or owner in NATIVE[here] | {here}, f"{path.name} may not use {name}"


def test_kernels_are_free_of_threads() -> None:
    threaded = {p.name for p in (ROOT / "fortran/m7").glob("*.f90") if "!$" in p.read_text()}
    assert threaded <= {"m7_python.f90"}


def test_import_does_no_work() -> None:
    program = "import pyemu, sys; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    assert not loaded & {"numpy", "xarray", "torch", "f90wrap", "pyemu._m7", "pyemu.variables"}
