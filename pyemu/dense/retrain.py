"""After the search: train the best few from scratch, choose on validation; sample an ensemble."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Generic, NamedTuple, TypeVar

import torch
from torch import Tensor

from pyemu.dense.architecture import Architecture, NetworkVariables, only
from pyemu.dense.problem import Problem, generator
from pyemu.dense.search import Candidate, SearchConfig, Weights

P = TypeVar("P", bound=Problem)


class Retrained(NamedTuple, Generic[P]):
    """A network trained on its own; `architecture` is that of the full menu."""

    loss: float
    latency_ns: float
    architecture: Architecture
    seed: int
    problem: P


def fit(problem: Problem, config: SearchConfig, steps: int) -> float:
    """Train a problem of one option per slot, as the search does; its validation loss."""
    architecture = only(problem.slots)
    weights = Weights(problem, replace(config, steps=steps))
    for step in range(steps):
        weights.step(architecture, step)
    with torch.no_grad():
        (loss,) = problem.validation_losses([architecture], None)
    return float(loss)


def retrain(
    alone: Callable[[Architecture, int], P],
    candidates: Sequence[Candidate],
    config: SearchConfig,
    *,
    steps: int,
    seeds: Sequence[int] = (1, 2, 3),
) -> list[Retrained[P]]:
    """Train each candidate from scratch, once per seed; best validation loss first.

    `alone` makes, from an architecture of the full menu and a seed, a problem of one option per
    slot. The choice is made here, on validation; test data are for the chosen one, once.
    """
    done = []
    for candidate in candidates:
        for seed in seeds:
            problem = alone(candidate.architecture, seed)
            loss = fit(problem, config, steps)
            done.append(
                Retrained(loss, candidate.latency_ns, candidate.architecture, seed, problem)
            )
    return sorted(done, key=lambda run: (not math.isfinite(run.loss), run.loss))


def ensemble(
    predict: Callable[[Architecture], Tensor],
    variables: NetworkVariables,
    *,
    count: int = 16,
    seed: int = 1,
    mean: Callable[[Tensor], Tensor] = lambda outputs: outputs.mean(dim=0),
) -> tuple[Tensor, Tensor]:
    """Give mean and spread of the predictions of sampled architectures.

    Parameters
    ----------
    predict
        What a network gives after its head (...,): where every output conserves and is
        non-negative, so does their mean.
    variables
        To sample from.
    count, seed
        Networks drawn; one drawn twice counts twice and is run once.
    mean
        Averages (count, ...) over the networks.

    Returns
    -------
    tuple
        The mean, and the standard deviation over the networks (n - 1), 0 if there is one only.
    """
    drawn = variables.sample(count, generator(seed, 3))
    given = {a: predict(a) for a in sorted(set(drawn))}
    outputs = torch.stack([given[a] for a in drawn])
    spread = outputs.std(dim=0) if count > 1 else torch.zeros_like(outputs[0])
    return mean(outputs), spread
