"""Replay: an emulator steps the states of netCDF files, offline, and is judged where M7 is known.

Files are read in slabs (`pyemu.slabs`) and the output is filled slab by slab, in constant memory,
beside the place it will have; a run that is killed goes on where it was. The output has the input's
dimensions and coordinates; variables are named as in records: `<name>_after`.
"""

import json
import shutil
import zipfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from glob import glob, has_magic
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
from numpy.typing import NDArray

from pyemu import mapping
from pyemu.evaluate import Scores, score
from pyemu.files import check_target, replaced, write_json
from pyemu.modelfile import digest, read
from pyemu.records import WATERS, Cells
from pyemu.replaycells import LOCK, ROLES, STATES, Fields, How, piece
from pyemu.replayfile import create
from pyemu.slabs import Missing, StateFile, Where, check_alike, open_states, slabs
from pyemu.steps import Stepped
from pyemu.variables import SPECIES, names

Array = NDArray[np.float64]
Watch = Callable[[Sequence[Any]], Iterable[Any]]

SLAB = 131_072
"""Cells in memory at a time."""


@dataclass(frozen=True, kw_only=True)
class Replay:
    """What is replayed, through what, to where.

    Parameters
    ----------
    model
        Model file.
    inputs
        netCDF files, each following the one before along the first dimension.
    output
        The emulated fields.
    map
        Of foreign names and units: a file or a shipped map's name; None reads our own names.
    timestep
        [s]; None takes the map's or the files'.
    tendencies
        Write tendencies [unit s-1], too.
    missing
        "refuse" a missing value, or "keep" such cells missing.
    judged
        Cells at most, drawn at random, that are kept for the score.
    slab
        Cells in memory at a time.
    device
        As of `pyemu.load`.

    Raises
    ------
    ValueError
        A value out of range.
    """

    model: Path
    inputs: tuple[Path, ...]
    output: Path
    map: str | Path | None = None
    timestep: float | None = None
    tendencies: bool = False
    missing: Missing = "refuse"
    judged: int = 100_000
    slab: int = SLAB
    device: str = "cpu"

    def __post_init__(self) -> None:
        if not self.inputs:
            raise ValueError("no file is given")
        if self.timestep is not None and not self.timestep > 0.0:
            raise ValueError(f"timestep = {self.timestep}; allowed is (0, inf) s")
        for name in ("judged", "slab"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} = {getattr(self, name)}; allowed is [1, inf)")
        if self.output.resolve() in {path.resolve() for path in self.inputs}:
            raise ValueError(f"{self.output} is an input, too")

    def files(self) -> list[StateFile]:
        """Look into all files; ValueError names the one that cannot be replayed, and why."""
        chosen = mapping.plain() if self.map is None else mapping.read_map(self.map)
        if self.timestep is not None:
            chosen = replace(chosen, timestep=self.timestep)
        found = [open_states(path, chosen, self.map is None) for path in self.inputs]
        check_alike(found)
        return found

    @property
    def folder(self) -> Path:
        """Where a run keeps what it has done until the output is whole."""
        return self.output.absolute().parent / f".{self.output.name}.parts"


@dataclass(frozen=True, kw_only=True)
class Done:
    """What was replayed: `facts` as JSON takes them; cells and scores where M7 is known."""

    facts: dict[str, Any]
    cells: Cells | None = None
    stepped: Stepped | None = None
    scores: Scores | None = None


def expand(patterns: Iterable[str]) -> tuple[Path, ...]:
    """Find the files of names and globs, those of a glob by name; ValueError if there are none."""
    found: list[Path] = []
    for pattern in patterns:
        some = sorted(glob(pattern, recursive=True)) if has_magic(pattern) else [pattern]  # noqa: PTH207
        if not some:
            raise ValueError(f"{pattern}: no file is called so")
        found += map(Path, some)
    return tuple(dict.fromkeys(found))


