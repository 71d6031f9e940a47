"""The host for a year with M7 and with each emulator from the same start; writes year.md.

python benchmarks/year.py             # goes on where it was; hours on one core
python benchmarks/year.py --page      # only evaluates what is there

Every run is cut into months that restart from one another, so a kill at any moment costs a month.
"""

import argparse
import hashlib
import json
import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import year_page

from pyemu.climate import QUANTITIES
from pyemu.online import executable

ROOT = Path(__file__).parents[1]
MODELS = ROOT / "pyemu/models"
GRID = (24, 12, 12)
COARSE = (12, 8, 12)
"""Of the ten years, and of the year with 240 sub-steps."""
TIMESTEP = 1800.0
MONTH = 365.0 / 12.0
"""Days; 1460 timesteps."""
SUBSTEPS = 30
FIELDS = (*QUANTITIES, "surface_pressure", "burden_h2so4", "burden_so2", "burden_dms")


@dataclass(frozen=True, kw_only=True)
class Case:
    """A run: what is in the slot, the climate, and how long.

    Parameters
    ----------
    name
        Of its folder.
    model
        Shipped model; none is M7.
    substeps
        Of M7.
    warming
        [K]
    emissions
        What people emit, of today's [1].
    start
        Case whose last state it takes; none starts with the host's analytic state.
    months
        Length.
    grid
        Longitudes, latitudes, levels.
    """

    name: str
    model: str = ""
    substeps: int = 1
    warming: float = 0.0
    emissions: float = 1.0
    start: str = "spin_up"
    months: int = 12
    grid: tuple[int, int, int] = GRID


CASES = (
    Case(name="spin_up", start=""),
    Case(name="m7"),
    Case(name="accurate", model="accurate"),
    Case(name="converged", model="converged"),
    Case(name="fast", model="fast", months=1),
    Case(name="substeps", substeps=SUBSTEPS),
    Case(name="double_m7", emissions=2.0),
    Case(name="double_accurate", model="accurate", emissions=2.0),
    Case(name="coarse", start="", months=3, grid=COARSE),
    *(
        Case(
            name=f"near_{name}",
            model=model,
            substeps=substeps,
            start="coarse",
            grid=COARSE,
        )
        for name, model, substeps in (
            ("m7", "", 1),
            ("converged", "converged", 1),
            ("substeps", "", SUBSTEPS),
            ("240", "", 240),
        )
    ),
    Case(name="warm_m7", warming=4.0),
    Case(name="warm_accurate", model="accurate", warming=4.0),
    Case(name="decade", model="accurate", start="", months=120, grid=COARSE),
    Case(name="learned", model="learned"),
    Case(name="warm_learned", model="learned", warming=4.0),
    Case(name="double_learned", model="learned", emissions=2.0),
)
"""In the order in which they are run. `fast` is run for the month that shows whether it makes other
bits than `accurate`."""


def namelist(case: Case, folder: Path, month: int) -> str:
    """Text of the namelist of a month, counted from 1."""
    if month > 1:
        start = f"  restart_from = '{restart(folder / case.name, month - 1)}'\n"
    elif case.start:
        last = next(each.months for each in CASES if each.name == case.start)
        start = f"  restart_from = '{restart(folder / case.start, last)}'\n  branch = .true.\n"
    else:
        start = ""
    slot = f"  microphysics = 'm7'\n  substeps = {case.substeps}\n"
    if case.model:
        path = MODELS / f"{case.model}.safetensors"
        slot = f"  microphysics = 'emulator'\n  emulator_file = '{path}'\n"
    fields = ", ".join(f"'{name}'" for name in FIELDS)
    return (
        f"&run\n  start_day = 1\n  days = {MONTH:.12f}\n  timestep = {TIMESTEP}\n"
        "  threads = 1\n"
        f"  restart = '{restart(folder / case.name, month)}'\n{start}/\n"
        f"&grid\n  nlon = {case.grid[0]}\n  nlat = {case.grid[1]}\n  nlev = {case.grid[2]}\n/\n"
        f"&physics\n{slot}  warming = {case.warming}\n  emission_scale = {case.emissions}\n/\n"
        f"&output\n  file = '{output(folder / case.name, month)}'\n"
        f"  interval = {round(MONTH * 24)}\n  mean = {fields}\n/\n"
    )


def restart(folder: Path, month: int) -> Path:
    """Name the state at the end of a month."""
    return folder / f"{month:03d}.restart.nc"


def output(folder: Path, month: int) -> Path:
    """Name the output of a month; it is there when the month is done."""
    return folder / f"{month:03d}.nc"


def run(case: Case, folder: Path) -> Iterator[tuple[int, float]]:
    """Run the months that are not there; give each month and its seconds of processor.

    Raises
    ------
    ChildProcessError
        The host failed; what it said is in the message.
    """
    here = folder / case.name
    here.mkdir(parents=True, exist_ok=True)
    forget_others(case, here)
    for month in range(1, case.months + 1):
        if output(here, month).exists():
            continue
        text = here / "host.nml"
        text.write_text(namelist(case, folder, month))
        before = os.times().children_user
        done = subprocess.run([executable(), text], capture_output=True, text=True, check=False)
        spent = os.times().children_user - before
        if done.returncode != 0:
            raise ChildProcessError(f"{case.name}, month {month}: {done.stderr.strip()}")
        output(here, month).with_suffix(".json").write_text(json.dumps({"seconds": spent}))
        if month > 1:
            restart(here, month - 1).unlink(missing_ok=True)
        yield month, spent


def forget_others(case: Case, here: Path) -> None:
    """Remove the months of a run with other settings or another model of the same name."""
    facts = asdict(case) | {"timestep": TIMESTEP}
    facts.pop("months")
    if case.model:
        model = MODELS / f"{case.model}.safetensors"
        facts["sha256"] = hashlib.sha256(model.read_bytes()).hexdigest()
    told, known = json.dumps(facts, indent=2), here / "case.json"
    if known.exists() and known.read_text() != told:
        for path in (*here.glob("*.nc"), *here.glob("[0-9]*.json")):
            path.unlink()
    known.write_text(told)


def main() -> None:
    """Run, evaluate, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--folder", type=Path, default=ROOT / "build/year", help="of the runs")
    parser.add_argument("--page", action="store_true", help="run nothing")
    parser.add_argument("--only", nargs="+", choices=[case.name for case in CASES], help="cases")
    asked = parser.parse_args()
    os.nice(10)
    folder = asked.folder.resolve()
    for case in CASES:
        if asked.page or (asked.only and case.name not in asked.only):
            continue
        for month, seconds in run(case, folder):
            clock = time.strftime("%H:%M:%S")
            print(f"{clock}  {case.name}, month {month}: {seconds:.1f} s of processor", flush=True)
        year_page.write(folder, CASES, ROOT / "benchmarks")
    year_page.write(folder, CASES, ROOT / "benchmarks")


if __name__ == "__main__":
    main()
