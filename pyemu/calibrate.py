"""Calibration: which of M7's exact forms and settings reproduce given records.

Coordinate descent over the switches from both generations, judged by `pyemu.evidence`; then
densities by robust least squares, thresholds one by one, and last a trial of every choice: what
differs from the records' attributes or the defaults must pay in the cells where it matters.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from rich.table import Table

from pyemu import metrics, reference
from pyemu.blocks.settings import Settings
from pyemu.candidates import AMOUNTS, DIGITS, STANDARD, SUBSTEPS, SWITCHES, Teacher
from pyemu.evidence import STATES, Evidence
from pyemu.records import WATERS
from pyemu.verdicts import Verdict, verdicts

Array = NDArray[np.float64]
Tell = Callable[[str], None]

_ALWAYS = (
    *("profile", "water", "nucleation", "organic_nucleation", "condensation", "coagulation"),
    *("thresholds", "substeps", "timestep", "densities.bc", "densities.oc", "densities.du"),
)
"""Settings that are told whatever was found."""
_ATTRIBUTES = ("profile", "water", "nucleation", "organic_nucleation", "substeps")
_SEARCH, _SCAN, _ALL = 2048, 256, 16384
_TINY = 1e-9
_WORTH = 0.2
"""A choice must take away this share of the errors in the cells where it matters."""
_EXPLAINED = 0.1
"""Wrong entries per cell of a teacher that is right but for details."""
_FEWEST = 3
"""Cells on which a choice may be founded."""
_MATTERS = 1e-3
_FELT = 1e-3
"""Relative change of a tendency for the relative change of a constant, above which it counts."""
_REWEIGHTED, _NEWTON = 30, 6
_RANGE = {"densities": (0.3, 5.0), "kappas": (0.0, 5.0)}


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What was found for a setting, against what was told or is the default.

    `certain`: at least three cells tell; `differs`: cells in which its alternatives differ.
    """

    value: Any
    told: Any
    certain: bool
    differs: int

    @property
    def contradicts(self) -> bool:
        """Whether the data show otherwise than the records' attributes."""
        return self.told is not None and self.certain and self.told != self.value


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Which M7 made the records, as far as they tell.

    `teacher` and `settings` are the best found; `r2` is the mean tendency R2 of their exact step
    against the records, `wrong` the share of judged entries beyond the precision of the records;
    `blocks` says for each whether its exact form reproduces them.
    """

    teacher: Teacher
    settings: Settings
    choices: Mapping[str, Choice]
    blocks: Mapping[str, Verdict]
    cells: int
    precision: float
    sulfur: tuple[float, float, float] | None
    wrong: float
    r2: Mapping[str, float]

    @property
    def substeps(self) -> int | Literal["converged"]:
        """Sub-steps of the teacher."""
        return self.teacher.substeps

    @property
    def mean_r2(self) -> float:
        """Mean tendency R2 of the exact step."""
        return metrics.mean(self.r2)

    @property
    def missed(self) -> tuple[str, ...]:
        """Blocks whose exact form does not reproduce the records."""
        return tuple(name for name, v in self.blocks.items() if v.reproduced is False)

    def corrected(self, records: xr.Dataset) -> xr.Dataset:
        """Give records with the timestep that M7 acted over."""
        if self.teacher.timestep == 1.0:
            return records
        return records.assign(timestep=records["timestep"] * self.teacher.timestep)

    def facts(self) -> dict[str, Any]:
        """Give all of it as JSON takes it."""
        worst, score = metrics.worst(self.r2)
        return {
            "cells": self.cells,
            "precision": self.precision,
            "mean tendency R2": self.mean_r2,
            "worst tendency R2": score,
            "worst variable": worst,
            "wrong": self.wrong,
            "substeps": self.substeps,
            "timestep factor": self.teacher.timestep,
            "sulfur": self.sulfur,
            "choices": {name: asdict(choice) for name, choice in self.choices.items()},
            "blocks": {name: asdict(verdict) for name, verdict in self.blocks.items()},
            "settings": self.settings.to_json(),
        }


def calibrate(records: xr.Dataset, *, threads: int = 1, tell: Tell = lambda _: None) -> Calibration:
    """Find which M7 made the records; their attributes are where the search begins.

    Parameters
    ----------
    records
        As `pyemu.records.open_records` gives them.
    threads
        Of the reference.
    tell
        Called with what is being done.

    Raises
    ------
    ValueError
        An attribute or a value of the records that is impossible.
    """
    attributes = {k: v for k, v in records.attrs.items() if k in _ATTRIBUTES}
    start = _told(attributes)
    evidence = Evidence.read(records, _ALL, threads)
    start = _by_sulfur(evidence, start)
    search = _Search(evidence, start, "profile" in attributes, tell)
    found = search.run()
    tell("blocks")
    choices = search.choices(found, attributes)
    after = evidence.predict(found)
    truth = dict(zip(STATES, evidence.cells.after.T, strict=True))
    before = dict(zip(STATES, evidence.cells.before.T, strict=True))
    r2 = metrics.tendency_r2(before, truth, after, STATES)
    r2 |= _water_r2(evidence, after)
    error, doubt = evidence.relative(np.stack([after[name] for name in STATES], axis=1))
    judged = (doubt < 0.1) & (evidence.cells.before != evidence.cells.after)
    wrong = float((error > 3.0 * doubt)[judged].mean()) if judged.any() else 0.0
    return Calibration(
        teacher=found,
        settings=Settings.from_reference(found.config),
        choices=choices,
        blocks=verdicts(evidence, found),
        cells=len(evidence),
        precision=evidence.precision,
        sulfur=evidence.sulfur(),
        wrong=wrong,
        r2=r2,
    )


def tables(found: Calibration, learned: Sequence[str] = ()) -> tuple[Table, Table]:
    """Lay out settings, and which exact forms reproduce the records, for people."""
    worst, score = metrics.worst(found.r2)
    settings = Table(title="Which M7 made the records")
    for name in ("setting", "found", "attribute", "cells that tell"):
        settings.add_column(name, justify="right" if name == "cells that tell" else "left")
    usual = Teacher(
        config=reference.Config(
            profile=found.settings.profile, thresholds=found.teacher.config.thresholds
        )
    )
    kept = [n for n, c in found.choices.items() if c.told is not None or n in _ALWAYS]
    odd = [n for n, c in found.choices.items() if n not in kept and c.value != usual.get(n)]
    for name in (*kept, *odd):
        choice = found.choices[name]
        cells = str(choice.differs) if choice.certain else f"{choice.differs}: cannot tell"
        told = "" if choice.told is None else str(choice.told)
        value = f"[bold red]{choice.value}[/]" if choice.contradicts else str(choice.value)
        settings.add_row(name, value, told, cells)
    caption = (
        f"{found.cells} cells, recorded to {found.precision:.0e}. Exact forms alone: mean tendency "
        f"R2 {found.mean_r2:.6f}, worst {score:.6f} ({worst})"
    )
    blocks = Table(title="Do M7's exact forms reproduce them?", caption=caption)
    for name in ("block", "exact form", "median error", "agree", "entries", "in the model"):
        blocks.add_column(name, justify="left" if name in ("block", "exact form") else "right")
    for name, verdict in found.blocks.items():
        measured = [f"{verdict.error:.1e}", f"{100.0 * verdict.agree:.1f} %"]
        measured = measured if verdict.entries else ["", ""]
        form = "learned" if name in learned else "exact"
        blocks.add_row(name, verdict.word, *measured, str(verdict.entries), form)
    return settings, blocks


def notes(found: Calibration, learned: Sequence[str] = ()) -> list[str]:
    """Say in sentences what a user should know besides the table."""
    told = [
        f"attribute {name} = {choice.told}, but the data show {choice.value} "
        f"({choice.differs} cells tell)"
        for name, choice in found.choices.items()
        if choice.contradicts
    ]
    if found.teacher.timestep != 1.0:
        told.append(
            f"M7 acted over {found.teacher.timestep:g} times the recorded timestep (leap-frog?): "
            "give the model that timestep, too"
        )
    if found.settings.production_in_gas:
        told.append("the recorded gas holds the production already: the model will not add it")
    elif found.sulfur is not None and abs(found.sulfur[1] / found.teacher.timestep - 1.0) > 0.02:
        told.append(
            f"sulfur grows by {found.sulfur[1]:.3g} times production times timestep: something "
            "besides M7 acts between before and after, or a unit is wrong"
        )
    if found.precision >= 1e-3:
        told.append(f"BC, OC, sea salt and dust close to {found.precision:.0e} only")
    left = [name for name in found.missed if name not in learned]
    if found.settings.by_kappa and "water" in left:
        left.remove("water")
        told.append(
            f"water is kappa-Koehler's to {100.0 * found.blocks['water'].error:.2g} % (median), as "
            "of a look-up table's steps: the model solves the equation instead; sizes follow, but "
            "what water a step adds to large particles is finer than those steps"
        )
    return told + [f"{name} stays exact though it is not reproduced" for name in left]


def _told(attributes: Mapping[str, Any]) -> Teacher:
    """Begin with what the records' attributes say, as far as the reference knows it."""
    teacher = Teacher(config=reference.Config())
    for name, value in attributes.items():
        if name == "substeps":
            told = str(value)
            if told == "converged" or (told.isdecimal() and int(told) > 0):
                teacher = teacher.having(name, told if told == "converged" else int(told))
        elif str(value) in SWITCHES[name]:
            teacher = teacher.having(name, str(value))
    return teacher


