"""DENSE: network variables by hand and by differences, searches whose answer is known, resuming."""

import json
import math
import re
import runpy
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pyemu import dense
from pyemu.dense.operations import Choice
from pyemu.dense.problem import FIELD, VECTOR, Scaling
from pyemu.dense.search import Weights

ROOT = Path(__file__).parents[2]
SLOTS = (
    dense.Slot("one", ("a", "b", "c"), (1.0, 20.0, 3.0)),
    dense.Slot("two", ("a", "b"), (5.0, 0.0)),
)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def variables(seed: int, tau: float = 0.7) -> dense.NetworkVariables:
    found = dense.NetworkVariables(SLOTS, tau)
    for b in found.values:
        b.copy_(torch.randn(len(b), generator=dense.generator(seed), dtype=torch.float64))
    return found


def by_differences(found: dense.NetworkVariables, value: Any) -> list[Tensor]:
    step, gradients = 1e-6, []
    for b in found.values:
        slope = torch.zeros_like(b)
        for k in range(len(b)):
            b[k] += step
            up = value()
            b[k] -= 2.0 * step
            slope[k] = (up - value()) / (2.0 * step)
            b[k] += step
        gradients.append(slope)
    return gradients


def close(one: Sequence[Tensor], other: Sequence[Tensor], tolerance: float = 1e-7) -> None:
    for a, b in zip(one, other, strict=True):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


def test_utilities_are_those_of_the_formula() -> None:
    # n = 4: ln 3 - ln rank, at least 0: 1.098612, 0.405465, 0, 0; their sum 1.504077
    expected = torch.tensor([-0.25, 0.480423, 0.019577, -0.25], dtype=torch.float64)
    found = dense.utilities([7.0, 1.0, 2.0, 9.0])
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0.0)
    for count in (2, 5, 32):
        assert abs(float(dense.utilities(list(range(count))).sum())) < 1e-14


def test_equal_losses_have_equal_utilities_and_nan_is_last() -> None:
    found = dense.utilities([1.0, 1.0, math.nan, 3.0, math.inf])
    assert found[0] == found[1] > found[3] > found[2] == found[4]
    assert abs(float(found.sum())) < 1e-14
    assert not dense.utilities([2.0, 2.0, 2.0]).abs().max() > 1e-15


def test_probabilities_by_hand() -> None:
    found = dense.NetworkVariables(SLOTS, tau=0.5)
    found.values[0].copy_(torch.tensor([0.5 * math.log(2.0), 0.0, 0.0]))
    p = found.probabilities()
    torch.testing.assert_close(p[0], torch.tensor([0.5, 0.25, 0.25], dtype=torch.float64))
    assert found.log_probability((0, 1)) == pytest.approx(math.log(0.25))
    assert found.entropy() == pytest.approx([1.5 * math.log(2.0), math.log(2.0)])
    assert found.expected_latency() == pytest.approx(0.5 + 5.0 + 0.75 + 2.5)
    drawn = found.sample(20_000, dense.generator(1))
    part = np.mean([a == (0, 1) for a in drawn])
    assert part == pytest.approx(0.25, abs=4.0 * math.sqrt(0.25 * 0.75 / 20_000))


def test_gradients_are_those_of_differences() -> None:
    found = variables(3)
    close(found.latency_gradient(), by_differences(found, found.expected_latency))
    close(found.entropy_gradient(), by_differences(found, lambda: sum(found.entropy())))
    drawn = found.sample(8, dense.generator(4))
    weights = dense.utilities([float(i * i % 7) for i in range(8)])

    def objective() -> float:
        return sum(float(u) * found.log_probability(a) for u, a in zip(weights, drawn, strict=True))

    close(found.score_gradient(drawn, weights), by_differences(found, objective))


