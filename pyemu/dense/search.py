"""The search: weights and network variables are trained in turn (Kasim et al. 2020).

Several latency budgets share one run: each has network variables of its own over the same weights,
which are trained on the networks of all budgets in turn. A front of k points then costs one
training of the super-network and k cheap searches; one set of variables conditioned on the budget
would need a model of that dependence, and separate runs k trainings.
"""

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, distributed

from pyemu.dense.architecture import (
    Architecture,
    NetworkVariables,
    latency,
    least_latency,
    utilities,
)
from pyemu.dense.problem import Problem, generator

Row = dict[str, Any]
Tensors = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class SearchConfig:
    """A search.

    Parameters
    ----------
    steps
        Training batches in all.
    weight_steps, samples
        Batches between two updates of the network variables, and networks drawn for an update.
    rate, weight_decay, clip
        Of AdamW on the weights, falling to 0 as a cosine, and the largest norm of a gradient.
    variable_rate
        Of Adam on the network variables.
    warm_up
        Part of the steps in which all networks are equally likely.
    tau
        Temperature after the warm-up and at the end, linear in between.
    entropy_bonus
        Weight of the entropy at the start; falls to 0 linearly.
    entropy_stop
        The search ends early when no slot's entropy is above it [nat].
    budgets_ns
        Latency budgets, each with network variables of its own [ns per sample].
    penalty
        Losses are multiplied by (latency / budget)^penalty beyond the budget.
    latency_weight
        Weight of the gradient of E_p[T] / budget while E_p[T] is beyond the budget.
    seed
        Of what is drawn here; a problem has its own.
    """

    steps: int = 4000
    weight_steps: int = 20
    samples: int = 32
    rate: float = 1e-3
    weight_decay: float = 1e-4
    clip: float = 1.0
    variable_rate: float = 0.05
    warm_up: float = 0.1
    tau: tuple[float, float] = (1.0, 0.3)
    entropy_bonus: float = 0.1
    entropy_stop: float = 0.01
    budgets_ns: tuple[float, ...] = (math.inf,)
    penalty: float = 8.0
    latency_weight: float = 1.0
    seed: int = 1

    def __post_init__(self) -> None:
        for name, low in (("steps", 1), ("weight_steps", 1), ("samples", 2), ("seed", 0)):
            value = getattr(self, name)
            if not isinstance(value, int) or value < low:
                raise ValueError(f"{name} = {value!r}; allowed are whole numbers >= {low}")
        for name in ("rate", "clip", "variable_rate"):
            if not 0.0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} = {getattr(self, name)}; allowed is > 0")
        for name in ("weight_decay", "entropy_bonus", "entropy_stop", "penalty", "latency_weight"):
            if not 0.0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} = {getattr(self, name)}; allowed is >= 0")
        if not 0.0 <= self.warm_up < 1.0:
            raise ValueError(f"warm_up = {self.warm_up}; allowed is [0, 1)")
        if not 0.0 < self.tau[1] <= self.tau[0] < math.inf:
            raise ValueError(f"tau = {self.tau}; allowed is (start, end), start >= end > 0")
        budgets = self.budgets_ns
        if not budgets or len(set(budgets)) < len(budgets) or not all(b > 0 for b in budgets):
            raise ValueError(f"budgets_ns = {budgets}; needed are distinct numbers > 0")


class Candidate(NamedTuple):
    """A network that was judged."""

    loss: float
    latency_ns: float
    architecture: Architecture


