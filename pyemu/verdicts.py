"""Which block of M7 an error comes from: each is judged where it alone acts.

The reference's process-split labels say who moved what. An entry (a variable of a cell) belongs to
a block that made nearly all of its change, and counts only where switching off an earlier block
that is known to be wrong would not change it. Water, radii and densities are judged on the
recorded state after the step, whatever led there.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pyemu.blocks.modes import ABOVE, COATED, SOLUBLE_NAMES
from pyemu.candidates import Teacher
from pyemu.evidence import STATES, Columns, Evidence
from pyemu.variables import SPLIT, names

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

PROCESSES = ("condensation", "nucleation", "coagulation", "ageing", "merging")
"""Blocks that move something, in M7's order; coagulation with its number and mass equations."""
_PURE, _FAIR = 0.999, 2e-3
"""Share of an entry's change that is the block's own, and error that the rest may make of it."""
_GOOD = 0.9
"""Share of entries that must agree."""
_FEWEST = 20


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Whether a block's exact form reproduces the records.

    `reproduced` is None where they cannot tell; `error` the median relative error of the `entries`
    in which the block alone acts, `agree` the share of them that agree.
    """

    reproduced: bool | None
    error: float
    agree: float
    entries: int

    @property
    def word(self) -> str:
        """In words."""
        known = {None: "cannot tell", True: "reproduced", False: "not reproduced"}
        return known[self.reproduced]


def verdicts(evidence: Evidence, teacher: Teacher) -> dict[str, Verdict]:
    """Judge all blocks, water and sizes first, then in M7's order."""
    looks = evidence.look(teacher.config)
    found = {"properties": _seen(evidence, looks, ("dry_radius",))}
    found["water"] = _seen(evidence, looks, ("water", "wet_radius", "density"))
    wrong = ["water"] if found["water"].reproduced is False else []
    after = evidence.predict(teacher, split=True)
    state = _matrix(after)
    error, doubt = evidence.relative(state)
    owners = _owners(after)
    fixed: dict[str, Mask] = {}
    for block in PROCESSES:
        own = owners[block] & (doubt < 0.1)
        for other in wrong:
            if other not in fixed:
                fixed[other] = _insensitive(evidence, teacher, other, state)
            own &= fixed[other]
        found[block] = _verdict(error[own], np.maximum(3.0 * doubt[own], _FAIR))
        if "water" in wrong and found[block].reproduced is False:  # sizes may be to blame
            found[block] = replace(found[block], reproduced=None)
        if found[block].reproduced is False:
            wrong.append(block)
    return found


def _seen(evidence: Evidence, looks: Columns, kinds: tuple[str, ...]) -> Verdict:
    """Judge diagnostics of the recorded state."""
    pairs = [
        evidence.look_error(looks[name], truth)
        for name, truth in evidence.seen.items()
        if name.rsplit("_", 1)[0] in kinds and name.rsplit("_", 1)[1] in SOLUBLE_NAMES
    ]
    error = np.concatenate([e for e, _ in pairs]) if pairs else np.empty(0)
    doubt = np.concatenate([d for _, d in pairs]) if pairs else np.empty(0)
    clear = doubt < 0.1
    return _verdict(error[clear], np.maximum(3.0 * doubt[clear], _FAIR))


def _verdict(error: Array, allowed: Array) -> Verdict:
    if len(error) < _FEWEST:
        return Verdict(reproduced=None, error=0.0, agree=0.0, entries=len(error))
    agree = float((error <= allowed).mean())
    return Verdict(
        reproduced=agree >= _GOOD,
        error=float(np.median(error)),
        agree=agree,
        entries=len(error),
    )


def _insensitive(evidence: Evidence, teacher: Teacher, block: str, state: Array) -> Mask:
    """Entries that do not change where a block is switched off."""
    switches: dict[str, Mapping[str, object]] = {
        "water": {"water": "zsr" if teacher.config.water == "kappa" else "kappa"},
        "condensation": {"condensation": False},
        "nucleation": {"nucleation": "none", "organic_nucleation": "none"},
        "coagulation": {"coagulation": False},
    }
    if block not in switches:
        return np.ones(state.shape, dtype=bool)
    without = replace(teacher, config=replace(teacher.config, **switches[block]))  # type: ignore[arg-type]
    other = _matrix(evidence.predict(without))
    size = np.maximum(np.abs(state - evidence.cells.before), np.abs(other - evidence.cells.before))
    return np.asarray(np.abs(other - state) <= _FAIR * size)


def _matrix(after: Columns) -> Array:
    return np.stack([after[name] for name in STATES], axis=1)


def _owners(after: Columns) -> dict[str, Mask]:
    """Entries that a block made nearly all of (ncell, 26)."""
    shares = {block: np.zeros((len(after["h2so4"]), len(STATES))) for block in PROCESSES}
    for name in names(SPLIT):
        for block, variables in _touched(name).items():
            for variable in variables:
                shares[block][:, STATES.index(variable)] += np.abs(after[name])
    whole = np.sum(list(shares.values()), axis=0)
    return {b: (whole > 0.0) & (share >= _PURE * whole) for b, share in shares.items()}


def _touched(name: str) -> dict[str, tuple[str, ...]]:
    """Block of a split label and the variables that it changes."""
    what, *rest = name.split("_")
    if what == "condensed":
        mode = COATED.get(rest[0], rest[0])
        return {"condensation": ("h2so4", f"so4_{mode}")}
    if what == "nucleated":
        return {"nucleation": ("h2so4", "so4_ns") if rest[0] == "so4" else ("num_ns",)}
    if what == "collided":
        return {"coagulation": (f"num_{rest[0]}",)}
    if what == "self":
        return {"coagulation": (f"num_{rest[1]}",)}
    if what == "coagulated":
        species, mode, into = rest
        return {"coagulation": (f"{species}_{mode}", f"{species}_{into}")}
    if what in ("aged", "merged"):
        species, mode = rest
        into = (COATED if what == "aged" else ABOVE)[mode]
        return {
            "ageing" if what == "aged" else "merging": (f"{species}_{mode}", f"{species}_{into}")
        }
    return {}


assert all(set(v) <= set(STATES) for n in names(SPLIT) for v in _touched(n).values())
assert set(ABOVE) < set(SOLUBLE_NAMES)