def test_most_probable_keeps_the_budget() -> None:
    found = dense.NetworkVariables(SLOTS)
    found.values[0].copy_(torch.tensor([0.0, 3.0, 1.0]))
    found.values[1].copy_(torch.tensor([0.5, 0.0]))
    assert found.most_probable() == (1, 0)
    assert found.most_probable(22.0) == (1, 1)  # 0.5 for 5 ns is less than 2 for 17 ns
    assert found.most_probable(4.0) == (2, 1)
    assert found.most_probable(1.0) == (0, 1)
    with pytest.raises(ValueError, match=r"budget 0\.5 ns; the cheapest architecture takes 1\.0"):
        found.most_probable(0.5)


# operations and super-architectures


def options() -> list[tuple[dense.Operation, tuple[int, ...]]]:
    vectors = [(o, ()) for o in VECTOR]
    fields = [(o, shape) for o in FIELD for shape in ((6,), (5, 7))]
    return [*vectors, *fields]


@pytest.mark.parametrize(("operation", "shape"), options(), ids=str)
def test_operations_keep_the_shape(operation: dense.Operation, shape: tuple[int, ...]) -> None:
    choice = Choice((operation,), 4, shape)
    h = torch.randn(3, 4, *shape, generator=dense.generator(1))
    out = choice(h, 0)
    assert out.shape == h.shape
    assert out.isfinite().all()


def test_operations_compute_what_they_say() -> None:
    h = torch.randn(3, 4, generator=dense.generator(1))
    wide = (*dense.menu("dense", widths=(2, 5), activations=("tanh",)), *dense.menu("skip"))
    choice = Choice((*wide, *dense.menu("zero"), *dense.menu("gated", widths=(3,))), 4)
    hidden: Any = choice.groups["dense_tanh"]
    inner, outer = hidden.inner.weight, hidden.outer.weight
    assert inner.shape == (5, 4)
    expected = torch.tanh(h @ inner[:2].T) @ outer[:, :2].T
    torch.testing.assert_close(choice(h, 0), expected)
    torch.testing.assert_close(choice(h, 1), torch.tanh(h @ inner.T) @ outer.T)
    assert torch.equal(choice(h, 2), h)
    assert not choice(h, 3).any()
    gate: Any = choice.groups["gated_"]
    product = (h @ gate.inner.weight.T) * (h @ gate.gate.weight.T) @ gate.outer.weight.T
    torch.testing.assert_close(choice(h, 4), product)


def test_up_sampling_doubles_the_points() -> None:
    h = torch.tensor([[[0.0, 4.0]]])
    nearest, linear = Choice(dense.menu("nearest"), 1, (2,)), Choice(dense.menu("linear"), 1, (2,))
    assert nearest(h, 0).tolist() == [[[0.0, 0.0, 4.0, 4.0]]]
    assert linear(h, 0).tolist() == [[[0.0, 1.0, 3.0, 4.0]]]
    assert nearest(h[..., None], 0).shape == (1, 1, 4, 2)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"kind": "magic"}, "kind = 'magic'"),
        ({"kind": "dense", "activation": "relu"}, "width 0"),
        ({"kind": "skip", "width": 3}, "width 3"),
        ({"kind": "convolution", "kernel": 4, "activation": "relu"}, "kernel 4"),
        ({"kind": "dense", "width": 3, "activation": "sine"}, "activation = 'sine'"),
    ],
)
def test_an_operation_that_cannot_be_is_refused(given: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(text)):
        dense.Operation(**given)


@pytest.mark.parametrize("outputs", [(1,), (5,), (2, 21), (1, 3), (1, 11, 6), (3, 16, 16)], ids=str)
@pytest.mark.parametrize("passage", [(), (*dense.menu("skip"), *dense.menu("zero"))], ids=len)
def test_super_architecture_gives_outputs_of_any_shape(
    outputs: tuple[int, ...], passage: tuple[dense.Operation, ...]
) -> None:
    size = dense.Size(layers=2, width=8, channels=3, passage=passage)
    network = dense.SuperArchitecture(4, outputs, size)
    x = torch.randn(5, 4, generator=dense.generator(1))
    for architecture in dense.NetworkVariables(network.slots).sample(6, dense.generator(2)):
        out = network(x, architecture)
        assert out.shape == (5, *outputs)
        assert out.isfinite().all()
        alone = network.alone(architecture, seed=3)
        only = dense.only(alone.slots)
        assert alone(x, only).shape == (5, *outputs)
        assert dense.latency(alone.slots, only) == dense.latency(network.slots, architecture)
        again = network.alone(architecture, seed=3)
        assert torch.equal(alone(x, only), again(x, only))
        chosen = list(dense.describe(network.slots, architecture).values())
        assert [slot.options[0] for slot in alone.slots] == chosen