def _by_sulfur(evidence: Evidence, teacher: Teacher) -> Teacher:
    """Whether the production is in the gas already, which the budget of sulfur tells."""
    sulfur = evidence.sulfur()
    if sulfur is not None and max(map(abs, sulfur)) < 0.05:
        return teacher.having("production_in_gas", True)
    return teacher


def _water_r2(evidence: Evidence, after: Mapping[str, Array]) -> dict[str, float]:
    late, early = evidence.cells.water_after, evidence.cells.water
    if late is None:
        return {}
    early = np.zeros_like(late) if early is None else early
    return {
        name: metrics.r2(late[:, k] - early[:, k], after[name] - early[:, k])
        for k, name in enumerate(WATERS)
    }


class _Search:
    """The descent, on few cells first and on all in the end."""

    def __init__(self, evidence: Evidence, prior: Teacher, generation: bool, tell: Tell) -> None:
        self.evidence, self.prior, self._tell = evidence, prior, tell
        self._generation = generation

    def run(self) -> Teacher:
        """Find the teacher."""
        few, all_ = self.evidence.some(_SEARCH), self.evidence
        if _total(few, self.prior) <= _TINY and _total(all_, self.prior) <= _TINY:
            return self.prior
        found: list[tuple[float, Teacher]] = []
        first = self.prior.config.profile
        for profile in (first, *(p for p in SWITCHES["profile"] if p != first)):
            self._tell(f"from {profile}")
            begin = self.prior.having("profile", profile)
            if few.seen:  # sizes and water tell much, whatever the processes did
                begin = self._fit(few, self._descend(few, begin, looks=True), looks=True)
            best = self._descend(few, self._substeps(begin))
            found.append((_total(few, best), best))
            if found[-1][0] <= _EXPLAINED:
                break
        best = min(found, key=lambda pair: pair[0])[1]
        self._tell("constants")
        for _ in range(3):
            last = best
            if _total(few, best) > _EXPLAINED:
                best = self._substeps(best)
            best = self._descend(few, self._fit(few, best))
            if best == last or _total(few, best) <= _TINY:
                break
        best = self._rounded(few, best)
        self._tell("rare cells")
        some = all_ if best.substeps == 1 else all_.some(_weight(_ALL, best))
        best = self._descend(some, best, amounts=True)
        return self._pruned(some, best)

    def _descend(
        self, evidence: Evidence, teacher: Teacher, amounts: bool = False, looks: bool = False
    ) -> Teacher:
        """Take whatever lowers the errors, a switch at a time, until nothing does."""
        evidence = evidence.some(_weight(len(evidence), teacher))
        best, error = teacher, _total(evidence, teacher, looks)
        changed = True
        while changed and error > _TINY:
            changed = False
            for name, values in self._options(best, amounts):
                for value in values:
                    other = best.having(name, value)
                    if other == best or error <= _TINY or (looks and name == "profile"):
                        continue
                    tried = _total(evidence, other, looks)
                    if tried < error - _TINY:
                        best, error, changed = other, tried, True
        return best

    def _options(self, teacher: Teacher, amounts: bool) -> Iterator[tuple[str, Sequence[Any]]]:
        yield from SWITCHES.items()
        yield "digits", tuple(DIGITS)
        yield "timestep", (1.0, 2.0, 0.5)
        for name in teacher.constants:
            yield name, STANDARD[name]
        if amounts:
            yield from AMOUNTS.items()

    def _substeps(self, teacher: Teacher) -> Teacher:
        """Find the number of sub-steps."""
        evidence = self.evidence.some(_SCAN)
        error = _total(evidence, teacher)
        if error <= _TINY:
            return teacher
        tried = {teacher.substeps: error}

        def score(count: int) -> float:
            if count not in tried:
                tried[count] = _total(evidence, replace(teacher, substeps=count))
            return tried[count]

        least = min(SUBSTEPS, key=score)
        place = SUBSTEPS.index(least)
        low = SUBSTEPS[max(place - 1, 0)]
        high = SUBSTEPS[min(place + 1, len(SUBSTEPS) - 1)]
        if high - low < 40:
            least = min(range(low, high + 1), key=score)
        best = min(tried, key=lambda count: tried[count])
        return replace(teacher, substeps=best)

    def _fit(self, evidence: Evidence, teacher: Teacher, looks: bool = False) -> Teacher:
        """Fit densities (and kappas), from those found so far and from the usual ones."""
        evidence = evidence.some(_weight(len(evidence), teacher))
        best, error = teacher, _total(evidence, teacher, looks)
        if error <= _TINY:
            return teacher
        usual = teacher
        for name in teacher.constants:
            usual = usual.having(name, self.prior.get(name))
        for start in (teacher, usual):
            moved = start
            for _ in range(_NEWTON):
                moved = _moved(evidence, moved, looks)
                tried = _total(evidence, moved, looks)
                if tried < error - _TINY:
                    best, error = moved, tried
                if error <= _TINY:
                    break
            if error <= _TINY:
                break
        return best if looks else self._rounded(evidence, best)

    def _rounded(self, evidence: Evidence, teacher: Teacher) -> Teacher:
        """Take round constants where they explain the cells as well."""
        evidence = evidence.some(_weight(len(evidence), teacher))
        best = _rounded_all(evidence, teacher)
        for name in teacher.constants:
            best = _rounded(evidence, best, name, self.prior.get(name))
        return best

    def _pruned(self, evidence: Evidence, teacher: Teacher) -> Teacher:
        """Take back every choice that the cells in which it matters do not pay for."""
        start = self.prior.having("profile", teacher.config.profile)
        if not self._generation or self._pays(
            evidence, teacher.having("profile", self.prior.config.profile), teacher
        ):
            best = teacher
        else:
            best, start = teacher.having("profile", self.prior.config.profile), self.prior
        for name in (*best.names, "substeps"):
            if name in AMOUNTS:
                start = start.having("thresholds", best.config.thresholds)
            usual = start.get(name)
            if best.get(name) != usual:
                without = best.having(name, usual)
                if not self._pays(evidence, without, best):
                    best = without
        return best

    def _pays(self, evidence: Evidence, usual: Teacher, other: Teacher) -> bool:
        """Whether `other` is clearly better than what is `usual`."""
        old, new = evidence.errors(usual), evidence.errors(other)
        differ = np.abs(old - new) > _MATTERS
        gain = np.where(differ, old - new, 0.0)
        per_cell = gain.sum(axis=1)
        better = int((per_cell > 0.0).sum()) - int((per_cell < 0.0).sum())
        return better >= _FEWEST and float(gain.sum()) > _WORTH * float(old[differ].sum())

    def choices(self, found: Teacher, attributes: Mapping[str, Any]) -> dict[str, Choice]:
        """Say of each setting how many cells would tell another value."""
        few = self.evidence.some(_weight(len(self.evidence), found))
        best = few.errors(found)
        told: dict[str, Any] = {name: str(value) for name, value in attributes.items()}
        chosen = {}
        options = dict(self._options(found, amounts=True))
        options["substeps"] = (2, 1) if found.substeps == 1 else (1,)
        for name, values in options.items():
            value = found.get(name)
            differs = []
            for other in values:
                changed = found.having(name, _near(other) if "." in name else other)
                if changed.get(name) != value:
                    worse = np.abs(few.errors(changed) - best).max(axis=1) > _MATTERS
                    differs.append(int(worse.sum()))
            least = min(differs, default=0)
            chosen[name] = Choice(
                value=value,
                told=_plain(told.get(name), value),
                certain=least >= _FEWEST,
                differs=least,
            )
        return chosen


