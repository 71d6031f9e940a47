"""DENSE beside random search and Optuna on M7, every process learned, at equal CPU time.

python benchmarks/search.py build/compared     # some 40 minutes on one core; goes on after a kill

All have the menu and costs of `pyemu search --learned`, one latency budget, the same records and
the CPU time of DENSE's search. A trial of random search and Optuna trains one network from scratch.
The best two of each are then trained as `pyemu train` does, one is chosen on validation, and judged
on cells that nothing before has seen.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pyemu import dense, metrics, search
from pyemu.blocks.chain import Chain
from pyemu.blocks.learned import FORMS
from pyemu.blocks.settings import Settings
from pyemu.feed import Share, whole
from pyemu.files import write_json
from pyemu.lessons import SCORED, Steps, steps, tendencies
from pyemu.loop import Loop
from pyemu.menu import Menu, Supernet, costs
from pyemu.records import open_records
from pyemu.reference import Config
from pyemu.sampling import Sample, sample
from pyemu.trainconfig import TrainConfig

Row = dict[str, Any]
# Part -> its seed and cells. `rank` is what a search ranks by, `choose` what trained ones are
# chosen by, `judge` the cells that no search and no training sees.
PARTS = {
    "train": ("train", 11, 100_000),
    "rank": ("validation", 12, 20_000),
    "choose": ("validation", 13, 20_000),
    "judge": ("test", 14, 60_000),
}
TIMESTEPS = (450.0, 1800.0)
SPAN = 0.1
"""Latency budget: this share of the way from the cheapest network to the mean of all."""
PLAN = search.SearchPlan(learned=True, validation=10_000, weight_steps=40)
STEPS, TRIAL_STEPS, KEPT = 2000, 150, 2
FINAL = TrainConfig(
    forms_steps=800,
    forms_batch=2048,
    refine_steps=12,
    refine_batch=6144,
    step_steps=0,
    buffer=100_000,
    validation=20_000,
    curve_every=100,
)
EVEN = "DENSE, ranked by geometric error"
HANDMADE = {
    "a small network (16) each": dict.fromkeys(FORMS, "small"),
    "the air's small, a trunk of 16, 16": {"layer0": "dense16_silu", "layer1": "dense16_silu"},
}


class Even(Supernet):
    """Judges by the geometric mean over the variables, so that no few of them decide."""

    @torch.no_grad()
    def error(self, chain: Chain, given: Steps | None = None) -> float:
        """Geometric mean of 1 - R2, each at most 1."""
        given = self._steps if given is None else given
        wrong = (tendencies(chain, given) - given.truth)[:, self._varies]
        lost = wrong.square().mean(dim=0) / self._variance[self._varies]
        return float(lost.nan_to_num(nan=1.0).clamp(1e-12, 1.0).log().mean().exp())


class Bench:
    """Records, costs and menu in a folder: the same for all that is compared."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.shares = folder, dict[str, Share]()
        for name, (part, seed, count) in PARTS.items():
            path = folder / f"{name}.nc"
            if not path.exists():
                sample(Sample(count=count, seed=seed, part=part, timesteps=TIMESTEPS), path)  # type: ignore[arg-type]
            self.shares[name] = whole(open_records([path]))
        self.settings = Settings.from_reference(Config())
        told = folder / "costs.json"
        if not told.exists():
            write_json(told, costs(self.settings, self.shares["train"], PLAN.rounds))
        self.menu = Menu(json.loads(told.read_text()), learned=True)
        least = sum(min(slot.latency_ns) for slot in self.menu.slots)
        mean = dense.NetworkVariables(self.menu.slots).expected_latency()
        self.budget_ns = least + SPAN * (mean - least)

    def problem(self, seed: int, kind: type[Supernet] = Supernet) -> Supernet:
        """Make the super-network, its lessons in memory, which costs none of the rivals time."""
        made = kind(
            self.settings,
            self.menu,
            self.shares["train"],
            self.shares["rank"],
            batch=PLAN.batch,
            buffer=PLAN.buffer,
            calibration=PLAN.calibration,
            validation=PLAN.validation,
            validation_batch=PLAN.validation_batch,
            seed=seed,
        )
        made.train_loss((0,) * len(made.slots), 0)
        return made

    def config(self, seed: int, count: int = STEPS) -> dense.SearchConfig:
        """Configure a search under the one budget."""
        return replace(PLAN, seed=seed).dense(count, (self.budget_ns,))

    def trial(self, problem: Supernet, seed: int) -> Callable[[dense.Architecture], float]:
        """Give what trains one network from scratch for a short while; its error on `rank`."""
        fresh = {name: tensor.clone() for name, tensor in problem.state_dict().items()}

        def run(architecture: dense.Architecture) -> float:
            problem.load_state_dict(fresh)
            weights = dense.search.Weights(problem, self.config(seed, TRIAL_STEPS))
            for step in range(TRIAL_STEPS):
                weights.step(architecture, step)
            return problem.validation_losses([architecture], None)[0]

        return run

    def final(self, architectures: list[dense.Architecture], seed: int) -> Row:
        """Train from scratch, choose on `choose`, judge once."""
        found = []
        for architecture in architectures:
            config = replace(self.menu.config(architecture, FINAL), seed=seed)
            loop = Loop(config, self.settings, self.shares["train"], self.shares["choose"])
            while loop.done < config.total:
                loop.step()
            error, _ = self.judged(loop.best(), "choose")
            found.append((error["error"], architecture, loop.best()))
        _, chosen, chain = min(found, key=lambda one: one[0])
        row, scores = self.judged(chain, "judge")
        name, _ = metrics.worst(scores)
        row |= {"short": self.menu.short(chosen), "worst variable": name}
        canonical = self.menu.canonical(chosen)
        return row | {"latency_ns": dense.latency(self.menu.slots, canonical)}

    def judged(self, chain: Chain, part: str) -> tuple[Row, dict[str, float]]:
        """Error as the search has it, R2 and asinh R2 on a part."""
        share = self.shares[part]
        given = steps(share.spread(len(share)))
        with torch.no_grad():
            change, truth = tendencies(chain, given).numpy(), given.truth.numpy()
        plain = {n: metrics.r2(truth[:, i], change[:, i]) for i, n in enumerate(SCORED)}
        bent = {n: metrics.asinh_r2(truth[:, i], change[:, i]) for i, n in enumerate(SCORED)}
        row = {}
        for key, scores in (("error", plain), ("asinh error", bent)):
            lost = [min(1.0 - score, 1.0) for score in scores.values() if not np.isnan(score)]
            row[key] = float(np.mean(lost))
            row[f"geometric {key}"] = float(np.exp(np.mean(np.log(np.maximum(lost, 1e-9)))))
        return row, plain

    def by_dense(self, seed: int, kind: type[Supernet] = Supernet) -> Row:
        """Search with shared weights; its CPU time is what the others get."""
        problem = self.problem(seed, kind)
        begun = time.process_time()
        found = dense.Search(problem, self.config(seed))
        found.run()
        best = search.candidates(found, self.menu, 32)
        told: Row = {"search_seconds": time.process_time() - begun, "judged": len(best)}
        told["trials"] = [[list(one.architecture), one.loss] for one in best]
        return told | self.final([one.architecture for one in best[:KEPT]], seed)

    def by_strategy(
        self, strategy: Callable[..., list[dense.Candidate]], seed: int, seconds: float
    ) -> Row:
        """Random search or Optuna, in the CPU time of DENSE's search."""
        problem = self.problem(seed)
        trial = self.trial(problem, seed)
        begun = time.process_time()
        limits = {"cpu_seconds": seconds, "budget_ns": self.budget_ns}
        best = strategy(trial, self.menu.slots, **limits, seed=seed)
        told: Row = {"search_seconds": time.process_time() - begun, "judged": len(best)}
        told["trials"] = [[list(one.architecture), one.loss] for one in best]
        return told | self.final([one.architecture for one in best[:KEPT]], seed)

    def by_hand(self, label: str, seed: int) -> Row:
        """Train what one would make without a search."""
        told = dict.fromkeys(FORMS, "small") | {"embedding": "bypass", "features": "radii_density"}
        if any(name.startswith("layer") for name in HANDMADE[label]):
            told |= dict.fromkeys(("condensation", "coagulation", "ageing"), "trunk")
        told |= HANDMADE[label]
        names = ((slot, told.get(slot.name, slot.options[0])) for slot in self.menu.slots)
        return self.final([tuple(slot.options.index(name) for slot, name in names)], seed)

    def ranks(self, seed: int, trials: list[Any]) -> Row:
        """Rank correlation of random search's trials with shared weights, trained uniformly."""
        problem = self.problem(seed)
        uniform = dense.Search(problem, replace(self.config(seed), warm_up=0.9999))
        uniform.run()
        tried = [tuple(architecture) for architecture, _ in trials]
        shared = problem.validation_losses(tried, None)
        alone = [loss for _, loss in trials]
        return {"shared": shared, "correlation": dense.rank_correlation(shared, alone)}


