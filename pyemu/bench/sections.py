"""The sections of the benchmark: what each measures, and the file that they are gathered in.

A section is a run of its own, in which everything takes turns; ratios are taken within one. So they
may be measured one at a time, and the file holds the latest of each.
"""

import json
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from itertools import product
from pathlib import Path
from typing import Any

from pyemu import bench
from pyemu.bench import rivals, roofline
from pyemu.bench.clock import (
    Cells,
    Contender,
    Precision,
    Watch,
    compiler,
    lanes,
    native,
    race,
    reference,
    sets,
)
from pyemu.files import finite, write_json
from pyemu.reference import Config

Found = dict[str, Any]
SUBSTEPS = (1, 2, 4, 15, 30, 60, 240)
_PRECISIONS: tuple[Precision, ...] = ("double", "single")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How much is measured.

    `blocks` are cells of a call, `count` those of a round where a call has no more, `totals` those
    that are gone through in calls of 64, `widths` of three hidden layers; the torch engine takes
    part in `slow` rounds, with `torch_blocks`.
    """

    models: tuple[str, ...] = ("accurate", "learned", "converged")
    rounds: int = 25
    blocks: tuple[int, ...] = (1, 16, 32, 64, 512, 4096, 65536)
    count: int = 8192
    totals: tuple[int, ...] = (512, 4096, 32768, 262144)
    widths: tuple[int, ...] = (16, 32, 64, 128, 256)
    substeps: tuple[int, ...] = SUBSTEPS
    torch_blocks: tuple[int, ...] = (64, 512, 4096, 65536)
    slow: int = 3
    seconds: float = 2.0

    def cells(self, block: int) -> int:
        """Cells of a round in calls of `block`."""
        return max(block, self.count // block * block)


def steps(plan: Plan, watch: Watch = iter) -> Found:
    """Whole steps: M7, the native engine, the torch engine, and Harder's network."""
    contenders: list[Contender] = []
    for block, precision in product(plan.blocks, _PRECISIONS):
        cells = Cells(plan.cells(block), block, precision)
        if precision == "double":
            contenders += [reference(Config(profile=p), p, cells) for p in bench.PROFILES]
        contenders += [native(m, cells, s) for m, s in product(plan.models, sets())]
    for block in plan.torch_blocks:
        contenders += [rivals.torch_engine(m, block, plan.slow) for m in plan.models]
    missing = _try(
        contenders,
        {
            "Harder in torch": lambda: [
                rivals.harder_in_torch(plan.cells(b), b) for b in plan.blocks
            ],
            "Harder in ONNX Runtime": lambda: [
                rivals.onnx_scaled(rivals.Dense(widths=rivals.HARDER), plan.cells(b), b)
                for b in plan.blocks
            ],
        },
    )
    return _rows(contenders, plan.rounds, watch) | {"missing": missing, "count": plan.count}


def _try(
    contenders: list[Contender], makers: Mapping[str, Callable[[], list[Contender]]]
) -> dict[str, str]:
    """Add contenders that can be had; say why the others cannot."""
    missing = {}
    for name, make in makers.items():
        try:
            contenders += make()
        except rivals.Missing as error:
            missing[name] = str(error)
    return missing


def _rows(contenders: Sequence[Contender], rounds: int, watch: Watch, warm: int = 1) -> Found:
    return {"rows": [asdict(cost) for cost in race(contenders, rounds, watch, warm)]}


def _alone(
    network: rivals.Dense,
    each: Sequence[tuple[int, int]],
    contenders: list[Contender],
    closing: list[rivals.Libtorch],
) -> dict[str, str]:
    """Add a network alone, in all engines, in calls of the given cells and blocks."""

    def libtorch() -> list[Contender]:
        made = []
        for cells in {cells for cells, _ in each}:
            closing.append(rivals.Libtorch(network, cells))
            made += [closing[-1].contender(block) for c, block in each if c == cells]
        return made

    contenders += [rivals.own(network, c, b, s)[0] for (c, b), s in product(each, sets())]
    return _try(
        contenders,
        {
            "ONNX Runtime": lambda: [
                one
                for c, b in each
                for one in (rivals.onnx(network, c, b)[0], rivals.onnx_call(c, b))
            ],
            "libtorch": libtorch,
        },
    )


