"""One slab of a replay: read, checked, stepped, and what is kept of it to judge the model."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from dask.utils import SerializableLock
from numpy.typing import NDArray

from pyemu.emulator import Emulator, load
from pyemu.lessons import SCORED
from pyemu.metrics import closure
from pyemu.records import WATERS
from pyemu.slabs import INPUTS, Missing, StateFile, Where
from pyemu.variables import DIAGNOSTICS, ENVIRONMENT, PROGNOSTICS, SPECIES, names

Array = NDArray[np.float64]
Fields = dict[str, NDArray[Any]]

STATES, SEEN = names(PROGNOSTICS), names(DIAGNOSTICS)
LEFT_OUT = -1
"""Flag of a cell with missing values."""
LOCK = SerializableLock("m7emu-netcdf")
"""Held while netCDF is used, which knows no threads; one for each process."""
ROLES = ("timestep", "regime", "flag", "uncertainty")
"""Columns that are kept as `of_<name>`."""


@dataclass(frozen=True, kw_only=True)
class How:
    """Through what a slab goes: as of `pyemu.replay.Replay`; `share` of the cells is kept [1]."""

    model: Path
    device: str
    missing: Missing
    tendencies: bool
    share: float


def piece(
    how: How, file: StateFile, where: Where, seed: int, threads: int = 1
) -> tuple[Fields, Fields]:
    """Replay a slab.

    Returns
    -------
    fields
        What is written (cells,).
    kept
        Counts, and of a random share of the cells what judges them.
    """
    with LOCK, file.open() as raw:
        values = file.read(raw, where)
        lost = file.check(raw, where, values, how.missing)
    there = np.flatnonzero(~lost)
    some = {name: column[there] for name, column in values.items()} if lost.any() else values
    after = stepped(_loaded(how.model, how.device), some, threads) if len(there) else {}
    fields: Fields = {}

    def put(name: str, told: NDArray[Any], nothing: float = math.nan) -> None:
        fields[name] = told
        if lost.any():
            fields[name] = np.full(len(lost), nothing, told.dtype)
            fields[name][there] = told

    none = np.empty(0)
    for name in (*STATES, *SEEN):
        put(f"{name}_after", after.get(name, none))
    put("uncertainty", after.get("uncertainty", none))
    put("flag", after.get("flag", none).astype(np.int8), LEFT_OUT)
    if how.tendencies:
        for name in STATES:
            told = (after[name] - some[name]) / some["timestep"] if len(there) else none
            put(f"{name}_tendency", told)
    kept: Fields = {
        "flags": np.bincount(after.get("flag", none).astype(np.int64), minlength=4),
        "negatives": np.array([int(after["negatives"].sum()) if len(there) else 0]),
        "missing": np.array([int(lost.sum())]),
        "closure": _closure(some, after),
    }
    if file.pairs:
        draw = np.random.default_rng([seed]).random(len(there)) < how.share
        kept["environment"] = _matrix(some, names(ENVIRONMENT), draw)
        kept["before"] = _matrix(some, STATES, draw)
        kept["truth"] = _matrix(some, [f"{n}_after" for n in STATES], draw)
        if all(f"{n}_after" in some for n in WATERS):
            kept["water"] = _matrix(some, [f"{n}_after" for n in WATERS], draw)
        kept["after"] = _matrix(after, SCORED, draw)
        roles = {**some, **{n: after.get(n, none) for n in ("flag", "uncertainty")}}
        kept |= {f"of_{n}": roles[n][draw] for n in ROLES if n in roles}
    return fields, kept


def stepped(
    emulator: Emulator, values: Mapping[str, Array], threads: int = 1
) -> dict[str, NDArray[Any]]:
    """Step cells (n,) of any timesteps; as `Emulator.step`, and `timestep` [s]."""
    found: Fields = {}
    for timestep in np.unique(values["timestep"]):
        some = np.flatnonzero(values["timestep"] == timestep)
        part = slice(None) if len(some) == len(values["timestep"]) else some
        after = emulator.step(
            {n: values[n][part] for n in INPUTS}, float(timestep), threads=threads
        )
        if isinstance(part, slice):
            return after
        for name, column in after.items():
            found.setdefault(name, np.empty(len(values["timestep"]), column.dtype))[some] = column
    return found


@lru_cache(maxsize=2)
def _loaded(path: Path, device: str) -> Emulator:
    return load(path, device)


def _matrix(values: Mapping[str, Array], wanted: Iterable[str], some: NDArray[np.bool_]) -> Array:
    columns = [values[name][some] for name in wanted if name in values]
    return np.stack(columns, axis=1) if columns else np.empty((0, len(tuple(wanted))))


def _closure(before: Mapping[str, Array], after: Mapping[str, Array]) -> Array:
    """Largest relative error of each species' budget (5,)."""
    worst = np.zeros(len(SPECIES))
    if not after:
        return worst
    for timestep in np.unique(before["timestep"]):
        some = before["timestep"] == timestep
        given = {n: np.maximum(before[n][some], 0.0) for n in STATES}
        given["h2so4_production"] = before["h2so4_production"][some]
        found = closure(given, {n: after[n][some] for n in STATES}, float(timestep))
        worst = np.maximum(worst, [found[s].max(initial=0.0) for s in names(SPECIES)])
    return worst