def compare(bench: Bench, seeds: int) -> Row:
    """Run what has not been run yet; every result is kept in the folder."""
    path = bench.folder / "compared.json"
    rows: Row = json.loads(path.read_text()) if path.exists() else {}

    def once(label: str, seed: int, make: Callable[[], Row]) -> Row:
        key = f"{label} {seed}"
        if key not in rows:
            begun = time.process_time()
            rows[key] = make()
            rows[key]["seconds"] = time.process_time() - begun
            write_json(path, rows)
            told = rows[key]
            print(key, {k: v for k, v in told.items() if k not in ("trials", "shared")}, flush=True)
        found: Row = rows[key]
        return found

    for seed in range(1, seeds + 1):
        limit = once("DENSE", seed, lambda s=seed: bench.by_dense(s))["search_seconds"]
        tried = once(
            "random search",
            seed,
            lambda s=seed, t=limit: bench.by_strategy(dense.random_search, s, t),
        )
        once(
            "Optuna (TPE)",
            seed,
            lambda s=seed, t=limit: bench.by_strategy(dense.optuna_search, s, t),
        )
        once("rank correlation", seed, lambda s=seed, t=tried: bench.ranks(s, t["trials"]))
        once(EVEN, seed, lambda s=seed: bench.by_dense(s, kind=Even))
        for label in HANDMADE:
            once(label, seed, lambda s=seed, n=label: bench.by_hand(n, s))
    return rows