def trunk(plan: Plan, watch: Watch = iter) -> Found:
    """Measure the network of Harder et al. alone, at every size of a call."""
    contenders: list[Contender] = []
    closing: list[rivals.Libtorch] = []
    network = rivals.Dense(widths=rivals.HARDER)
    each = [(plan.cells(block), block) for block in plan.blocks]
    try:
        missing = _alone(network, each, contenders, closing)
        found = _rows(contenders, plan.rounds, watch, warm=3)
    finally:
        for one in closing:
            one.close()
    return found | {"missing": missing, "multiply_adds": network.multiply_adds, **_rates(plan)}


def sizes(plan: Plan, watch: Watch = iter) -> Found:
    """Measure networks of three hidden layers of other widths, in calls of 512."""
    contenders: list[Contender] = []
    closing: list[rivals.Libtorch] = []
    found: Found = {"multiply_adds": {}}
    block = min(512, plan.count)
    ends: list[int] = []
    try:
        for width in plan.widths:
            network = rivals.Dense(widths=(32, width, width, width, 28))
            found["multiply_adds"][str(width)] = network.multiply_adds
            found["missing"] = _alone(network, [(plan.cells(block), block)], contenders, closing)
            ends.append(len(contenders))
        found |= _rows(contenders, plan.rounds, watch, warm=3)
    finally:
        for one in closing:
            one.close()
    for place, row in enumerate(found["rows"]):
        row["width"] = next(w for w, end in zip(plan.widths, ends, strict=True) if place < end)
    return found


def threads(plan: Plan, watch: Watch = iter) -> Found:
    """One core, two, four, ... all: threads that a host has."""
    cores = len(os.sched_getaffinity(0))
    counts = sorted({cores} | {2**i for i in range(12) if 2**i <= cores})
    cells = Cells(plan.cells(64) * 8, 64)
    contenders = []
    for count in counts:
        contenders += [reference(Config(profile=p), p, cells, count) for p in bench.PROFILES]
        contenders += [native(m, cells, threads=count) for m in plan.models]
    return _rows(contenders, plan.rounds, watch)


def cells(plan: Plan, watch: Watch = iter) -> Found:
    """Measure more and more cells in calls of 64: the state leaves the caches."""
    contenders = []
    for total in plan.totals:
        room = Cells(total, 64)
        contenders += [reference(Config(), "ham2", room)]
        contenders += [native(m, room) for m in plan.models]
    return _rows(contenders, plan.rounds, watch)


def parts(plan: Plan, watch: Watch = iter) -> Found:
    """Each part of the step beside its floor."""
    given = roofline.rates(sets()[0], plan.count)
    rows = roofline.parts(plan.models, given, plan.rounds, plan.cells(64), watch=watch)
    return {"rows": [asdict(row) | {"floor": row.floor} for row in rows], "rates": asdict(given)}


def _rates(plan: Plan) -> Found:
    return {"rates": {name: asdict(roofline.rates(name, plan.count)) for name in sets()}}


