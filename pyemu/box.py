"""One box of air over some days: emissions, a daily cycle, dilution and M7."""

import math
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pyemu import metrics, reference
from pyemu.scenarios import Scenario, scenario
from pyemu.states import masses, typical
from pyemu.variables import (
    AVOGADRO,
    ENVIRONMENT,
    MICROGRAM,
    MODES,
    PROGNOSTICS,
    SPECIES,
    index,
    lookup,
    names,
)

Array = NDArray[np.float64]
State = dict[str, Array]

DAY, HOUR = 86400.0, 3600.0
START = np.datetime64("2001-06-21T00:00:00", "ns")
SULFATE_PER_MICROGRAM = AVOGADRO * MICROGRAM / 96.06
"""Molecules cm-3 in 1 ug m-3 of SO4."""
_NOON, _WARMEST = 12.0 * HOUR, 15.0 * HOUR


def run(
    regime: str = "continental_clean",
    days: float = 3.0,
    timestep: float = 900.0,
    *,
    config: reference.Config | None = None,
    substeps: int = 1,
    watch: Callable[[Sequence[Any]], Iterable[Any]] = iter,
) -> xr.Dataset:
    """Run a box of air from midnight on.

    Parameters
    ----------
    regime
        A name of `pyemu.scenarios.SCENARIOS`; the box starts in the middle of the regime's ranges.
    days, timestep
        Length of the run [d] and of a step [s].
    config, substeps
        As for `pyemu.reference.step`.
    watch
        Wraps the steps, to show progress.

    Returns
    -------
    Dataset
        Over `time`: environment, prognostics, diagnostics, split output, `negatives` and by species
        `emitted_`, `lost_` and the relative `closure_` of the M7 step. Attribute
        `microphysics_seconds`: time spent in M7 [s].

    Raises
    ------
    ValueError
        An unknown regime, or a length or timestep that is not positive or makes no whole step.
    """
    forcing, steps = scenario(regime), _steps(days, timestep)
    config = config or reference.Config()
    initial = typical(regime)
    state = {name: initial[name] for name in names(PROGNOSTICS)}
    emitted, kept = _emission(forcing, timestep), _survival(forcing, timestep)
    records, spent = [], 0.0
    for number in watch(range(steps)):
        air = _environment(forcing, initial, (number + 0.5) * timestep)
        diluted = {name: value * kept.get(name, 1.0) for name, value in state.items()}
        before = air | {name: value + emitted.get(name, 0.0) for name, value in diluted.items()}
        clock = time.perf_counter()
        after = reference.step(before, timestep, config=config, substeps=substeps, split=True)
        spent += time.perf_counter() - clock
        records.append(air | after | _budget(state, diluted, before, after, timestep))
        state = {name: after[name] for name in state}
    moments = START + (np.arange(1, steps + 1) * timestep * 1e9).astype("timedelta64[ns]")
    data = xr.Dataset(coords={"time": ("time", moments, {"standard_name": "time"})})
    for name in records[0]:
        data[name] = (
            "time",
            np.concatenate([record[name] for record in records]),
            _attributes(name),
        )
    data.attrs = {
        "Conventions": "CF-1.11",
        "title": f"Box of M7, {regime}",
        "source": f"pyemu box, M7 reference, profile {config.profile}",
        "regime": regime,
        "timestep": timestep,
        "substeps": substeps,
        "profile": config.profile,
        "microphysics_seconds": spent,
    }
    return data


def summary(data: xr.Dataset) -> dict[str, Any]:
    """Summarise a run as plain numbers: amounts at its end, worst closure, negatives, seconds."""
    end = data.isel(time=-1)
    return {
        **{name: data.attrs[name] for name in ("regime", "profile", "timestep", "substeps")},
        "steps": data.sizes["time"],
        "number": {mode.name: float(end[f"num_{mode.name}"]) for mode in MODES},
        "burden": {s.name: float(burden(data, s.name)[-1]) for s in SPECIES},
        "closure": {s.name: float(data[f"closure_{s.name}"].max()) for s in SPECIES},
        "budget": {s.name: _balance(data, s.name) for s in SPECIES},
        "negatives": int(data["negatives"].sum()),
        "microphysics_seconds": data.attrs["microphysics_seconds"],
    }


