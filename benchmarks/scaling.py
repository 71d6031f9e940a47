"""How the host scales: runs it on 1 and 2 ranks, and reckons T63L47 from what was measured.

Costs are processor time, which other work on the machine hardly changes; speed-ups are by the wall.

python benchmarks/scaling.py --model pyemu/models/accurate.safetensors --json scaling.json
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import xarray as xr

ROOT = Path(__file__).parents[1]
HOST = ROOT / "build/release/fortran/host/m7emu-host"
TRACERS, HALO, WORD = 28, 2, 8
T63 = (192, 96, 47)
ALONE = 0.013
"""Share of the host's work that one thread of a rank does for all (perf, 48 x 24 x 19 cells)."""
LATENCY, BANDWIDTH = 5e-6, 10e9
"""Of a network, assumed [s, bytes s-1]."""

Grid = tuple[int, int, int]


def run(grid: Grid, steps: int, ranks: int, microphysics: str, model: Path) -> dict[str, float]:
    """Run once: seconds by component over ranks, by the wall and of processors, and bytes sent."""
    nlon, nlat, nlev = grid
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "scaling.nml").write_text(
            f"&run\n days = {steps / 48}\n threads = 1\n/\n"
            f"&grid\n nlon = {nlon}\n nlat = {nlat}\n nlev = {nlev}\n/\n"
            f"&physics\n microphysics = '{microphysics}'\n emulator_file = '{model}'\n/\n"
            f"&output\n file = 'scaling.nc'\n mean = 'none'\n interval = {steps / 2}\n/\n"
        )
        launcher = [shutil.which("mpirun") or "mpirun", "-n", str(ranks)] if ranks > 1 else []
        root = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        began = time.perf_counter()
        subprocess.run(
            [*launcher, str(HOST), "scaling.nml"],
            cwd=folder,
            env=os.environ | root,
            check=True,
            capture_output=True,
        )
        wall = time.perf_counter() - began
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        found = {"wall": wall, "cpu": after.ru_utime - before.ru_utime}
        with xr.open_dataset(folder / "scaling.nc") as data:
            names = [row.decode().strip() for row in data.component_name.values]
            found |= dict(zip(names, map(float, data.component_seconds.values), strict=True))
            found["bytes"] = float(data.exchanged_bytes)
    return found


def per_step(
    grid: Grid, ranks: int, microphysics: str, model: Path, times: int
) -> dict[str, float]:
    """Everything per step, without start and end: the least of several runs, long less short."""
    short, long = 12, 60
    least = []
    for steps in (short, long):
        runs = [run(grid, steps, ranks, microphysics, model) for _ in range(times)]
        least.append({name: min(one[name] for one in runs) for name in runs[0]})
    return {name: (least[1][name] - least[0][name]) / (long - short) for name in least[0]}


def cell_costs(found: dict[str, float], grid: Grid) -> dict[str, float]:
    """Processor seconds per cell and step: microphysics, transport, and the rest of the host."""
    cells = grid[0] * grid[1] * grid[2]
    beside = {"wall", "cpu", "bytes", "exchange", "output", "shadow"}
    parts = {name: value for name, value in found.items() if name not in beside}
    one = found["cpu"] / cells / sum(parts.values())
    costs = {name: parts.pop(name) * one for name in ("microphysics", "transport")}
    return costs | {"rest": sum(parts.values()) * one}


def halo_bytes(grid: Grid) -> int:
    """Count what a rank sends in a step: two rows of all tracers, to either neighbour."""
    return 2 * HALO * grid[0] * grid[2] * TRACERS * WORD


def step_seconds(grid: Grid, ranks: int, threads: int, microphysics: float, host: float) -> float:
    """Wall time of a step [s] from costs per cell [s]; the formula of `scaling.md`."""
    rows = -(-grid[1] // ranks)
    cells = grid[0] * rows * grid[2]
    exchange = 0.0 if ranks == 1 else 2 * LATENCY + halo_bytes(grid) / BANDWIDTH
    return cells * ((host * (1 - ALONE) + microphysics) / threads + host * ALONE) + exchange


def main() -> None:
    """Measure, and print a table and JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=ROOT / "pyemu/models/accurate.safetensors")
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    model, small = options.model.resolve(), (48, 24, 19)
    found: dict[str, object] = {"load": os.getloadavg()[0], "cores": os.cpu_count()}
    costs = {}
    for name in ("m7", "emulator"):
        one = per_step(small, 1, name, model, options.times)
        two = per_step(small, 2, name, model, options.times)
        wide = per_step((48, 48, 19), 2, name, model, options.times)
        costs[name] = cell_costs(one, small)
        if two["bytes"] != halo_bytes(small):  # two ranks with one neighbour each
            raise SystemExit(f"{two['bytes']} bytes were sent, not {halo_bytes(small)}")
        found[name] = {
            "cost": costs[name],
            "wall": {"1": one["wall"], "2": two["wall"], "2, twice the rows": wide["wall"]},
            "bytes": two["bytes"],
        }
        print(name, {key: f"{1e6 * value:.3f} us" for key, value in costs[name].items()})
        print(f"  strong 1 -> 2 ranks: {one['wall'] / two['wall']:.2f} times as fast")
        print(f"  weak 1 -> 2 ranks: {one['wall'] / wide['wall']:.2f} of the speed")
    table = []
    for ranks, threads in ((1, 1), (8, 1), (48, 1), (48, 4), (48, 10), (48, 20)):
        row: list[float] = [ranks, threads]
        for name in ("m7", "emulator"):
            host = costs[name]["transport"] + costs[name]["rest"]
            row.append(step_seconds(T63, ranks, threads, costs[name]["microphysics"], host))
        table.append(row)
        print(f"T63L47 on {ranks * threads} cores: " + ", ".join(f"{x:.3g} s" for x in row[2:]))
    found["t63l47"] = table
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