def table(rows: Row, seeds: int) -> str:
    """Mean and range over the seeds that there are."""
    keys = ("error", "geometric error", "asinh error")
    lines = [
        f"| | seeds | {' | '.join(keys)} | ns per cell | networks judged |",
        "|---|---|---|---|---|---|---|",
    ]
    for label in ("DENSE", "random search", "Optuna (TPE)", EVEN, *HANDMADE):
        keyed = (f"{label} {seed}" for seed in range(1, seeds + 1))
        found = [rows[key] for key in keyed if key in rows]
        if not found:
            continue
        cells = [str(len(found))]
        for key in keys:
            some = [one[key] for one in found]
            cells.append(f"{statistics.mean(some):.2e} ({min(some):.2e} ... {max(some):.2e})")
        cost = statistics.mean(one["latency_ns"] for one in found)
        judged = statistics.mean(one.get("judged", 1) for one in found)
        lines.append(f"| {label} | {' | '.join(cells)} | {cost:.0f} | {judged:.0f} |")
    ranks = (rows.get(f"rank correlation {seed}", {}) for seed in range(1, seeds + 1))
    told = ", ".join(f"{one['correlation']:.2f}" for one in ranks if one)
    return "\n".join([*lines, "", f"Rank correlation, by seed: {told}."])


def main() -> None:
    """Run all and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    torch.set_num_threads(1)
    given.folder.mkdir(parents=True, exist_ok=True)
    bench = Bench(given.folder)
    print(f"latency budget {bench.budget_ns:.1f} ns", flush=True)
    told = table(compare(bench, given.seeds), given.seeds)
    (given.folder / "compared.md").write_text(told + "\n")
    print(told)


if __name__ == "__main__":
    main()
