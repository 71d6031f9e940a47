"""What features, uncertainty and visited states are worth to learned models; writes JSON and PNG.

python benchmarks/ablations.py FOLDER features|uncertainty|rollouts    # one to five minutes each

FOLDER is that of `benchmarks/search.py`: its records and costs are used.
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scoringrules import crps_ensemble
from search import FINAL, TIMESTEPS, Bench

from pyemu import dense, distil, modelfile, reference, search
from pyemu.blocks.chain import Chain
from pyemu.blocks.learned import FORMS
from pyemu.exchange import to_model
from pyemu.feed import Share
from pyemu.files import replaced, write_json
from pyemu.lessons import SCORED, Lesson, Sheet, Steps, steps, tendencies
from pyemu.loop import FORMS as FIRST
from pyemu.loop import Loop
from pyemu.records import open_records
from pyemu.rollout import RolloutConfig, rollout
from pyemu.sampling import Sample, sample
from pyemu.steps import native, on_cells, teacher
from pyemu.trainconfig import TrainConfig
from pyemu.uncertainty import LEAST, calibration, scaled_error

Row = dict[str, Any]
Array = NDArray[np.float64]
SEEDS = (1, 2, 3)
MEMBERS = 5
CELLS = 20_000
NOISE = 0.01
"""Of the networks' inputs, in standard deviations."""
TRUNK = dict.fromkeys(("condensation", "coagulation", "ageing"), "trunk")


def architecture(bench: Bench, **changes: str) -> dense.Architecture:
    """Name an architecture: all small, no trunk, but for `changes`."""
    told = dict.fromkeys(FORMS, "small") | changes
    names = [told.get(slot.name, slot.options[0]) for slot in bench.menu.slots]
    slots = zip(bench.menu.slots, names, strict=True)
    return tuple(slot.options.index(name) for slot, name in slots)


def features(bench: Bench) -> Row:
    """Train a trunk of 32 with and without densities and linear bypass, three seeds each."""
    rows: Row = {}
    for density in ("radii", "radii_density"):
        for embedding in ("plain", "bypass"):
            one = architecture(
                bench, **TRUNK, layer0="dense32_silu", features=density, embedding=embedding
            )
            found = [bench.final([one], seed) for seed in SEEDS]
            rows[f"{density}, {embedding}"] = found
    return rows


def train(bench: Bench, config: TrainConfig, share: Share, noise: float = 0.0) -> Chain:
    """Train as `pyemu train` does; `noise` is added to what the networks read at first."""
    loop = Loop(config, bench.settings, share, bench.shares["choose"])
    if noise:
        plain = loop._feeds[FIRST]
        scale = {name: one.features.std(dim=0) for name, one in plain(0).items()}

        def noisy(step: int) -> Sheet:
            drawn = dense.generator(config.seed, 7, step)
            return {
                name: one._replace(
                    features=one.features
                    + noise * scale[name] * torch.randn(one.features.shape, generator=drawn)
                )
                for name, one in plain(step).items()
                if isinstance(one, Lesson)
            }

        loop._feeds[FIRST] = noisy  # type: ignore[assignment]
    while loop.done < config.total:
        loop.step()
    return loop.best()


def written(chain: Chain, path: Path) -> Path:
    """Write a chain as a model file."""
    told: Row = {"title": path.stem, "created": "", "teacher": "m7", "provenance": {}}
    modelfile.write(to_model(chain, **told), path)
    return path


def uncertainty(bench: Bench) -> Row:
    """Spread of sampled architectures, of five seeds of one, and the self-error head."""
    problem = bench.problem(1)
    found = dense.Search(problem, bench.config(1))
    found.run()
    best = search.candidates(found, bench.menu, 32)[0].architecture
    drawn = found.variables[0].sample(4 * MEMBERS, dense.generator(1, 3))
    uniform = dense.NetworkVariables(bench.menu.slots).sample(MEMBERS, dense.generator(1, 4))
    config = replace(bench.menu.config(best, FINAL), seed=1)
    seeds = [
        train(bench, replace(config, seed=seed), bench.shares["train"])
        for seed in range(1, MEMBERS + 1)
    ]
    groups = {
        "20 sampled, shared weights": [problem.chain(one) for one in drawn],
        "5 of all architectures, shared weights": [problem.chain(one) for one in uniform],
        "5 seeds of the best, trained alone": seeds,
    }
    parts = {name: steps(bench.shares[name].spread(CELLS)) for name in ("choose", "judge")}
    scale = parts["choose"].truth.numpy().std(axis=0)
    rows: Row = {"best": bench.menu.short(best), "distinct of 20": len(set(drawn))}
    figure: dict[str, tuple[Array, Array]] = {}
    for label, chains in groups.items():
        given = {name: together(chains, part) for name, part in parts.items()}
        rows[label], figure[label] = judge(given, parts, scale)
    path = written(seeds[0], bench.folder / "one.safetensors")
    headed = bench.folder / "headed.safetensors"
    records = bench.shares["train"].records, bench.shares["choose"].records
    distil.distil(path, *records, headed)
    cells = bench.shares["judge"].spread(CELLS)
    stepped = on_cells(native(headed))(cells)
    truth = parts["judge"].truth.numpy()
    change = stepped.after - torch.cat([parts["judge"].before, parts["judge"].water], 1).numpy()
    told = modelfile.read(headed).self_error
    assert told is not None
    assert stepped.uncertainty is not None
    own = np.array([told.scale[name] for name in SCORED])
    rows["head of the first seed"] = vars(calibration(truth, change, stepped.uncertainty, own))
    error = scaled_error(truth, change, own)
    figure["head of the first seed"] = stepped.uncertainty, error
    draw(figure, bench.folder / "uncertainty.png")
    return rows


