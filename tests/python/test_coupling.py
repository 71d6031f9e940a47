"""The guide to coupling, docs/coupling.md: its Fortran and its commands work as printed."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import foreign
from numpy.typing import NDArray
from typer.testing import CliRunner

from pyemu.cli import app
from pyemu.states import sample
from pyemu.variables import ENVIRONMENT, PROGNOSTICS, names

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/coupling.md").read_text()
KBDIM, KLEV, BLOCKS = 20, 5, 12
M7 = """
module mo_ham_m7
  use m7_config, only: m7_config_type
  use m7_kinds, only: dp => wp
  use m7_step, only: step
  implicit none
contains
  subroutine m7(kproma, kbdim, klev, krow, papp1, ptp1, prhp1, pso4g, pdso4g, paerml, paernl, &
    pm6rp, pm6dry, prhop, pww, pipr, paclc, ppbl, pforest)
    integer, intent(in) :: kproma, kbdim, klev, krow
    real(dp), intent(in), dimension(kbdim, klev) :: papp1, ptp1, prhp1, pdso4g, pipr, paclc
    real(dp), intent(in) :: ppbl(kbdim), pforest(kbdim)
    real(dp), intent(inout) :: pso4g(kbdim, klev), paerml(kbdim, klev, 18), paernl(kbdim, klev, 7)
    real(dp), intent(inout) :: pm6rp(kbdim, klev, 7), pm6dry(kbdim, klev, 4), prhop(kbdim, klev, 7)
    real(dp), intent(inout) :: pww(kbdim, klev, 7)
    type(m7_config_type) :: config
    integer :: status
    call step(config, kproma, kbdim, klev, 1800.0_dp, papp1, ptp1, prhp1, paclc, pdso4g, pso4g, &
      paerml, paernl, pm6rp, pm6dry, prhop, pww(:, :, :4), status)
    if (status /= 0) error stop 'M7 refused its input'
  end subroutine m7
end module mo_ham_m7
"""
HOST = """
program host
{uses}
  use, intrinsic :: iso_fortran_env, only: dp => real64
  implicit none
  integer, parameter :: kbdim = {kbdim}, klev = {klev}, ngpblks = {blocks}, kproma = kbdim
  integer, parameter :: p_pe = 0, p_nprocs = 1
  real(dp), parameter :: time_step_len = 1800.0_dp
  real(dp), dimension(kbdim, klev) :: papp1, ptp1, prhp1, paclc, pdso4g, pipr, pso4g
  real(dp) :: paerml(kbdim, klev, 18), paernl(kbdim, klev, 7), pm6rp(kbdim, klev, 7)
  real(dp) :: pm6dry(kbdim, klev, 4), prhop(kbdim, klev, 7), pww(kbdim, klev, 7)
  real(dp) :: ppbl(kbdim), pforest(kbdim)
  character(:), allocatable :: message
  integer :: krow, first, status, unit, out
  integer, parameter :: istep = 1
{declare}
  pipr = 0.0_dp; ppbl = 1.0_dp; pforest = 0.0_dp
  pm6rp = 0.0_dp; pm6dry = 0.0_dp; prhop = 0.0_dp; pww = 0.0_dp
  open (newunit=unit, file='states.bin', access='stream', form='unformatted', status='old')
  open (newunit=out, file='{out}', access='stream', form='unformatted', status='replace')
{setup}
  do krow = 1, ngpblks
    first = (krow - 1)*kbdim + 1
    read (unit) papp1, ptp1, prhp1, paclc, pdso4g, pso4g, paerml, paernl
{call}
    write (out) pso4g, paerml, paernl
  end do
{end}
contains
  subroutine finish(where, text)
    character(*), intent(in) :: where, text
    print '(3a)', where, ': ', text
    error stop 1
  end subroutine finish