# searches


class Table:
    """A problem whose validation losses are known: a sum over slots; it trains one number."""

    def __init__(self, slots: Sequence[dense.Slot], losses: Sequence[Sequence[float]]) -> None:
        self.slots, self.losses = tuple(slots), losses
        self.weight = torch.nn.Parameter(torch.ones(()))

    def parameters(self) -> list[torch.nn.Parameter]:
        return [self.weight]

    def train_loss(self, architecture: dense.Architecture, step: int) -> Tensor:
        return (self.weight - 0.01 * (step % 7) - sum(architecture)).square()

    def validation_losses(
        self, architectures: Sequence[dense.Architecture], batch: int | None
    ) -> list[float]:
        noise = 0.0 if batch is None else 0.01 * math.sin(batch)
        return [
            1.0 + noise + sum(row[k] for row, k in zip(self.losses, a, strict=True))
            for a in architectures
        ]

    def state_dict(self) -> dict[str, Tensor]:
        return {"weight": self.weight.detach()}

    def load_state_dict(self, state_dict: Mapping[str, Tensor], /) -> None:
        with torch.no_grad():
            self.weight.copy_(state_dict["weight"])


def menu_of(sizes: Sequence[int]) -> list[dense.Slot]:
    return [
        dense.Slot(f"slot{i}", tuple(map(str, range(n))), tuple(10.0 * k for k in range(n)))
        for i, n in enumerate(sizes)
    ]


# The dearer the option, the better: 30, 20, 40 and 10 ns at most.
DEARER = [[0.8 * 0.5**k for k in range(n)] for n in (4, 3, 5, 2)]
FAST = dense.SearchConfig(steps=800, weight_steps=5, variable_rate=0.1)


def test_search_finds_the_best_and_entropy_falls() -> None:
    losses = [[0.3, 0.0, 0.5, 0.9], [0.2, 0.4, 0.0], [0.6, 0.1, 0.2, 0.0, 0.3], [0.0, 0.2]]
    search = dense.Search(Table(menu_of((4, 3, 5, 2)), losses), FAST)
    search.run()
    assert search.variables[0].most_probable() == (1, 2, 3, 0)
    assert search.front()[-1].architecture == (1, 2, 3, 0)
    entropies = [sum(row["entropy"]) for row in search.history]
    assert entropies[0] > 0.98 * sum(math.log(n) for n in (4, 3, 5, 2))
    assert entropies[-1] < 0.05 * entropies[0]


def test_budgets_are_kept_and_spent() -> None:
    config = replace(FAST, budgets_ns=(30.0, 60.0, math.inf))
    search = dense.Search(Table(menu_of((4, 3, 5, 2)), DEARER), config)
    search.run()
    costs = [v.expected_latency() for v in search.variables]
    for budget, cost in zip(config.budgets_ns, costs, strict=True):
        assert cost <= 1.05 * budget
    assert costs[0] > 20.0
    assert costs[1] > 50.0
    assert costs[2] > 95.0
    front = search.front()
    assert [c.latency_ns for c in front] == sorted(c.latency_ns for c in front)
    assert [c.loss for c in front] == sorted((c.loss for c in front), reverse=True)
    assert len({c.architecture for c in front}) == len(front) >= 3
    assert any(c.latency_ns <= 30.0 for c in front)
    assert front[-1].architecture == (3, 2, 4, 1)


def test_front_leaves_out_what_is_beaten() -> None:
    given = [(3.0, 1.0), (2.0, 2.0), (2.5, 3.0), (1.0, 4.0), (1.0, 5.0), (math.nan, 0.0)]
    found = dense.front([dense.Candidate(loss, cost, ()) for loss, cost in given])
    assert [(c.loss, c.latency_ns) for c in found] == [(3.0, 1.0), (2.0, 2.0), (1.0, 4.0)]


