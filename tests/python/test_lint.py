"""What `make lint` runs; the settings are in pyproject.toml and .clang-format."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
C_FILES = [
    str(path.relative_to(ROOT))
    for room in ("bridge", "fortran", "tests", "benchmarks")
    for path in sorted((ROOT / room).rglob("*"))
    if path.suffix in {".h", ".hpp", ".c", ".cpp", ".cu"}
]
LINTERS = (
    ("ruff", "check", "--output-format=concise"),
    ("ruff", "format", "--check"),
    ("mypy",),
    ("fortitude", "check", "--output-format=concise", "fortran", "tests/fortran"),
    ("clang-format", "--dry-run", "--Werror", *C_FILES),
)


@pytest.mark.parametrize("command", LINTERS, ids=lambda command: " ".join(command[:2]))
def test_lint(command: tuple[str, ...]) -> None:
    if command[0] == "clang-format" and not C_FILES:
        return  # without files it would read standard input
    program = str(Path(sys.executable).with_name(command[0]))
    done = subprocess.run(
        [program, *command[1:]], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
