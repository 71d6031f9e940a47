"""DENSE beside other emulators on the two simulators, at equal CPU time; writes dense.md.

python benchmarks/dense.py            # some 20 minutes on one core
"""

import argparse
import datetime as dt
import math
import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from dense_simulators import draw
from sklearn.ensemble import RandomForestRegressor
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
from torch import Tensor, nn

from pyemu import dense

Pairs = tuple[Tensor, Tensor]
Score = Callable[[Callable[[Tensor], Tensor]], float]

# Simulator and latency budget of the searches [ns]; no network for the spectrum takes 4000.
CASES = {
    "spectrum": ("spectrum", math.inf),
    "image": ("image", math.inf),
    "image, 4000 ns": ("image", 4000.0),
}
TRAIN, SEARCHED, VALIDATION, TEST = 2000, 200, 400, 1000
BATCH, RATE = 32, 3e-3
SEARCH_STEPS, TRIAL_STEPS = 1200, 250
FINAL_SECONDS, KEPT = 10.0, 2
RANKED, RANKED_SECONDS = 10, 3.0
CONFIG = dense.SearchConfig(
    steps=SEARCH_STEPS, rate=RATE, samples=16, warm_up=0.5, variable_rate=0.1
)


class Handmade(nn.Module):
    """A net without choices, called as `Regression` calls networks."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net, self.slots = net, ()

    def forward(self, x: Tensor, _architecture: dense.Architecture) -> Tensor:
        """Give the output."""
        out: Tensor = self.net(x)
        return out


def mlp(inputs: int, outputs: tuple[int, ...], width: int) -> nn.Module:
    """Three hidden layers."""
    sizes = (inputs, width, width, width)
    layers = [m for i, o in pairwise(sizes) for m in (nn.Linear(i, o), nn.SiLU())]
    last = nn.Linear(width, int(np.prod(outputs)))
    return nn.Sequential(*layers, last, nn.Unflatten(1, outputs))


def decoder(inputs: int, outputs: tuple[int, ...], channels: int) -> nn.Module:
    """Two dense layers, then linear up-sampling and convolutions of kernel 3."""
    sides = outputs[1:]
    stages = int(np.log2(max(sides) // 4))
    start = tuple(side // 2**stages for side in sides)
    conv = {1: nn.Conv1d, 2: nn.Conv2d}[len(sides)]
    mode = {1: "linear", 2: "bilinear"}[len(sides)]
    first = channels * int(np.prod(start))
    layers: list[nn.Module] = [nn.Linear(inputs, 128), nn.SiLU(), nn.Linear(128, first), nn.SiLU()]
    layers.append(nn.Unflatten(1, (channels, *start)))
    for _ in range(stages):
        layers += [nn.Upsample(scale_factor=2, mode=mode), conv(channels, channels, 3, padding=1)]
        layers.append(nn.SiLU())
    return nn.Sequential(*layers, conv(channels, outputs[0], 1))


def fit_for(problem: dense.Regression, seconds: float) -> float:
    """Train for some CPU seconds, in a cosine over the steps that fit in; the validation loss."""
    probe = 20
    saved = {name: tensor.clone() for name, tensor in problem.state_dict().items()}
    start = time.process_time()
    dense.fit(problem, CONFIG, probe)
    each = (time.process_time() - start) / probe
    problem.load_state_dict(saved)
    return dense.fit(problem, CONFIG, max(probe, int(seconds / each) - probe))


class Case:
    """One simulator, seed and latency budget."""

    def __init__(self, name: str, seed: int, budget_ns: float = math.inf) -> None:
        x, y = draw(name, TRAIN + SEARCHED + VALIDATION + TEST, 1000 + seed)
        inputs, outputs = torch.tensor(x).float(), torch.tensor(y).float()
        ends = np.cumsum([0, TRAIN, SEARCHED, VALIDATION, TEST]).tolist()
        parts = [(inputs[a:b], outputs[a:b]) for a, b in pairwise(ends)]
        self.train, self.searched, self.validation, self.test = parts
        self.shape, self.seed = tuple(outputs.shape[1:]), seed
        self.network = dense.SuperArchitecture(inputs.shape[1], self.shape, seed=seed)
        self.search_seconds, self.budget_ns = 0.0, budget_ns

    def problem(self, network: nn.Module, held: Pairs, seed: int) -> dense.Regression:
        """Make a problem of the training data."""
        return dense.Regression(
            network, self.train, held, batch=BATCH, validation_batch=64, seed=seed
        )

    def r2(self, predict: Callable[[Tensor], Tensor]) -> float:
        """Part of the test data's variance explained, all points and samples together."""
        x, y = self.test
        error = (predict(x) - y).square().sum()
        return float(1.0 - error / (y - self.train[1].mean(dim=0)).square().sum())

    def final(self, candidates: list[dense.Candidate]) -> tuple[float, float]:
        """Train the best few from scratch, choose on validation, test once: R2 and latency."""
        runs = []
        for candidate in candidates[:KEPT]:
            network = self.network.alone(candidate.architecture, self.seed)
            problem = self.problem(network, self.validation, self.seed)
            runs.append((fit_for(problem, FINAL_SECONDS / KEPT), candidate.latency_ns, problem))
        _, latency, chosen = min(runs, key=lambda run: run[0])
        return self.r2(chosen.predict), latency

    def by_dense(self) -> tuple[float, float]:
        """DENSE."""
        start = time.process_time()
        problem = self.problem(self.network, self.searched, self.seed)
        search = dense.Search(problem, replace(CONFIG, budgets_ns=(self.budget_ns,)))
        search.run()
        found = search.candidates(samples=16)
        self.search_seconds = time.process_time() - start
        return self.final(found)

    def by_strategy(self, search: Callable[..., list[dense.Candidate]]) -> tuple[float, float]:
        """Random search or Optuna, in the CPU time of DENSE's search."""

        def trial(architecture: dense.Architecture) -> float:
            network = self.network.alone(architecture, self.seed)
            return dense.fit(self.problem(network, self.searched, self.seed), CONFIG, TRIAL_STEPS)

        limits = {"cpu_seconds": self.search_seconds, "budget_ns": self.budget_ns}
        return self.final(search(trial, self.network.slots, **limits, seed=self.seed))

    def handmade(self, nets: list[nn.Module]) -> tuple[float, float]:
        """Share search and final time among nets made by hand; the best on validation."""
        each = (self.search_seconds + FINAL_SECONDS) / len(nets)
        problems = [self.problem(Handmade(net), self.validation, self.seed) for net in nets]
        losses = [fit_for(problem, each) for problem in problems]
        return self.r2(problems[int(np.argmin(losses))].predict), float("nan")

    def classical(self, model: str) -> tuple[float, float]:
        """Random forest, or Gaussian process whose kernel is fitted to 400 samples."""
        problem = self.problem(Handmade(nn.Identity()), self.validation, self.seed)
        x = problem.inputs.scaled(self.train[0]).numpy().astype(float)
        y = self.train[1].flatten(1).numpy().astype(float)
        mean = y.mean(axis=0)
        regressor = RandomForestRegressor(200, n_jobs=1, random_state=self.seed)
        if model == "gp":
            smooth = ConstantKernel() * RBF([2.0] * x.shape[1], (0.2, 50.0))
            kernel = smooth + WhiteKernel(1e-4, (1e-7, 1e-2))
            found = GaussianProcessRegressor(kernel, random_state=self.seed)
            few = y[:400, :: max(1, y.shape[1] // 64)]
            found.fit(x[:400], (few - few.mean(axis=0)) / y.std())
            regressor = GaussianProcessRegressor(found.kernel_, optimizer=None)
        regressor.fit(x, (y - mean) / y.std())

        def predict(given: Tensor) -> Tensor:
            z = problem.inputs.scaled(given).numpy().astype(float)
            return torch.tensor(regressor.predict(z) * y.std() + mean).reshape(-1, *self.shape)

        return self.r2(predict), float("nan")

    def rank_correlation(self) -> float:
        """Rank correlation of shared and stand-alone losses, all networks equally likely."""
        problem = self.problem(self.network, self.searched, self.seed)
        search = dense.Search(problem, replace(CONFIG, warm_up=0.9999))
        search.run()
        drawn = search.variables[0].sample(RANKED, dense.generator(self.seed, 99))
        alone = []
        for architecture in drawn:
            network = self.network.alone(architecture, self.seed)
            single = self.problem(network, self.searched, self.seed)
            alone.append(fit_for(single, RANKED_SECONDS))
        return dense.rank_correlation(problem.validation_losses(drawn, None), alone)

    def rows(self) -> dict[str, Callable[[], tuple[float, float]]]:
        """Give all emulators, DENSE first as its time is what the others get."""
        inputs = self.train[0].shape[1]
        torch.manual_seed(self.seed)
        mlps: list[nn.Module] = [mlp(inputs, self.shape, width) for width in (64, 128, 256)]
        decoders: list[nn.Module] = [decoder(inputs, self.shape, c) for c in (8, 16)]
        searches: dict[str, Callable[[], tuple[float, float]]] = {
            "DENSE": self.by_dense,
            "random search": lambda: self.by_strategy(dense.random_search),
            "Optuna (TPE)": lambda: self.by_strategy(dense.optuna_search),
        }
        if self.budget_ns < math.inf:
            return searches
        return searches | {
            "best of 3 MLPs by hand": lambda: self.handmade(mlps),
            "best of 2 decoders by hand": lambda: self.handmade(decoders),
            "Gaussian process": lambda: self.classical("gp"),
            "random forest": lambda: self.classical("forest"),
        }


def main() -> None:
    """Run all and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--case", choices=CASES, action="append", help="all unless given")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".md"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    table, ranks, begun = [], [], time.time()
    for name in given.case or CASES:
        simulator, budget = CASES[name]
        scores: dict[str, list[tuple[float, float, float]]] = {}
        for seed in range(1, given.seeds + 1):
            for label, emulate in Case(simulator, seed, budget).rows().items():
                start = time.process_time()
                r2, latency = emulate()
                seconds = time.process_time() - start
                scores.setdefault(label, []).append((1.0 - r2, latency, seconds))
                print(f"{name} {seed} {label}: 1-R2 {1.0 - r2:.5f}, {seconds:.0f} s", flush=True)
        if budget == math.inf:
            ranks.append(f"{name} {Case(simulator, 1).rank_correlation():.2f}")
        for label, found in scores.items():
            errors = ", ".join(f"{error:.5f}" for error, _, _ in sorted(found))
            middle = statistics.median(error for error, _, _ in found)
            latency, seconds = np.median([row[1:] for row in found], axis=0)
            cost = "" if np.isnan(latency) else f"{latency:.0f}"
            table.append(f"| {name} | {label} | {middle:.5f} | {errors} | {cost} | {seconds:.0f} |")
    lines = [
        "# DENSE beside other emulators, on two simulators",
        "",
        "Written by `python benchmarks/dense.py`"
        + f" on {dt.datetime.now(dt.UTC):%Y-%m-%d}: one core of"
        + f" {platform.machine()} ({os.cpu_count()} cores), torch {torch.__version__},"
        + f" {(time.time() - begun) / 60.0:.0f} minutes.",
        "",
        f"`benchmarks/dense_simulators.py`; per seed {TRAIN} samples to train, {SEARCHED} to rank"
        + f" networks in a search, {VALIDATION} to choose the trained one, {TEST} to test it once."
        + " Score: part of the test data's variance that is not explained, all points together."
        + " One super-architecture and one set of hyper-parameters for both. Random search and"
        + " Optuna have the menu, and the CPU time of DENSE's search; all three then train their"
        + f" best {KEPT} from scratch in {FINAL_SECONDS:.0f} s. The nets by hand share the sum of"
        + " these times. 4000 ns: a latency budget for all three. Cost: multiplications of the"
        + " slots / 50, as in the latency table.",
        "",
        "| simulator | emulator | 1 - R2, median | seeds | cost [ns] | CPU [s] |",
        "|---|---|---|---|---|---|",
        *table,
        "",
        f"Rank correlation of the losses with shared weights ({SEARCH_STEPS} steps, all networks"
        + f" equally likely) and alone ({RANKED_SECONDS:.0f} s each), {RANKED} networks, seed 1: "
        + ", ".join(ranks)
        + ".",
    ]
    temporary = given.output.with_suffix(".tmp")
    temporary.write_text("\n".join(lines) + "\n")
    temporary.replace(given.output)


if __name__ == "__main__":
    main()