def product(count: int) -> tuple[Tensor, Tensor]:
    x = torch.randn(count, 4, generator=dense.generator(5, count))
    return x, x[:, :1] * x[:, 1:2] + x[:, 2:3] * x[:, 3:]


def small(menu: tuple[dense.Operation, ...], passage: tuple[dense.Operation, ...] = ()) -> Any:
    size = dense.Size(layers=1, width=8, vector=menu, passage=passage)
    network = dense.SuperArchitecture(4, (1,), size)
    return dense.Regression(network, product(1000), product(300))


def test_search_finds_the_product_and_avoids_zero() -> None:
    menu = (
        *dense.menu("zero"),
        *dense.menu("dense", widths=(4,), activations=("relu", "tanh")),
        *dense.menu("gated", widths=(4,)),
        *dense.menu("low_rank", widths=(2,), activations=("tanh",)),
    )
    passage = (*dense.menu("zero"), *dense.menu("skip"))
    config = dense.SearchConfig(steps=600, weight_steps=10, rate=1e-2, variable_rate=0.15)
    search = dense.Search(small(menu, passage), config)
    search.run()
    (layer, _), entropy = search.variables[0].probabilities(), search.variables[0].entropy()
    assert layer[3] > 0.95
    assert entropy[0] < 0.2 * math.log(5.0)
    best = search.candidates()[0]
    assert best.loss < 0.05


def bits(search: dense.Search) -> dict[str, bytes]:
    tensors, _ = search.state()
    return {name: tensor.numpy().tobytes() for name, tensor in tensors.items()}


@pytest.mark.parametrize("killed", [1, 17, 40, 60, 63, 119])
def test_a_search_that_was_killed_ends_with_the_same_bits(killed: int, tmp_path: Path) -> None:
    config = dense.SearchConfig(
        steps=120, weight_steps=10, samples=4, rate=1e-2, budgets_ns=(2.0, math.inf)
    )
    whole = dense.Search(small(VECTOR), config)
    whole.run()
    first = dense.Search(small(VECTOR), config)
    for _ in range(killed):
        first.step()
    tensors, plain = first.state()
    torch.save(tensors, tmp_path / "tensors")
    text = json.dumps(plain)
    for _ in range(3):
        first.step()  # what comes after must not leak into the state that was taken
    second = dense.Search(small(VECTOR), config)
    second.restore(torch.load(tmp_path / "tensors", weights_only=True), json.loads(text))
    second.run()
    assert bits(second) == bits(whole)
    assert json.dumps(second.history) == json.dumps(whole.history)
    assert second.front() == whole.front()


def test_the_state_of_another_search_is_refused() -> None:
    table = Table(menu_of((4, 3, 5, 2)), DEARER)
    state = dense.Search(table, FAST).state()
    with pytest.raises(ValueError, match="another configuration or menu"):
        dense.Search(table, replace(FAST, seed=2)).restore(*state)
    with pytest.raises(ValueError, match="another configuration or menu"):
        dense.Search(Table(menu_of((4, 3)), DEARER), FAST).restore(*state)


def test_seeds_differ_and_repeat() -> None:
    config = dense.SearchConfig(steps=60, weight_steps=10, samples=4)
    ends = []
    for seed in (1, 1, 2):
        search = dense.Search(small(VECTOR), replace(config, seed=seed))
        search.run()
        ends.append(bits(search))
    assert ends[0] == ends[1] != ends[2]


def test_a_gradient_that_is_not_finite_is_left_out() -> None:
    class Bad(Table):
        def train_loss(self, architecture: dense.Architecture, step: int) -> Tensor:
            return super().train_loss(architecture, step) * (math.nan if step == 3 else 1.0)

    weights = Weights(Bad(menu_of((2,)), [[0.0, 1.0]]), dense.SearchConfig(steps=10))
    for step in range(10):
        weights.step((0,), step)
    assert weights.skipped == 1
    assert weights.problem.state_dict()["weight"].isfinite()