def replay(plan: Replay, *, threads: int = 1, dask: str | None = None, watch: Watch = iter) -> Done:
    """Step all states and write what comes out, going on from what a killed run left.

    Parameters
    ----------
    threads
        Of the native engine, 0 for all cores.
    dask
        Address of a `dask.distributed` scheduler whose workers see the same files; None works here.
    watch
        Wraps the slabs, to show progress.

    Raises
    ------
    ValueError
        Bad input by file, variable, place and value; parts of another run beside the output.
    OSError
        A file or the model cannot be read or written.
    """
    check_target(plan.output)
    files = plan.files()
    _begin(plan, files)
    work = [(n, where) for n, file in enumerate(files) for where in slabs(file, plan.slab)]
    cells = sum(file.cells for file in files)
    how = How(
        model=plan.model,
        device=plan.device,
        missing=plan.missing,
        tendencies=plan.tendencies,
        share=min(1.0, plan.judged / cells),
    )
    todo = [k for k in range(len(work)) if not _part(plan, k).exists()]
    first = np.cumsum([0, *(next(iter(file.sizes.values())) for file in files)])
    joined = next(iter(files[0].sizes))
    with closing(netCDF4.Dataset(plan.folder / "whole.nc", "a")) as out:
        out.set_auto_mask(False)
        made = (
            _here(how, files, work, todo, threads)
            if dask is None
            else _there(how, files, work, todo, dask)
        )
        for k in watch(todo):
            number, where = work[k]
            fields, kept = next(made)
            begin = int(first[number])
            place = dict(where)
            place[joined] = slice(where[joined].start + begin, where[joined].stop + begin)
            spot = tuple(place[d] for d in files[number].sizes)
            shape = tuple(s.stop - s.start for s in spot)
            with LOCK:
                for name, values in fields.items():
                    out[name][spot] = values.reshape(shape)
                out.sync()
            with replaced(_part(plan, k)) as temporary:
                np.savez(temporary, allow_pickle=False, **kept)
    done = _finish(plan, files, [_part(plan, k) for k in range(len(work))])
    (plan.folder / "whole.nc").replace(plan.output)
    shutil.rmtree(plan.folder)
    return done


def told(facts: Mapping[str, Any]) -> str:
    """Say in a few lines what was replayed."""
    fine, beyond, outside, invalid = facts["flags"]
    lines = [
        f"{facts['cells']} cells: {fine} fine, {beyond} extrapolating, {outside} outside, "
        f"{invalid} invalid, {facts['missing']} missing",
        f"largest error of a budget: {max(facts['closure'].values()):.1e}",
    ]
    if facts["negative_inputs"]:
        lines.append(f"negative inputs taken as 0: {facts['negative_inputs']}")
    if facts["defaults"]:
        lines.append(f"not in the files, hence as without: {', '.join(facts['defaults'])}")
    if "evaluation" not in facts:
        lines.append("no score: the files have no state after the step")
    elif not facts["evaluation"]["water_judged"]:
        lines.append("water is not judged: the files have none after the step")
    return "\n".join(lines)


def _begin(plan: Replay, files: Sequence[StateFile]) -> None:
    """Make the folder and the empty output, or find those of the same run."""
    told = json.loads(json.dumps(asdict(plan), default=str)) | {
        "model_digest": digest(plan.model),
        "files": [[str(f.path), f.path.stat().st_size, f.path.stat().st_mtime_ns] for f in files],
        "read": json.loads(json.dumps(asdict(files[0].chosen), default=str)),
    }
    index = plan.folder / "index.json"
    plan.folder.mkdir(exist_ok=True)
    if index.exists() and json.loads(index.read_text()) != told:
        raise ValueError(
            f"{plan.folder} holds parts of another run; repeat its options or delete it"
        )
    if not index.exists():
        try:
            with replaced(plan.folder / "whole.nc") as temporary:
                create(temporary, files, plan.model, tendencies=plan.tendencies)
        except (OSError, ValueError):
            shutil.rmtree(plan.folder)
            raise
        write_json(index, told)


