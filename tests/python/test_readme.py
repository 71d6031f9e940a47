"""The examples in the README run as printed."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def block(language: str) -> str:
    found = re.findall(rf"```{language}\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len(found) == 1
    return str(found[0])


def run(command: list[str], folder: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command, check=False, cwd=folder, capture_output=True, text=True)


def test_python(tmp_path: Path) -> None:
    code = block("python")
    assert code.count("\n") <= 20
    (tmp_path / "example.py").write_text(code)
    done = run([sys.executable, "example.py"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) > 1


def test_fortran(tmp_path: Path) -> None:
    (tmp_path / "example.f90").write_text(block("fortran"))
    (tmp_path / "build").symlink_to(ROOT / "build")
    text = (ROOT / "README.md").read_text()
    command = next(line for line in text.splitlines() if line.startswith("    gfortran "))
    for call in (command, "./a.out"):
        done = run(shlex.split(call), tmp_path)
        assert done.returncode == 0, done.stderr
    left = float(done.stdout.split()[-2])
    assert 0.0 < left < 1000.0
