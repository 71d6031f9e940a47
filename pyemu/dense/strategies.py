"""What DENSE is compared with at equal budget: random search and Optuna; and rank correlation."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, count

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pyemu.dense.architecture import (
    Architecture,
    NetworkVariables,
    Slot,
    latency,
    least_latency,
)
from pyemu.dense.problem import generator
from pyemu.dense.search import Candidate

Trial = Callable[[Architecture], float]
"""Trains an architecture from scratch for a few steps and gives its validation loss."""

_DRAWS = 20_000
"""Draws among which a new one within the budget must be."""
_PROPOSALS = 200
"""The same for Optuna's proposals, which take longer."""
_WORST = 1e30
"""Loss told to Optuna for one that is not finite."""


def random_search(
    trial: Trial,
    slots: Sequence[Slot],
    *,
    trials: int | None = None,
    cpu_seconds: float = math.inf,
    budget_ns: float = math.inf,
    seed: int = 1,
) -> list[Candidate]:
    """Try distinct architectures within the latency budget, drawn uniformly; best first.

    It ends after `trials`, when no trial began before `cpu_seconds` of this process were spent, or
    when all architectures were tried, whichever is first; ValueError if none of these can be.
    """
    draws = generator(seed, 4)
    uniform = NetworkVariables(slots)
    found: dict[Architecture, Candidate] = {}
    _check(slots, budget_ns)
    for _ in _rounds(trials, cpu_seconds):
        drawn = chain.from_iterable(uniform.sample(100, draws) for _ in range(_DRAWS // 100))
        fresh = (a for a in drawn if a not in found and latency(slots, a) <= budget_ns)
        architecture = next(fresh, None)
        if architecture is None:
            break
        loss = trial(architecture)
        found[architecture] = Candidate(loss, latency(slots, architecture), architecture)
    return _sorted(found)


def optuna_search(
    trial: Trial,
    slots: Sequence[Slot],
    *,
    trials: int | None = None,
    cpu_seconds: float = math.inf,
    budget_ns: float = math.inf,
    seed: int = 1,
) -> list[Candidate]:
    """Do the same with Optuna's tree-structured Parzen estimator (Akiba et al. 2019, KDD).

    An architecture beyond the latency budget costs nothing: it is told as the worst loss so far
    times its excess. One proposed again is not trained again.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
    found: dict[Architecture, Candidate] = {}
    _check(slots, budget_ns)
    for _ in _rounds(trials, cpu_seconds):
        for _ in range(_PROPOSALS):
            asked = study.ask()
            architecture = tuple(
                asked.suggest_categorical(str(place), list(range(len(slot.options))))
                for place, slot in enumerate(slots)
            )
            cost = latency(slots, architecture)
            if architecture not in found and cost <= budget_ns:
                break
            known = found.get(architecture)
            worst = max((_told(c.loss) for c in found.values()), default=1.0)
            study.tell(asked, _told(known.loss) if known else worst * cost / budget_ns)
        else:
            break
        found[architecture] = Candidate(trial(architecture), cost, architecture)
        study.tell(asked, _told(found[architecture].loss))
    return _sorted(found)


def rank_correlation(one: ArrayLike, other: ArrayLike) -> float:
    """Spearman's rank correlation of two sets of scores (n,); equal ones share their mean rank.

    Between shared-weight and stand-alone losses it says how far the search's ranking can be
    trusted. NaN where one set is constant.
    """
    first, second = (_ranks(np.asarray(x, dtype=float)) for x in (one, other))
    first, second = first - first.mean(), second - second.mean()
    norm = math.sqrt(float(first @ first) * float(second @ second))
    return float(first @ second) / norm if norm > 0.0 else math.nan


def _ranks(x: NDArray[np.float64]) -> NDArray[np.float64]:
    _, place, count = np.unique(x, return_inverse=True, return_counts=True)
    ranks: NDArray[np.float64] = (np.cumsum(count) - 0.5 * (count - 1))[place]
    return ranks


def _rounds(trials: int | None, cpu_seconds: float) -> Iterator[None]:
    """Go on while trials and time are left."""
    if trials is None and cpu_seconds == math.inf:
        raise ValueError("needed are trials or cpu_seconds, else the strategy has no end")
    start = time.process_time()
    for place in count():
        if place == trials or time.process_time() - start >= cpu_seconds:
            return
        yield


def _check(slots: Sequence[Slot], budget_ns: float) -> None:
    if least_latency(slots) > budget_ns:
        raise ValueError(
            f"budget_ns = {budget_ns}; the cheapest architecture takes {least_latency(slots):g} ns"
        )


def _told(loss: float) -> float:
    """Make a loss that is not finite one that Optuna accepts."""
    return loss if math.isfinite(loss) else _WORST


def _sorted(found: dict[Architecture, Candidate]) -> list[Candidate]:
    return sorted(found.values(), key=lambda c: (not math.isfinite(c.loss), c))
