"""Records as evidence: what a candidate M7 would have made of them, and how far off that is.

Judged cell by cell and variable by variable on a logarithmic scale between what the precision of
the records allows and an error as large as the tendency itself, so that a rare switch, a digit of
a density and a wrong generation are all seen, and what no candidate explains harms none of them.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pyemu import reference
from pyemu.candidates import Teacher
from pyemu.records import Cells, load
from pyemu.variables import DIAGNOSTICS, ENVIRONMENT, PROGNOSTICS, SPECIES, masses_of, names

Array = NDArray[np.float64]
Columns = dict[str, Array]

STATES, SEEN = names(PROGNOSTICS), names(DIAGNOSTICS)
_LEAST, _MOST = 1e-8, 0.05
"""Tolerances: the contract agrees with real M7 within the first; noise beyond the second hides all
that is judged here."""
_TIMESTEPS = 24
_ROUNDINGS = 8.0
"""How many errors of the records' precision a difference of two states may hold."""
_ANY_STEP = 900.0


class Evidence:
    """Cells of records, a precision, and predictions for them.

    `precision` is the relative error of the recorded numbers, as the closure of BC, OC, SS and DU
    shows it, which M7 keeps exactly; `sulfur` the H2SO4 that came in over the recorded production
    times the timestep, (quartiles), None where no cell tells.
    """

    def __init__(
        self, cells: Cells, seen: Mapping[str, Array], precision: float, threads: int = 1
    ) -> None:
        self.cells, self.seen, self.precision = cells, dict(seen), precision
        self._threads = threads
        self._air: Columns = dict(zip(names(ENVIRONMENT), cells.environment.T, strict=True))
        self._given = self._air | dict(zip(STATES, cells.before.T, strict=True))
        self._late = self._air | dict(zip(STATES, cells.after.T, strict=True))
        self._groups = [
            (float(t), np.flatnonzero(cells.timestep == t)) for t in np.unique(cells.timestep)
        ]
        self._judged: list[tuple[reference.Config, Array]] = []

    def __len__(self) -> int:
        return len(self.cells)

    @classmethod
    def read(cls, records: xr.Dataset, count: int, threads: int = 1) -> "Evidence":
        """Load at most `count` cells, evenly spread, of few timesteps."""
        places = np.arange(records.sizes["cell"])
        times, group = np.unique(records["timestep"].to_numpy(), return_inverse=True)
        if len(times) > _TIMESTEPS:  # one call of the reference has one timestep
            sizes = np.bincount(group)
            wide = np.linspace(0, len(times) - 1, _TIMESTEPS // 2).astype(np.int64)
            most = np.argsort(-sizes, kind="stable")[: _TIMESTEPS // 2]
            places = places[np.isin(group, [*wide, *most])]
        places = places[:: max(1, -(-len(places) // count))]
        late = [name for name in SEEN if f"{name}_after" in records]
        seen = {name: records[f"{name}_after"].isel(cell=places).to_numpy() for name in late}
        cells = load(records, places)
        return cls(cells, seen, _precision(cells), threads)

    def some(self, count: int) -> "Evidence":
        """Take at most `count` of the cells, evenly spread."""
        rows = slice(None, None, max(1, -(-len(self) // count)))
        cells = Cells(
            environment=self.cells.environment[rows],
            before=self.cells.before[rows],
            after=self.cells.after[rows],
            timestep=self.cells.timestep[rows],
        )
        seen = {name: values[rows] for name, values in self.seen.items()}
        return Evidence(cells, seen, self.precision, self._threads)

    @property
    def tolerance(self) -> float:
        """Relative error of a tendency that the records cannot tell from none."""
        return float(np.clip(100.0 * self.precision, _LEAST, _MOST))

    def sulfur(self) -> tuple[float, float, float] | None:
        """Give quartiles of the sulfur that came in, over production times timestep."""
        places = [STATES.index(n) for n in ("h2so4", *names(masses_of("so4")))]
        early, late = (m[:, places].sum(axis=1) for m in (self.cells.before, self.cells.after))
        source = self._air["h2so4_production"] * self.cells.timestep
        clear = source > np.maximum(1e-6, 1e3 * self.precision) * np.maximum(early, late)
        if clear.sum() < 10:
            return None
        found = np.quantile((late - early)[clear] / source[clear], (0.25, 0.5, 0.75))
        return float(found[0]), float(found[1]), float(found[2])

    def predict(self, teacher: Teacher, split: bool = False) -> Columns:
        """Give what the candidate makes of the cells, by name (ncell,)."""
        found: dict[str, Array] = {}
        for timestep, rows in self._groups:
            after = reference.step(
                {name: column[rows] for name, column in self._given.items()},
                timestep * teacher.timestep,
                config=teacher.config,
                substeps=teacher.substeps,
                split=split,
                threads=self._threads,
            )
            for name, values in after.items():
                found.setdefault(name, np.empty(len(self)))[rows] = values
        return found

    def look(self, config: reference.Config) -> Columns:
        """Give sizes, densities and water of the recorded states after the step: nothing acts."""
        still = _still(config)
        return reference.step(self._late, _ANY_STEP, config=still, threads=self._threads)

    def errors(self, teacher: Teacher, looks: bool = False) -> Array:
        """Say how wrong each variable of each cell is, 0 (as the records allow) to 1 (wholly).

        (ncell, 26 and the diagnostics that the records have), or the `looks` alone: diagnostics.
        """
        seen = self._look_errors(teacher)
        return seen if looks else np.concatenate([self._state_errors(teacher), seen], axis=1)

    def _state_errors(self, teacher: Teacher) -> Array:
        after = self.predict(teacher)
        error, doubt = self.relative(np.stack([after[name] for name in STATES], axis=1))
        return _graded(error, doubt)

    def relative(self, after: Array) -> tuple[Array, Array]:
        """Find errors of states after the step over the tendency, and what of that may be rounding.

        (ncell, 26) each; 0 and 1 where nothing can be told.
        """
        before, truth = self.cells.before, self.cells.after
        size = np.maximum(np.abs(after - before), np.abs(truth - before))
        grain = _ROUNDINGS * self.precision * np.maximum(np.abs(before), np.abs(truth))
        grain = grain + _NEGLIGIBLE
        moves = size > 0.0
        unit = np.where(moves, size, 1.0)
        error = np.where(moves, np.abs(after - truth) / unit, 0.0)
        doubt = np.where(moves, self.tolerance + grain / unit, 1.0)
        return error, doubt

    def _look_errors(self, teacher: Teacher) -> Array:
        if not self.seen:
            return np.empty((len(self), 0))
        still = _still(teacher.config)
        for config, found in self._judged:
            if config == still:
                return found
        looks = self.look(teacher.config)
        columns = [self.look_error(looks[name], truth) for name, truth in self.seen.items()]
        found = np.stack([_graded(*pair) for pair in columns], axis=1)
        self._judged = [*self._judged[-3:], (still, found)]
        return found

    def look_error(self, given: Array, truth: Array) -> tuple[Array, Array]:
        """Find the relative error of a diagnostic, and what of it may be rounding."""
        size = np.maximum(np.abs(given), np.abs(truth))
        told = np.isfinite(truth) & (size > 1e-30)
        unit = np.where(told, size, 1.0)
        error = np.where(told, np.abs(given - truth) / unit, 0.0)
        return error, np.where(told, self.tolerance, 1.0)


def _still(config: reference.Config) -> reference.Config:
    return replace(
        config,
        condensation=False,
        coagulation=False,
        nucleation="none",
        organic_nucleation="none",
        production_in_gas=True,
    )


def _graded(error: Array, doubt: Array) -> Array:
    """Logarithm of the error between `doubt`, 0, and one, 1; 0 where the doubt is large."""
    clear = doubt < 2.0 * _MOST
    least = np.where(clear, doubt, 0.5)
    wrong = np.log(np.maximum(error, least) / least) / np.log(1.0 / least)
    return np.where(clear, np.minimum(wrong, 1.0), 0.0)


def _precision(cells: Cells) -> float:
    """Relative error of recorded numbers: how well the species that M7 only moves close."""
    found = []
    for species in names(SPECIES):
        if species == "so4":
            continue
        places = [STATES.index(name) for name in names(masses_of(species))]
        early, late = (m[:, places].sum(axis=1) for m in (cells.before, cells.after))
        there = (early > 0.0) & (late > 0.0)
        found.append(np.abs(late - early)[there] / np.maximum(early, late)[there])
    errors = np.concatenate(found)
    closes = float(np.quantile(errors, 0.9)) if len(errors) else 0.0
    single = np.array_equal(cells.after, cells.after.astype(np.float32).astype(np.float64))
    floor = 2.0**-24 if single and cells.after.any() else 2.0**-53
    return min(max(closes, floor), _MOST)


_NEGLIGIBLE = np.array([variable.negligible for variable in PROGNOSTICS])