class Weights:
    """Training of a problem's weights: AdamW with a cosine, gradients averaged over ranks."""

    def __init__(self, problem: Problem, config: SearchConfig) -> None:
        self.problem, self.config, self.skipped = problem, config, 0
        self._parameters = list(problem.parameters())
        self._optimizer = torch.optim.AdamW(
            self._parameters, lr=config.rate, weight_decay=config.weight_decay
        )
        if _world() > 1:  # equal weights, whatever the ranks began with
            tensors = dict(problem.state_dict())
            for tensor in tensors.values():
                distributed.broadcast(tensor, 0)
            problem.load_state_dict(tensors)

    def step(self, architecture: Architecture, step: int) -> float:
        """Train on batch `step`; give the loss. A gradient that is not finite is left out."""
        rate = 0.5 * self.config.rate * (1.0 + math.cos(math.pi * step / self.config.steps))
        self._optimizer.param_groups[0]["lr"] = rate
        self._optimizer.zero_grad(set_to_none=True)
        loss = self.problem.train_loss(architecture, step)
        if loss.requires_grad:  # not so where a sampled network has no weights
            loss.backward()
        used = [p for p in self._parameters if p.grad is not None]
        if _world() > 1:
            for gradient in [p.grad for p in used if p.grad is not None]:
                distributed.all_reduce(gradient)
                gradient.div_(_world())
        norm = torch.nn.utils.clip_grad_norm_(used, self.config.clip)
        if norm.isfinite():
            self._optimizer.step()
        else:
            self.skipped += 1
        return float(loss.detach())

    def state(self) -> Tensors:
        """Weights and moments."""
        weights = {f"weights.{k}": t.clone() for k, t in self.problem.state_dict().items()}
        return weights | {f"adamw.{k}": t for k, t in flat(self._optimizer).items()}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Set what `state` gave."""
        self.problem.load_state_dict(under("weights", tensors))
        unflatten(self._optimizer, under("adamw", tensors))


class Search:
    """A search between two of its steps; `run` makes all that are left.

    Attributes
    ----------
    variables
        Network variables, one per budget.
    history
        A row per update and budget: step, budget_ns, temperature, train_loss (mean since the last
        update), best (least loss times penalty of the drawn), best_architecture, latency_ns
        (expected), entropy (per slot), probabilities (per slot), skipped (batches without a finite
        gradient).

    Raises
    ------
    ValueError
        No slot, or a budget below the cheapest architecture.
    """

    def __init__(self, problem: Problem, config: SearchConfig | None = None) -> None:
        self.problem, self.config = problem, config or SearchConfig()
        self.slots = tuple(problem.slots)
        if not self.slots:
            raise ValueError("the problem has no slots; there is nothing to search")
        if least_latency(self.slots) > min(self.config.budgets_ns):
            raise ValueError(
                f"budgets_ns = {self.config.budgets_ns}; the cheapest architecture takes "
                f"{least_latency(self.slots):g} ns"
            )
        self.done, self.history = 0, list[Row]()
        self.variables = [NetworkVariables(self.slots) for _ in self.config.budgets_ns]
        self.weights = Weights(problem, self.config)
        self._ascents = [
            torch.optim.Adam(v.values, lr=self.config.variable_rate, maximize=True)
            for v in self.variables
        ]
        self._loss, self._count = 0.0, 0

    @property
    def progress(self) -> float:
        """Part of the time after the warm-up that has passed; 0 before."""
        first = self.config.warm_up * self.config.steps
        return max(0.0, (self.done - first) / (self.config.steps - first))

    @property
    def finished(self) -> bool:
        """Whether the steps are spent, or every choice is made."""
        choice = max(max(v.entropy()) for v in self.variables)
        return self.done >= self.config.steps or choice <= self.config.entropy_stop

    def run(self, after: Callable[["Search"], None] | None = None) -> None:
        """Make the steps that are left; `after` each one it is called, as to write a checkpoint."""
        while not self.finished:
            self.step()
            if after is not None:
                after(self)

    def step(self) -> None:
        """Train on a batch; where it is due, update the network variables."""
        start, end = self.config.tau
        for variables in self.variables:
            variables.tau = start + (end - start) * self.progress
        turn = self.variables[self.done % len(self.variables)]
        (architecture,) = turn.sample(1, generator(self.config.seed, 0, self.done))
        self._loss += self.weights.step(architecture, self.done)
        self._count += 1
        self.done += 1
        if self.progress > 0.0 and self.done % self.config.weight_steps == 0:
            self._update()

    def _update(self) -> None:
        config, turn = self.config, self.done // self.config.weight_steps
        drawn = [
            v.sample(config.samples, generator(config.seed, 1, turn, k))
            for k, v in enumerate(self.variables)
        ]
        loss_of = self._judge([a for some in drawn for a in some], turn)
        bonus = config.entropy_bonus * (1.0 - self.progress)
        for k, budget in enumerate(config.budgets_ns):
            variables = self.variables[k]
            scores = [
                loss_of[a] * max(1.0, latency(self.slots, a) / budget) ** config.penalty
                for a in drawn[k]
            ]
            gradients = variables.score_gradient(drawn[k], utilities(scores))
            slopes = variables.entropy_gradient()
            excess = config.latency_weight * (variables.expected_latency() > budget)
            costs = variables.latency_gradient()
            for b, gain, slope, cost in zip(
                variables.values, gradients, slopes, costs, strict=True
            ):
                b.grad = gain + bonus * slope - excess / budget * cost
            self._ascents[k].step()
            best = min(range(len(scores)), key=lambda i: (not math.isfinite(scores[i]), scores[i]))
            self.history.append(
                {
                    "step": self.done,
                    "budget_ns": budget,
                    "temperature": variables.tau,
                    "train_loss": self._loss / self._count,
                    "best": scores[best],
                    "best_architecture": list(drawn[k][best]),
                    "latency_ns": variables.expected_latency(),
                    "entropy": variables.entropy(),
                    "probabilities": [p.tolist() for p in variables.probabilities()],
                    "skipped": self.weights.skipped,
                }
            )
        self._loss, self._count = 0.0, 0

    def _judge(
        self, architectures: Iterable[Architecture], batch: int | None
    ) -> dict[Architecture, float]:
        """Losses of the distinct ones, each judged by one rank."""
        distinct = sorted(set(architectures))
        losses = torch.zeros(len(distinct), dtype=torch.float64)
        mine = slice(_rank(), None, _world())
        if distinct[mine]:
            with torch.no_grad():
                found = self.problem.validation_losses(distinct[mine], batch)
            losses[mine] = torch.as_tensor(found, dtype=torch.float64).cpu()
        if _world() > 1:
            distributed.all_reduce(losses)
        if (losses < 0.0).any():
            raise ValueError(f"validation loss {float(losses.min())}; needed is >= 0")
        return dict(zip(distinct, losses.tolist(), strict=True))

    def candidates(self, samples: int = 32) -> list[Candidate]:
        """Judge, on all validation data, what each budget's variables now favour.

        These are its most probable network and the `samples` drawn, those within the budget;
        distinct, best first. Losses are of shared weights: for ranking before `retrain`.
        """
        found: set[Architecture] = set()
        for k, (budget, variables) in enumerate(
            zip(self.config.budgets_ns, self.variables, strict=True)
        ):
            drawn = variables.sample(samples, generator(self.config.seed, 2, k))
            found |= {variables.most_probable(budget)}
            found |= {a for a in drawn if latency(self.slots, a) <= budget}
        losses = self._judge(found, None)
        return sorted(Candidate(loss, latency(self.slots, a), a) for a, loss in losses.items())

    def front(self, samples: int = 32) -> list[Candidate]:
        """Give the candidates that no other beats in both loss and latency, cheapest first."""
        return front(self.candidates(samples))

    def state(self) -> tuple[Tensors, Row]:
        """All that the rest of the run depends on: tensors, and plain values for JSON."""
        tensors = self.weights.state()
        for k, (variables, ascent) in enumerate(zip(self.variables, self._ascents, strict=True)):
            tensors |= {f"b{k}.{place}": b.clone() for place, b in enumerate(variables.values)}
            tensors |= {f"adam{k}.{name}": t for name, t in flat(ascent).items()}
        plain = {"done": self.done, "loss": self._loss, "count": self._count}
        plain |= {"skipped": self.weights.skipped, "tau": self.variables[0].tau}
        return tensors, plain | {"history": list(self.history), "identity": self._identity()}

    def restore(self, tensors: Mapping[str, Tensor], plain: Mapping[str, Any]) -> None:
        """Set what `state` gave; ValueError if it is another search's."""
        if json.dumps(plain["identity"]) != json.dumps(self._identity()):
            raise ValueError("the state is that of a search with another configuration or menu")
        self.weights.restore(tensors)
        self.weights.skipped = plain["skipped"]
        for k, (variables, ascent) in enumerate(zip(self.variables, self._ascents, strict=True)):
            variables.tau = plain["tau"]
            for place, b in enumerate(variables.values):
                b.copy_(tensors[f"b{k}.{place}"])
            unflatten(ascent, under(f"adam{k}", tensors))
        self.done, self.history = plain["done"], list(plain["history"])
        self._loss, self._count = plain["loss"], plain["count"]

    def _identity(self) -> Row:
        return {"config": asdict(self.config), "slots": [asdict(slot) for slot in self.slots]}