def _near(value: float) -> float:
    """Give a value close by, to see whether a constant matters at all."""
    return 1.1 * value + 0.01


def _plain(told: Any, value: Any) -> Any:
    return int(told) if isinstance(value, int) and str(told).isdecimal() else told


def _total(evidence: Evidence, teacher: Teacher, looks: bool = False) -> float:
    """Count wrong entries per cell."""
    return float(evidence.errors(teacher, looks).sum()) / len(evidence)


def _weight(count: int, teacher: Teacher) -> int:
    """Fewer cells where each takes many sub-steps."""
    parts = 64 if teacher.substeps == "converged" else teacher.substeps
    return max(_SCAN, min(count, 2 * _SEARCH // parts)) if parts > 1 else count


def _moved(evidence: Evidence, teacher: Teacher, looks: bool) -> Teacher:
    """One step of least absolute relative errors (iteratively reweighted) in the constants."""
    constants = teacher.constants
    values = np.array([teacher.get(name) for name in constants])
    units = np.maximum(values, 0.05)
    base = _residuals(evidence, teacher, looks)
    slopes = []
    for name, value, unit in zip(constants, values, units, strict=True):
        step = 1e-4 * unit
        other = teacher.having(name, float(value + step))
        slopes.append((base - _residuals(evidence, other, looks)) / step * unit)
    matrix = np.stack(slopes, axis=1)
    rows = np.isfinite(matrix).all(axis=1) & (np.abs(matrix) > _FELT).any(axis=1)
    if not rows.any():
        return teacher
    matrix, wanted = matrix[rows], base[rows]
    felt = np.abs(matrix).max(axis=0) > _FELT
    matrix = matrix[:, felt]
    change = np.zeros(matrix.shape[1])
    for _ in range(_REWEIGHTED):
        weight = 1.0 / np.maximum(np.abs(wanted - matrix @ change), evidence.tolerance)
        left = matrix.T * weight
        change = np.linalg.lstsq(left @ matrix, left @ wanted, rcond=None)[0]
    parts = np.zeros(len(values))
    parts[felt] = np.clip(change, -0.3, 0.3)
    for name, value in zip(constants, values + parts * units, strict=True):
        low, high = _RANGE[name.partition(".")[0]]
        teacher = teacher.having(name, float(np.clip(value, low, high)))
    return teacher


def _residuals(evidence: Evidence, teacher: Teacher, looks: bool) -> Array:
    """Signed errors over the recorded tendency or diagnostic; NaN where nothing can be told."""
    columns = []
    seen = evidence.look(teacher.config) if evidence.seen else {}
    for name, truth in evidence.seen.items():
        there = np.isfinite(truth) & (np.abs(truth) > 1e-30)
        wrong = (truth - seen[name]) / np.where(there, truth, 1.0)
        columns.append(np.where(there, wrong, np.nan))
    if not looks:
        after = evidence.predict(teacher)
        for k, name in enumerate(STATES):
            early, late = evidence.cells.before[:, k], evidence.cells.after[:, k]
            size = np.abs(late - early)
            clear = size > 1e3 * evidence.precision * np.maximum(np.abs(early), np.abs(late)) + 1e-9
            wrong = (late - after[name]) / np.where(clear, size, 1.0)
            columns.append(np.where(clear, wrong, np.nan))
    return np.concatenate(columns)


def _rounded_all(evidence: Evidence, teacher: Teacher) -> Teacher:
    """Round all constants to as few digits as explain the cells as well."""
    error = _total(evidence, teacher)
    for digits in range(2, 7):
        changed = teacher
        for name in teacher.constants:
            changed = changed.having(name, round(teacher.get(name), digits))
        if _total(evidence, changed) <= error + _TINY:
            return changed
    return teacher


def _rounded(evidence: Evidence, teacher: Teacher, name: str, usual: float) -> Teacher:
    """Take the roundest value, the usual one before all, that explains the cells as well."""
    value = teacher.get(name)
    fitted = evidence.errors(teacher)
    known = [v for v in (usual, *STANDARD[name]) if abs(v - value) < 0.05 * abs(value) + 0.005]
    noise = max(0.02 * float(fitted.sum()), 1e-6 * fitted.size)
    low, high = _RANGE[name.partition(".")[0]]
    for other in (*known, *(round(value, digits) for digits in range(1, 6))):
        if low <= other <= high:
            changed = teacher.having(name, float(other))
            if float((evidence.errors(changed) - fitted).sum()) <= noise:
                return changed
    return teacher
