"""Slots, architectures, and the network variables: a categorical distribution per slot.

Kasim et al. 2020 (arXiv 2001.08055). p_l = softmax(b_l / tau); an architecture a, a tuple of one
option's index per slot, is drawn with probability prod_l p_{l,a_l}; its latency is the sum of a
table, so that the expected latency and its gradient are exact.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Architecture = tuple[int, ...]


@dataclass(frozen=True)
class Slot:
    """A place with several options.

    Parameters
    ----------
    name
        Of the place.
    options
        Names of the operations, distinct.
    latency_ns
        What each costs [ns per sample].
    """

    name: str
    options: tuple[str, ...]
    latency_ns: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.options or len(set(self.options)) != len(self.options):
            raise ValueError(f"slot {self.name}: options {self.options}; needed are distinct names")
        if len(self.latency_ns) != len(self.options):
            raise ValueError(
                f"slot {self.name}: {len(self.latency_ns)} latencies of {len(self.options)} options"
            )
        if any(not 0.0 <= t < math.inf for t in self.latency_ns):
            raise ValueError(f"slot {self.name}: latency_ns = {self.latency_ns}; allowed is >= 0")


def latency(slots: Sequence[Slot], architecture: Architecture) -> float:
    """Sum of the options' latencies [ns per sample]."""
    return math.fsum(s.latency_ns[a] for s, a in zip(slots, architecture, strict=True))


def least_latency(slots: Sequence[Slot]) -> float:
    """Latency of the cheapest architecture [ns per sample]."""
    return math.fsum(min(s.latency_ns) for s in slots)


def only(slots: Sequence[Slot]) -> Architecture:
    """Give the one architecture there is; ValueError if a slot leaves a choice."""
    for slot in slots:
        if len(slot.options) > 1:
            raise ValueError(f"slot {slot.name} leaves a choice: {', '.join(slot.options)}")
    return (0,) * len(slots)


def describe(slots: Sequence[Slot], architecture: Architecture) -> dict[str, str]:
    """Name the option in each slot."""
    return {s.name: s.options[a] for s, a in zip(slots, architecture, strict=True)}


def utilities(losses: Sequence[float]) -> Tensor:
    """Rank-shaped utilities (n,) of losses, the least being the best; their sum is 0.

    u_i = max(0, ln(n/2 + 1) - ln rank_i) / Z - 1/n (Wierstra et al. 2014, JMLR 15:949). Equal
    losses share the mean of their ranks' utilities, lest order decide; what is not finite is last.
    """
    n = len(losses)
    raw = [max(0.0, math.log(0.5 * n + 1.0) - math.log(rank)) for rank in range(1, n + 1)]
    by_rank = torch.tensor(raw, dtype=torch.float64)
    by_rank = by_rank / by_rank.sum() - 1.0 / n
    given = torch.as_tensor(losses, dtype=torch.float64).nan_to_num(nan=math.inf, posinf=math.inf)
    _, place, count = given.unique(return_inverse=True, return_counts=True)
    order = torch.argsort(given, stable=True)
    mean = torch.zeros(len(count), dtype=torch.float64)
    mean = mean.index_add(0, place[order], by_rank) / count
    shared: Tensor = mean[place]
    return shared


class NetworkVariables:
    """Network variables b of a sequence of slots, at a temperature tau.

    Attributes
    ----------
    values
        b_l (options,) per slot, float64; 0 at the start: uniform.
    tau
        Temperature.
    """

    def __init__(self, slots: Sequence[Slot], tau: float = 1.0) -> None:
        self.slots, self.tau = tuple(slots), tau
        self.values = [torch.zeros(len(s.options), dtype=torch.float64) for s in slots]
        self._latency = [torch.tensor(s.latency_ns, dtype=torch.float64) for s in slots]

    def probabilities(self) -> list[Tensor]:
        """p_l (options,) per slot."""
        return [torch.softmax(b / self.tau, dim=0) for b in self.values]

    def sample(self, count: int, generator: torch.Generator) -> list[Architecture]:
        """Draw architectures."""
        drawn = [
            torch.multinomial(p, count, replacement=True, generator=generator)
            for p in self.probabilities()
        ]
        return [tuple(a) for a in torch.stack(drawn, dim=1).tolist()]

    def log_probability(self, architecture: Architecture) -> float:
        """Ln prod_l p_{l,a_l}."""
        logs = [torch.log_softmax(b / self.tau, dim=0) for b in self.values]
        return math.fsum(float(p[a]) for p, a in zip(logs, architecture, strict=True))

    def entropy(self) -> list[float]:
        """-sum_k p ln p per slot [nat]."""
        return [-float(torch.special.xlogy(p, p).sum()) for p in self.probabilities()]

    def expected_latency(self) -> float:
        """E_p[T] [ns per sample]."""
        pairs = zip(self.probabilities(), self._latency, strict=True)
        return math.fsum(float(p @ t) for p, t in pairs)

    def latency_gradient(self) -> list[Tensor]:
        """Gradient of E_p[T] by b: p_k (t_k - sum_j p_j t_j) / tau."""
        pairs = zip(self.probabilities(), self._latency, strict=True)
        return [p * (t - p @ t) / self.tau for p, t in pairs]

    def entropy_gradient(self) -> list[Tensor]:
        """Gradient of the summed entropy by b: -p_k (ln p_k + H) / tau."""
        return [
            -(torch.special.xlogy(p, p) - p * torch.special.xlogy(p, p).sum()) / self.tau
            for p in self.probabilities()
        ]

    def score_gradient(
        self, architectures: Sequence[Architecture], weights: Tensor
    ) -> list[Tensor]:
        """Gradient by b of sum_i u_i ln p(a_i), weights u (n,): sum_i u_i (1[a_i = k] - p_k) / tau.

        The method's formula has no 1/tau; a common factor is nothing to Adam, and with it this adds
        to the gradients of entropy and latency.
        """
        gradients = []
        for place, p in enumerate(self.probabilities()):
            chosen = torch.tensor([a[place] for a in architectures])
            gradient = torch.zeros_like(p).index_add(0, chosen, weights)
            gradients.append((gradient - weights.sum() * p) / self.tau)
        return gradients

    def most_probable(self, budget_ns: float = math.inf) -> Architecture:
        """Give the mode; over the budget, exchange what costs the least probability per ns saved.

        Raises
        ------
        ValueError
            No architecture is within the budget.
        """
        if least_latency(self.slots) > budget_ns:
            raise ValueError(
                f"budget {budget_ns} ns; the cheapest architecture takes "
                f"{least_latency(self.slots)} ns"
            )
        logs = [torch.log_softmax(b / self.tau, dim=0).tolist() for b in self.values]
        found = [max(range(len(p)), key=p.__getitem__) for p in logs]
        while latency(self.slots, tuple(found)) > budget_ns:
            swaps = [
                ((p[found[place]] - p[k]) / (slot.latency_ns[found[place]] - t), place, k)
                for place, (slot, p) in enumerate(zip(self.slots, logs, strict=True))
                for k, t in enumerate(slot.latency_ns)
                if t < slot.latency_ns[found[place]]
            ]
            _, place, k = min(swaps)
            found[place] = k
        return tuple(found)