def front(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Give the candidates that no other beats in both loss and latency, cheapest first."""
    kept: list[Candidate] = []
    for candidate in sorted(candidates, key=lambda c: (c.latency_ns, c.loss)):
        if math.isfinite(candidate.loss) and (not kept or candidate.loss < kept[-1].loss):
            kept.append(candidate)
    return kept


def flat(optimizer: torch.optim.Optimizer) -> Tensors:
    """State of an optimizer by names."""
    state = optimizer.state_dict()["state"]
    return {
        f"{place}.{key}": torch.as_tensor(value).clone()
        for place, found in state.items()
        for key, value in found.items()
    }


def unflatten(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Set what `flat` gave."""
    state: dict[int, Tensors] = {}
    for name, tensor in tensors.items():
        place, _, key = name.partition(".")
        state.setdefault(int(place), {})[key] = tensor.clone()
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def under(prefix: str, tensors: Mapping[str, Tensor]) -> Tensors:
    """Tensors whose names begin with `prefix.`, without it."""
    start = f"{prefix}."
    return {n.removeprefix(start): t for n, t in tensors.items() if n.startswith(start)}


def _world() -> int:
    return distributed.get_world_size() if distributed.is_initialized() else 1


def _rank() -> int:
    return distributed.get_rank() if distributed.is_initialized() else 0