end program host
"""


def fences(language: str) -> list[str]:
    found: list[str] = re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)
    return found


def compiled(folder: Path, name: str, text: str, *flags: str) -> Path:
    """Build a host as the guide says: the library's Fortran as source."""
    source = folder / f"{name}.f90"
    source.write_text(text)
    given = [ROOT / "fortran/m7emu" / f"{n}.f90" for n in modules()]
    config = ["pkg-config", "--cflags", "--libs", "netcdf-fortran"]
    netcdf = subprocess.run(config, capture_output=True, text=True, check=True).stdout.split()
    build = ROOT / "build/release"
    command: list[str | Path] = [
        "gfortran",
        "-O1",
        *flags,
        *given,
        source,
        f"-I{build}/fortran/m7/libm7.a.p",
    ]
    command += ["-I/usr/include", build / "fortran/m7/libm7.a", f"-L{build}/bridge", "-lm7emu"]
    command += [f"-Wl,-rpath,{build}/bridge", *netcdf, "-o", folder / name]
    done = subprocess.run(
        [*map(str, command)], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return folder / name


def modules() -> list[str]:
    told = re.search(r"Add to your model's build (.*?) from", TEXT, re.DOTALL)
    assert told
    return re.findall(r"`(\w+)\.f90`", told[1])


def states(folder: Path, seed: int) -> None:
    """Write what the host is in, as its blocks read it."""
    given = sample(KBDIM * KLEV * BLOCKS, seed=seed)
    inputs = (*names(ENVIRONMENT)[:5], *names(PROGNOSTICS))
    columns = np.stack([given[name] for name in inputs]).reshape(len(inputs), BLOCKS, KLEV * KBDIM)
    columns.transpose(1, 0, 2).astype(np.float64).tofile(folder / "states.bin")


def run(program: Path) -> NDArray[np.float64]:
    done = subprocess.run(
        [str(program)], cwd=program.parent, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return np.fromfile(program.parent / f"{program.name}.bin")


def test_guide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    used, declared, opened, call, written, closed, uses, setup, check = fences("fortran")
    sizes = {"kbdim": KBDIM, "klev": KLEV, "blocks": BLOCKS}
    recording = HOST.format(
        uses=f"use mo_ham_m7, only: m7\n{used}",
        declare=declared,
        setup=opened.replace("0.01_dp", "0.9_dp"),
        call=call,
        end=written + closed,
        out="recording.bin",
        **sizes,
    )
    host = compiled(tmp_path, "recording", M7 + recording)
    for seed, name in enumerate(("train", "validation", "test")):
        states(tmp_path, seed)
        expected = run(host)
        (tmp_path / "ham_records.nc").rename(tmp_path / f"ham_{name}.nc")
    for number in (1, 2):
        foreign(tmp_path / "ham_test.nc", tmp_path / f"ham_output_{number}.nc")

    monkeypatch.chdir(tmp_path)
    short = {"--rollout 1": "--rollout 0.25 --boxes 20 --threads 1", "--days 1": "--days 0.125"}
    for line in "".join(fences("sh")).splitlines():
        text = line
        for printed, small in short.items():
            text = text.replace(printed, small)
        text = text.replace("pyemu train", "pyemu train --threads 1")
        if text.startswith("pyemu online"):
            text += " --threads 1"
        done = CliRunner().invoke(app, shlex.split(text)[1:], catch_exceptions=False)
        assert done.exit_code == 0, f"{line}\n{done.output}"
    for name in ("ham.safetensors", "report/replayed.nc", "report/report.html"):
        assert (tmp_path / name).stat().st_size > 10_000
    assert (tmp_path / "online/report.html").exists()

    for namelist in fences("nml"):
        (tmp_path / "host.nml").write_text(namelist.replace("days = 1", "days = 0.125"))
        host_run = [str(ROOT / "build/release/fortran/host/m7emu-host"), "host.nml"]
        done_host = subprocess.run(host_run, capture_output=True, text=True, check=False)
        assert done_host.returncode == 0, done_host.stderr
    told = subprocess.run(
        [sys.executable, "-c", fences("python")[0]], capture_output=True, text=True, check=True
    )
    numbers = {line.split()[0]: float(line.split()[1]) for line in told.stdout.splitlines()}
    # The model is M7's own formulas: no tendency differs by much, and no cell is unknown to it.
    assert 0.0 < numbers["num_ks"] < 1e-3
    assert numbers["fine"] == 48 * 24 * 19 * 6
    assert numbers["outside"] == 0

    emulating = HOST.format(
        uses=uses,
        declare="",
        setup=setup,
        call=call_of(call),
        end=check,
        out="emulating.bin",
        **sizes,
    )
    found = run(compiled(tmp_path, "emulating", emulating))
    # The engine's own formulas are good to some 1e-5, or 1e-4 where particles nucleate; no network
    # learned any here.
    assert np.allclose(found, expected, rtol=1e-4, atol=1e-6)
    before = np.fromfile(tmp_path / "states.bin").reshape(BLOCKS, -1)[:, 5 * KBDIM * KLEV :]
    assert not np.allclose(expected, before.ravel(), rtol=1e-2, atol=1e-6)


def test_errors_of_other_threads_are_told(tmp_path: Path) -> None:
    used, setup, check = fences("fortran")[-3:]
    shutil.copy(ROOT / "tests/abi/ham2.safetensors", tmp_path / "ham.safetensors")
    states(tmp_path, 0)
    call = call_of(fences("fortran")[3]).replace("kproma", "kproma + omp_get_thread_num()", 1)
    text = HOST.format(
        uses=f"use omp_lib, only: omp_get_thread_num\n{used}",
        declare="",
        setup=setup,
        call=f"!$omp parallel num_threads(2)\n{call}!$omp end parallel",
        end=check,
        out="threads.bin",
        kbdim=KBDIM,
        klev=KLEV,
        blocks=BLOCKS,
    )
    program = compiled(tmp_path, "threads", text, "-fopenmp")
    done = subprocess.run([program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    told = f"m7_interface: m7emu_step: kproma is {KBDIM + 1}, expected 0 to kbdim, which is {KBDIM}"
    assert done.stdout.strip() == told


def call_of(text: str) -> str:
    """Take the call of M7 alone, without the recorder around it."""
    kept = re.search(r"call m7\(.*?\)\n", text, re.DOTALL)
    assert kept
    return kept[0]