def accuracy(plan: Plan, watch: Watch = iter) -> Found:
    """Cost of M7 in sub-steps beside that of the models; errors are those of frontier.json."""
    count = max(64, plan.count // 8 // 64 * 64)
    room = Cells(count, 64)
    contenders = [reference(Config(), f"ham2 x {n}", room, substeps=n) for n in plan.substeps]
    contenders += [native(m, room) for m in plan.models]
    return _rows(contenders, max(plan.rounds // 3, 1), watch)


def energy(plan: Plan, watch: Watch = iter) -> Found:
    """Energy of a step with all cores at work, where the processor reports it."""
    if joules() is None:
        return {"rows": [], "missing": {"energy": "not reported by this machine"}}
    cores = len(os.sched_getaffinity(0))
    room = Cells(plan.cells(64) * 8, 64)
    contenders = [reference(Config(), "ham2", room, cores)]
    contenders += [native(m, room, threads=cores) for m in plan.models]
    rows = []
    for one in watch(contenders):
        began, before, rounds = time.perf_counter(), joules(), 0
        while time.perf_counter() - began < plan.seconds:
            one.seconds()
            rounds += 1
        used = (joules() or 0.0) - (before or 0.0)
        rows.append(
            {"name": one.name, "microjoules": used / (rounds * one.cells * one.times) * 1e6}
        )
    return {"rows": rows}


def joules(home: Path = Path("/sys/class/powercap")) -> float | None:
    """Energy that the processors have used so far [J], of RAPL; None where it is not told."""
    total = None
    for domain in sorted(home.glob("intel-rapl:*")):
        try:
            if (domain / "name").read_text().startswith("package"):
                total = (total or 0.0) + int((domain / "energy_uj").read_text()) * 1e-6
        except OSError:
            return None
    return total


SECTIONS: Mapping[str, Callable[[Plan, Watch], Found]] = {
    "steps": steps,
    "trunk": trunk,
    "sizes": sizes,
    "threads": threads,
    "cells": cells,
    "parts": parts,
    "accuracy": accuracy,
    "energy": energy,
}


def machine() -> dict[str, Any]:
    """Tell machine, compilers, options and versions."""
    told: dict[str, Any] = dict(bench.provenance())
    told |= {
        "cores": len(os.sched_getaffinity(0)),
        "sets": {name: lanes(name) for name in sets()},
        "caches": _caches(),
        "engine compiler": f"GCC {compiler()} -O3 -fno-math-errno -ffp-contract=off "
        "-fno-tree-vectorize",
        "python": platform.python_version(),
    }
    for name in ("m7emu", "numpy", "torch", "onnxruntime"):
        try:
            told[name] = version(name)
        except PackageNotFoundError:
            told[name] = "not installed"
    return told


def _caches() -> dict[str, str]:
    found = {}
    for cache in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        level, kind, size = ((cache / n).read_text().strip() for n in ("level", "type", "size"))
        found[f"L{level} {kind.lower()}"] = size
    return found


def measure(
    path: Path,
    wanted: Sequence[str] = tuple(SECTIONS),
    plan: Plan | None = None,
    watch: Callable[[str], Watch] = lambda _: iter,
) -> Found:
    """Measure sections and put each into the file when it is done.

    Parameters
    ----------
    path
        JSON; sections that are there already and not `wanted` stay as they are.
    wanted
        Names of SECTIONS.
    watch
        Gives, for a section's name, what wraps its rounds.

    Raises
    ------
    ValueError
        An unknown section; a file of another machine, or that is none of these.
    """
    unknown = [name for name in wanted if name not in SECTIONS]
    if unknown:
        raise ValueError(f"section {unknown[0]!r}; allowed is {', '.join(SECTIONS)}")
    told = machine()
    found = _former(path, told["machine"])
    for name in wanted:
        loads = [os.getloadavg()[0]]
        began = time.perf_counter()
        section = SECTIONS[name](plan or Plan(), watch(name))
        loads.append(os.getloadavg()[0])
        when = datetime.now(UTC).isoformat(timespec="seconds")
        found["machine"] = told
        found["sections"][name] = finite(section) | {
            "date": when,
            "load": loads,
            "seconds": time.perf_counter() - began,
            "rounds": (plan or Plan()).rounds,
        }
        write_json(path, found)
    return found


def _former(path: Path, here: str) -> Found:
    if not path.exists():
        return {"machine": {}, "sections": {}}
    try:
        found: Found = json.loads(path.read_text())
        there = found["machine"]["machine"]
        found["sections"].items()
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ValueError(f"{path}: not a file that `pyemu bench` wrote; choose another") from None
    if there != here:
        raise ValueError(f"{path} is of {there}, this machine is {here}; choose another file")
    return found