def _here(
    how: How,
    files: Sequence[StateFile],
    work: Sequence[tuple[int, Where]],
    todo: Sequence[int],
    threads: int,
) -> Iterator[tuple[Fields, Fields]]:
    for k in todo:
        number, where = work[k]
        yield piece(how, files[number], where, k, threads)


def _there(
    how: How,
    files: Sequence[StateFile],
    work: Sequence[tuple[int, Where]],
    todo: Sequence[int],
    address: str,
) -> Iterator[tuple[Fields, Fields]]:
    """Slabs in order, worked on by a cluster: few at a time, so that none has to be kept."""
    try:
        from distributed import Client
    except ImportError:
        raise ValueError("--dask needs the package distributed") from None
    with Client(address) as client:  # type: ignore[no-untyped-call]
        waiting: deque[Any] = deque()
        ahead = 2 * max(1, len(client.scheduler_info()["workers"]))
        for k in todo:
            number, where = work[k]
            waiting.append(client.submit(piece, how, files[number], where, k, pure=False))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _part(plan: Replay, k: int) -> Path:
    return plan.folder / f"slab_{k:06d}.npz"


def _finish(plan: Replay, files: Sequence[StateFile], parts: Sequence[Path]) -> Done:
    """Put counts and what was kept of the cells together, and judge."""
    told: dict[str, list[NDArray[Any]]] = {}
    for path in parts:
        try:
            with np.load(path) as kept:
                for name in kept.files:
                    told.setdefault(name, []).append(kept[name])
        except zipfile.BadZipFile as error:
            raise ValueError(f"{path}: {error}; delete it and go on") from None
    flags = np.sum(told["flags"], axis=0)
    facts: dict[str, Any] = {
        "model_file": str(plan.model),
        "teacher": read(plan.model).teacher,
        "inputs": [str(f.path.resolve()) for f in files],
        "output": str(plan.output.resolve()),
        "map": None if plan.map is None else str(plan.map),
        "timestep": plan.timestep,
        "cells": sum(f.cells for f in files),
        "sizes": dict(files[0].sizes),
        "missing": int(np.sum(told["missing"])),
        "flags": flags.tolist(),
        "negative_inputs": int(np.sum(told["negatives"])),
        "closure": dict(
            zip(names(SPECIES), map(float, np.max(told["closure"], axis=0)), strict=True)
        ),
        "defaults": list(files[0].defaults),
    }
    if not files[0].pairs:
        return Done(facts=facts)
    column = {name: np.concatenate(values) for name, values in told.items() if name in _KEPT}
    if not len(column["before"]):
        return Done(facts=facts)
    cells, after = _cells(column)
    expected = column["of_uncertainty"]
    given = Stepped(
        after=after,
        flags=column["of_flag"].astype(np.int64),
        uncertainty=expected if expected.any() else None,
    )
    scores = score(cells, given, read(plan.model).self_error)
    evaluation = scores.facts() | {"water_judged": "water" in column}
    return Done(facts=facts | {"evaluation": evaluation}, cells=cells, stepped=given, scores=scores)


_KEPT = {"environment", "before", "truth", "water", "after", *(f"of_{n}" for n in ROLES)}


def _cells(column: Mapping[str, Array]) -> tuple[Cells, Array]:
    """Make records of the kept cells; where water is not known, it counts as right: no tendency."""
    after = column["after"].copy()
    water = column.get("water")
    if water is None:
        water = np.zeros((len(after), len(WATERS)))
        after[:, len(STATES) :] = 0.0
    regime = column.get("of_regime")
    cells = Cells(
        environment=column["environment"],
        before=column["before"],
        after=column["truth"],
        timestep=column["of_timestep"],
        water_after=water,
        regime=None if regime is None else regime.astype(np.int64),
    )
    return cells, after