@pytest.mark.parametrize(
    "given",
    [
        {"steps": 0},
        {"samples": 1},
        {"rate": 0.0},
        {"warm_up": 1.0},
        {"tau": (0.3, 1.0)},
        {"budgets_ns": ()},
        {"budgets_ns": (2.0, 2.0)},
        {"budgets_ns": (-1.0,)},
        {"entropy_bonus": -0.1},
    ],
    ids=str,
)
def test_a_configuration_that_cannot_be_is_refused(given: dict[str, Any]) -> None:
    (name,) = given
    with pytest.raises(ValueError, match=name):
        dense.SearchConfig(**given)


def test_a_problem_that_cannot_be_searched_is_refused() -> None:
    with pytest.raises(ValueError, match="no slots"):
        dense.Search(Table([], []))
    slots = [dense.Slot("one", ("a",), (5.0,))]
    with pytest.raises(ValueError, match="cheapest architecture takes 5 ns"):
        dense.Search(Table(slots, [[0.0]]), replace(FAST, budgets_ns=(1.0,)))
    with pytest.raises(ValueError, match="2 latencies of 1 options"):
        dense.Slot("one", ("a",), (1.0, 2.0))
    with pytest.raises(ValueError, match="distinct names"):
        dense.Slot("one", ("a", "a"), (1.0, 2.0))
    nothing = torch.zeros(0, 2)
    with pytest.raises(ValueError, match="train: 0 inputs"):
        dense.Regression(torch.nn.Identity(), (nothing, nothing), (nothing, nothing))


DISTRIBUTED = """
import os, sys
from pathlib import Path

import torch
from torch import distributed

from pyemu import dense
sys.path.insert(0, {folder!r})
from test_dense import small, VECTOR

distributed.init_process_group("gloo")
torch.set_num_threads(1)
rank = distributed.get_rank()
torch.manual_seed(rank)
problem = small(VECTOR)
problem._rank = rank
judged = []
real = problem.validation_losses
problem.validation_losses = lambda a, batch: (judged.extend(a), real(a, batch))[1]
search = dense.Search(problem, dense.SearchConfig(steps=60, weight_steps=10, samples=8))
search.run()
tensors, _ = search.state()
flat = torch.cat([t.double().flatten() for _, t in sorted(tensors.items())])
other = flat.clone()
distributed.broadcast(other, 0)
assert torch.equal(flat, other), rank
total = torch.tensor([len(judged)])
distributed.all_reduce(total)
assert 0 < len(judged) < int(total)
Path(f"front{{rank}}").write_text(str(search.front()))
distributed.barrier()
distributed.destroy_process_group()
os._exit(0)  # torch's own static objects abort now and then (1 in 10) as the process ends
"""