def together(chains: list[Chain], given: Steps) -> Array:
    """Tendencies that members make (k, n, 30), after the head: any mean of them conserves."""
    with torch.no_grad():
        return np.stack([tendencies(chain, given).numpy() for chain in chains])


def judge(
    given: dict[str, Array], parts: dict[str, Steps], scale: Array
) -> tuple[Row, tuple[Array, Array]]:
    """Judge the mean and the spread, made to cover 90 % of `choose`, on `judge`."""
    there = scale > 0.0
    expected: dict[str, Array] = {}
    error: dict[str, Array] = {}
    for name, members in given.items():
        spread = (members.std(axis=0, ddof=1)[:, there] / scale[there]) ** 2
        expected[name] = np.maximum(np.sqrt(spread.mean(axis=1)), LEAST)
        error[name] = scaled_error(parts[name].truth.numpy(), members.mean(axis=0), scale)
    factor = float(np.quantile(error["choose"] / expected["choose"], 0.9))
    members, truth = given["judge"], parts["judge"].truth.numpy()
    bound = factor * expected["judge"]
    row: Row = vars(calibration(truth, members.mean(axis=0), bound, scale)).copy()
    z, t = members[:, :, there] / scale[there], truth[:, there] / scale[there]
    wrong, spread = z.mean(axis=0) - t, z.std(axis=0, ddof=1)
    row["factor"] = factor
    row["error of the mean"] = float(np.mean(np.minimum((wrong**2).mean(axis=0), 1.0)))
    row["error of one"] = float(np.mean(np.minimum(((z[0] - t) ** 2).mean(axis=0), 1.0)))
    crps = crps_ensemble(t, np.moveaxis(z, 0, -1), estimator="fair")
    row["crps / mean absolute error"] = float(np.mean(crps) / np.mean(np.abs(wrong)))
    rms = np.sqrt((spread**2).mean() * (1.0 + 1.0 / len(z)))
    row["spread / skill"] = float(rms / np.sqrt((wrong**2).mean()))
    some = spread > 1e-12  # where members agree to the bit there is no rank
    ranks = (z < t).sum(axis=0)[some]
    share = np.bincount(ranks, minlength=len(z) + 1) / max(len(ranks), 1)
    row["pit"] = float(np.abs(share * (len(z) + 1) - 1.0).mean())
    return row, (bound, error["judge"])


def draw(figure: dict[str, tuple[Array, Array]], path: Path) -> None:
    """Draw errors over what was expected of them into a PNG."""
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(11.0, 3.2), layout="constrained")
    for axes, (label, (bound, error)) in zip(
        drawn.subplots(1, len(figure), sharex=True, sharey=True), figure.items(), strict=True
    ):
        limits = (-9.0, 1.0)
        x, y = (np.log10(np.maximum(values, LEAST)) for values in (bound, error))
        axes.hexbin(x, y, gridsize=50, extent=limits * 2, bins="log")
        axes.plot(limits, limits, "k-", lw=0.8)
        axes.set_title(f"{label}\n{(error <= bound).mean():.3f} below", fontsize=8)
        axes.set_xlabel("log10 of the 90 % bound")
    drawn.axes[0].set_ylabel("log10 of the error")
    with replaced(path) as temporary:
        drawn.savefig(temporary, dpi=120)


def rollouts(bench: Bench) -> Row:
    """30 days of 200 boxes with a learned model: plain, input noise, states it visited itself."""
    config = bench.menu.config(
        architecture(
            bench,
            **TRUNK,
            layer0="dense32_silu",
            features="radii_density",
            embedding="bypass",
        ),
        replace(FINAL, forms_steps=1500),
    )
    share = bench.shares["train"]
    half = replace(share, cells=share.cells[::2])
    first = written(train(bench, config, half), bench.folder / "plain.safetensors")
    visited = bench.folder / "visited.nc"
    if not visited.exists():
        kinds = ("boxes",)
        count = len(half)
        asked = Sample(count=count, seed=17, kinds=kinds, timesteps=TIMESTEPS, emulator=first)
        sample(asked, visited)
        sample(replace(asked, emulator=None), bench.folder / "boxes.nc")
    both = {}
    for name in ("visited", "boxes"):
        more = [bench.folder / "train.nc", bench.folder / f"{name}.nc"]
        records = open_records(more)
        cells = np.concatenate([half.cells, np.arange(len(share), records.sizes["cell"])])
        both[name] = Share(records=records, cells=cells)
    made = {
        "half the cells": first,
        "and input noise": written(
            train(bench, config, half, NOISE), bench.folder / "noise.safetensors"
        ),
    }
    for name, label in (("visited", "and as many visited"), ("boxes", "and as many of M7's boxes")):
        path = bench.folder / f"with_{name}.safetensors"
        made[label] = written(train(bench, config, both[name]), path)
    runs = {label: native(path) for label, path in made.items()}
    asked_for = RolloutConfig(days=30.0, boxes=200)
    found = rollout(asked_for, teacher(reference.Config()), runs)
    return {label: run.facts() | {"mass": run.mass} for label, run in found.items()}


def main() -> None:
    """Run one."""
    known: dict[str, Callable[[Bench], Row]] = {
        "features": features,
        "uncertainty": uncertainty,
        "rollouts": rollouts,
    }
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("what", choices=known)
    given = parser.parse_args()
    torch.set_num_threads(1)
    facts = known[given.what](Bench(given.folder))
    write_json(given.folder / f"{given.what}.json", facts)
    print(json.dumps(facts, indent=1))


if __name__ == "__main__":
    main()