def burden(data: xr.Dataset, species: str) -> Array:
    """Particulate mass of a species over time [ug m-3]; sulfate as SO4 of 96.06 g mol-1."""
    mass = np.sum([data[v.name] for v in PROGNOSTICS if v.species == species], axis=0)
    return np.asarray(mass / SULFATE_PER_MICROGRAM if species == "so4" else mass)


def _steps(days: float, timestep: float) -> int:
    for name, value in (("days", days), ("timestep", timestep)):
        if not (math.isfinite(value) and value > 0.0):
            raise ValueError(f"{name} = {value}; allowed is (0, inf)")
    steps = round(days * DAY / timestep)
    if steps < 1:
        raise ValueError(f"{days} days hold no step of {timestep} s")
    return steps


def _environment(forcing: Scenario, initial: State, moment: float) -> State:
    """Environment at a time of day [s]: warmest and driest at 15 h, most OH at noon."""
    air = {name: initial[name] for name in names(ENVIRONMENT)}
    warm = math.cos(2.0 * math.pi * (moment - _WARMEST) / DAY)
    sun = max(math.cos(2.0 * math.pi * (moment - _NOON) / DAY), 0.0)
    air["temperature"] = air["temperature"] + forcing.warming * warm
    air["relative_humidity"] = np.clip(air["relative_humidity"] - forcing.drying * warm, 0.0, 0.99)
    air["h2so4_production"] = np.full(1, forcing.production * sun)
    air["forest_fraction"] = np.full(1, forcing.forest)
    air["boundary_layer"] = np.full(1, float(forcing.forest > 0.0))
    return air


def _emission(forcing: Scenario, timestep: float) -> State:
    """Primary masses and numbers of a step, by name."""
    added: State = {}
    for mode in MODES:
        source = forcing.sources.get(mode.name)
        if source:
            number = np.full(1, source.number * timestep / HOUR)
            shares = {name: np.full(1, share) for name, share in source.mixture.items()}
            added[f"num_{mode.name}"] = number
            added |= masses(mode, number, np.full(1, source.radius * 1e-4), shares)
    return added


def _survival(forcing: Scenario, timestep: float) -> dict[str, float]:
    """Share of each mass and number that a step's dilution and deposition leave [1]."""
    return {
        v.name: math.exp(-timestep / (forcing.lifetime[v.mode] * DAY))
        for v in PROGNOSTICS
        if v.mode is not None
    }


def _budget(state: State, diluted: State, before: State, after: State, timestep: float) -> State:
    """Amounts lost, emitted and produced in a step by species, and the closure of its M7 step."""
    budget = {f"closure_{s}": e for s, e in metrics.closure(before, after, timestep).items()}
    for species in names(SPECIES):
        left = metrics.total(diluted, species)
        budget[f"lost_{species}"] = metrics.total(state, species) - left
        budget[f"emitted_{species}"] = metrics.total(before, species) - left
    return budget | {"produced_so4": before["h2so4_production"] * timestep}


def _balance(data: xr.Dataset, species: str) -> float:
    """Relative error of the whole run's budget: first step's end to last step's end."""
    end = metrics.total({v.name: data[v.name].to_numpy() for v in PROGNOSTICS}, species)
    later = data.isel(time=slice(1, None))
    given = later[f"emitted_{species}"].to_numpy().sum()
    if species == "so4":
        given += later["produced_so4"].to_numpy().sum()
    left = end[-1] + later[f"lost_{species}"].to_numpy().sum()
    scale = max(end[0] + given, left)
    return float(abs(end[0] + given - left) / scale) if scale else 0.0


def _attributes(name: str) -> dict[str, str]:
    """CF attributes of a variable of the dataset."""
    kind, _, species = name.rpartition("_")
    if kind in _BUDGET:
        unit = "1" if kind == "closure" else SPECIES[index(species, SPECIES)].unit
        return {"units": unit, "long_name": f"{_BUDGET[kind]} of {species}"}
    if name == "negatives":
        return {"units": "1", "long_name": "negative inputs taken as 0"}
    variable = lookup(name)
    return {"units": variable.unit, "long_name": variable.long_name}


_BUDGET = {
    "closure": "relative closure error of the step",
    "lost": "loss to dilution and deposition",
    "emitted": "primary emission",
    "produced": "production",
}