def test_two_processes_stay_equal(tmp_path: Path) -> None:
    program = tmp_path / "ranks.py"
    program.write_text(DISTRIBUTED.format(folder=str(Path(__file__).parent)))
    start = [str(Path(sys.executable).with_name("torchrun")), "--nproc-per-node", "2"]
    done = subprocess.run(
        [*start, "--standalone", str(program)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    one, other = ((tmp_path / f"front{rank}").read_text() for rank in (0, 1))
    assert one == other != "[]"


# after the search, and beside it


def test_retraining_chooses_on_validation_from_scratch() -> None:
    config = dense.SearchConfig(rate=1e-2)
    menu = (*dense.menu("zero"), *dense.menu("gated", widths=(4,)))
    problem = small(menu)
    made = []

    def alone(architecture: dense.Architecture, seed: int) -> dense.Regression:
        made.append((architecture, seed))
        network = problem.network.alone(architecture, seed)
        return dense.Regression(network, product(1000), product(300), seed=seed)

    candidates = [dense.Candidate(0.0, 0.0, (0,)), dense.Candidate(9.0, 2.0, (1,))]
    runs = dense.retrain(alone, candidates, config, steps=300, seeds=(1, 2))
    assert made == [((0,), 1), ((0,), 2), ((1,), 1), ((1,), 2)]
    assert [run.architecture for run in runs] == [(1,), (1,), (0,), (0,)]
    assert runs[0].loss < 0.05 < 0.9 < runs[-1].loss
    x, y = product(200)
    error = (runs[0].problem.predict(x) - y).square().mean() / y.var()
    assert error < 0.05
    repeated = alone((1,), runs[0].seed)
    assert dense.fit(repeated, config, 300) == runs[0].loss


def test_ensemble_gives_mean_and_spread() -> None:
    found = dense.NetworkVariables(SLOTS)
    calls = []

    def predict(architecture: dense.Architecture) -> Tensor:
        calls.append(architecture)
        return torch.tensor([float(architecture[0]), 5.0])

    drawn = found.sample(64, dense.generator(9, 3))
    first = np.array([a[0] for a in drawn])
    mean, spread = dense.ensemble(predict, found, count=64, seed=9)
    assert len(calls) == len(set(calls)) <= 6
    assert mean.tolist() == pytest.approx([first.mean(), 5.0])
    assert spread.tolist() == pytest.approx([first.std(ddof=1), 0.0])
    geometric, _ = dense.ensemble(
        predict, found, count=64, seed=9, mean=lambda y: y.log1p().mean(dim=0).expm1()
    )
    assert geometric[0] == pytest.approx(np.expm1(np.log1p(first).mean()), rel=1e-5)


@pytest.mark.parametrize("strategy", [dense.random_search, dense.optuna_search])
def test_strategies_keep_budget_and_number_of_trials(strategy: Any) -> None:
    table = Table(menu_of((4, 3, 5, 2)), DEARER)
    tried: list[dense.Architecture] = []

    def trial(architecture: dense.Architecture) -> float:
        tried.append(architecture)
        (loss,) = table.validation_losses([architecture], None)
        return math.nan if architecture[0] == 1 else loss

    found = strategy(trial, table.slots, trials=25, budget_ns=60.0, seed=3)
    assert len(tried) == len(set(tried)) == 25
    assert {c.architecture for c in found} == set(tried)
    assert max(c.latency_ns for c in found) <= 60.0
    finite = [c.loss for c in found if math.isfinite(c.loss)]
    assert finite == sorted(finite) == [c.loss for c in found[: len(finite)]]
    again = strategy(trial, table.slots, trials=25, budget_ns=60.0, seed=3)
    assert [c.architecture for c in again] == [c.architecture for c in found]
    few = strategy(lambda _: 1.0, menu_of((2, 2)), trials=25, budget_ns=10.0)
    assert {c.architecture for c in few} == {(0, 0), (0, 1), (1, 0)}
    with pytest.raises(ValueError, match="no end"):
        strategy(trial, table.slots)


def test_optuna_is_better_than_chance() -> None:
    slots = menu_of((8,) * 6)
    losses = [[abs(k - 5.0) for k in range(8)]] * 6
    table = Table(slots, losses)

    def trial(architecture: dense.Architecture) -> float:
        return table.validation_losses([architecture], None)[0]

    random = dense.random_search(trial, slots, trials=120)[0].loss
    assert dense.optuna_search(trial, slots, trials=120)[0].loss < random


def test_rank_correlation_by_hand() -> None:
    assert dense.rank_correlation([1, 2, 3, 4], [10, 20, 40, 30]) == pytest.approx(0.8)
    assert dense.rank_correlation([1, 2, 3], [3, 2, 1]) == pytest.approx(-1.0)
    # ranks 1.5, 1.5, 3 and 1, 2, 3: covariance 1.5, variances 1.5 and 2
    assert dense.rank_correlation([5, 5, 9], [1, 2, 3]) == pytest.approx(1.5 / math.sqrt(3.0))
    assert math.isnan(dense.rank_correlation([1, 1], [1, 2]))


def test_scaling_of_fields_is_by_channel() -> None:
    y = torch.randn(500, 2, 8, generator=dense.generator(1)) * torch.tensor([[3.0], [0.1]]) + 2.0
    found = Scaling.of(y, by_channel=True)
    assert found.mean.shape == (2, 8)
    torch.testing.assert_close(found.scale.flatten(), torch.tensor([3.0, 0.1]), rtol=0.05, atol=0)
    torch.testing.assert_close(found.physical(found.scaled(y)), y)
    assert Scaling.of(torch.full((9, 1), 7.0)).scale.tolist() == [1.0]


def simulator(name: str, count: int, seed: int) -> tuple[Tensor, Tensor]:
    draw = runpy.run_path(str(ROOT / "benchmarks/dense_simulators.py"))["draw"]
    x, y = draw(name, count, seed)
    return torch.tensor(x).float(), torch.tensor(y).float()


def test_simulators_are_physical_and_repeat() -> None:
    x, y = simulator("spectrum", 60, 1)
    assert torch.equal(simulator("spectrum", 60, 1)[1], y)
    assert 0.0 < y.min() < 0.5 < y.max() <= 1.0
    made = runpy.run_path(str(ROOT / "benchmarks/dense_simulators.py"))
    given = x[:1].double().numpy()
    more, broad, none = given.copy(), given.copy(), given.copy()
    more[0, 2:4] += 0.5
    broad[0, 5] = 0.08
    none[0, 2:4] = -40.0
    usual = made["spectrum"](given)
    assert (made["spectrum"](more) < usual).all()  # more gas, less light, at every point
    inner = slice(8, -8)  # an instrument moves light; a window's ends aside it loses none
    assert made["spectrum"](broad).std() < usual.std()
    moved = (made["spectrum"](broad) - usual)[..., inner].mean() / (1.0 - usual).mean()
    assert abs(moved) < 0.05
    assert np.abs(made["spectrum"](none) - 1.0).max() < 1e-12
    x, y = simulator("image", 60, 1)
    assert 0.0 <= y.min() < 0.01 < 0.5 < y.max() <= 1.0
    light = y.sum(dim=(1, 2, 3))
    assert dense.rank_correlation(light, x[:, 5]) > 0.8  # a larger source is brighter
    assert float(light.mean()) > 1.5 * 2.0 * math.pi * float(x[:, 5].square().mean()) * 32**2 / 25


def test_search_on_the_spectrum_beats_a_linear_model() -> None:
    x, y = simulator("spectrum", 700, 2)
    train, held, test = [(x[a:b], y[a:b]) for a, b in ((0, 500), (500, 600), (600, 700))]
    network = dense.SuperArchitecture(6, (1, 128), dense.Size(layers=2, channels=4))
    problem = dense.Regression(network, train, held, batch=32, validation_batch=50)
    config = dense.SearchConfig(steps=300, samples=8, rate=5e-3, variable_rate=0.1)
    search = dense.Search(problem, config)
    search.run()
    (best, *_) = search.candidates(samples=4)
    assert best.latency_ns == dense.latency(network.slots, best.architecture)

    def alone(architecture: dense.Architecture, seed: int) -> dense.Regression:
        return dense.Regression(network.alone(architecture, seed), train, held, batch=32, seed=seed)

    chosen = dense.retrain(alone, [best], config, steps=400, seeds=(1,))[0]
    design = torch.cat((train[0], torch.ones(len(train[0]), 1)), dim=1)
    slope = torch.linalg.lstsq(design, train[1].flatten(1)).solution
    linear = torch.cat((test[0], torch.ones(len(test[0]), 1)), dim=1) @ slope
    error = (chosen.problem.predict(test[0]) - test[1]).square().mean()
    assert error < 0.5 * (linear.reshape(test[1].shape) - test[1]).square().mean()


def test_the_example_in_the_docstring_runs(tmp_path: Path) -> None:
    text = str(dense.__doc__).split("::\n\n")[1]
    code = textwrap.dedent(re.split(r"\n\n(?=\S)", text)[0])
    assert 10 < code.count("\n") <= 20
    (tmp_path / "example.py").write_text(code)
    done = subprocess.run(
        [sys.executable, "example.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "layer0" in done.stdout
