"""The examples in the README run as printed."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "README.md").read_text()
SCRIPTS = Path(sys.executable).parent


def blocks(language: str) -> list[str]:
    found: list[str] = re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)
    assert found
    return found


def run(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, check=False, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("code", blocks("python"))
def test_python(code: str, tmp_path: Path) -> None:
    assert code.count("\n") <= 20
    (tmp_path / "example.py").write_text(code)
    assert run([sys.executable, "example.py"], tmp_path)


def test_fortran(tmp_path: Path) -> None:
    (code,) = blocks("fortran")
    (tmp_path / "example.f90").write_text(code)
    (tmp_path / "build").symlink_to(ROOT / "build")
    command = next(line for line in TEXT.splitlines() if line.startswith("    gfortran -Ibuild"))
    run(shlex.split(command), tmp_path)
    left = float(run(["./a.out"], tmp_path).split()[-2])
    assert 0.0 < left < 1000.0


def test_shell(tmp_path: Path) -> None:
    """The chain as printed, but for fewer cells and steps."""
    code = "".join(blocks("sh"))
    (tmp_path / "short.toml").write_text("forms_steps = 20\nstep_steps = 2\n")
    for line in code.splitlines():
        name, *words = shlex.split(re.sub(r"--count \d+", "--count 2000", line))
        words += ["--config", "short.toml"] if words[0] == "train" else []
        run([str(SCRIPTS / name), *words], tmp_path)
    for name in ("evaluate.png", "replayed.nc", "report.html"):
        assert (tmp_path / "report" / name).exists()
