"""What learned forms and layers cost in the native engine, on the machine where this runs.

`table` is what an architecture search reads. Every entry is a difference between whole
steps that took turns, so that drifts of the machine's speed cancel; of each the lower quartile
counts, as the upper half tells of the machine's other users::

    "step"                       the step with all blocks exact [ns per cell]
    "<network>:<layers>"         what it costs more to have this network in place of the exact
                                 forms; negative where it is cheaper. <network>: a name of
                                 `pyemu.blocks.learned.NETWORKS`, <layers>: widths of the hidden
                                 layers, "16", "32-32", ...
    "dense:<width>:<activation>" one more layer from width to width; so "residual:...",
                                 "gated:..." and "low_rank:...", which has a rank of width/4
    "bypass"                     the linear bypass of a coagulation network

Costs of whole networks and of layers add up: a network of other layers costs the network nearest to
it, plus the layers it has more.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from pyemu import modelfile, states
from pyemu.blocks.chain import Chain
from pyemu.blocks.learned import NETWORKS
from pyemu.blocks.network import OPERATIONS, Layer, Network
from pyemu.blocks.settings import Settings
from pyemu.emulator import load
from pyemu.exchange import to_model
from pyemu.lessons import Sheet, lessons
from pyemu.records import Cells
from pyemu.reference import Config
from pyemu.state import pack

WIDTHS = (16, 32, 64, 128)
HIDDEN = ((16,), (32,), (16, 16), (32, 32), (64, 64))
_BENDS = ("relu", "silu", "tanh")
_REPEATED = 3
"""Layers by which two networks differ that tell the cost of one."""
_STEP = "step"
Watch = Callable[[Sequence[Any]], Iterable[Any]]


def table(
    rounds: int = 300,
    count: int = 512,
    block: int = 64,
    seed: int = 1,
    networks: Sequence[str] = tuple(NETWORKS),
    hidden: Sequence[tuple[int, ...]] = HIDDEN,
    widths: Sequence[int] = WIDTHS,
    watch: Watch = iter,
) -> dict[str, float]:
    """Measure costs [ns per cell] in calls of `block` cells on one core.

    Parameters
    ----------
    rounds
        Turns of every model; one more before them does not count.
    count, seed
        Cells: `pyemu.states.sample(count, seed, "all_modes")`.
    networks, hidden, widths
        What to measure; networks of `hidden` layers are timed with SiLU.
    watch
        Wraps the rounds, to show progress.
    """
    settings, cells = Settings.from_reference(Config()), _cells(count, seed)
    sheet = lessons(settings, cells, tuple(networks))
    if "coagulation" not in sheet:
        sheet |= lessons(settings, cells, ("coagulation",))
    made: dict[str, dict[str, Network]] = {_STEP: {}}
    for name in networks:
        for sizes in hidden:
            label = f"{name}:{'-'.join(map(str, sizes))}"
            made[label] = {name: _network(name, [_layer("dense", w, "silu") for w in sizes], sheet)}
    pairs = dict(_pairs(widths))
    for label, layer in pairs.items():
        for repeats in (1, 1 + _REPEATED):
            layers = [_layer("dense", layer.outputs, layer.activation)] + [layer] * (repeats - 1)
            made[f"{label}*{repeats}"] = {"coagulation": _network("coagulation", layers, sheet)}
    thin = [_layer("dense", widths[0], "relu")]
    for bypass in (True, False):
        made[f"bypass*{bypass}"] = {"coagulation": _network("coagulation", thin, sheet, bypass)}

    chains = {label: Chain(settings, given) for label, given in made.items()}
    cost = measure(chains, rounds, count, block, seed, watch)
    found = {_STEP: cost[_STEP], "bypass": cost["bypass*True"] - cost["bypass*False"]}
    for label in made:
        if label != _STEP and "*" not in label:
            found[label] = cost[label] - cost[_STEP]
    for label in pairs:
        more = cost[f"{label}*{1 + _REPEATED}"] - cost[f"{label}*1"]
        found[label] = more / _REPEATED
    return found


def measure(
    chains: Mapping[str, Chain],
    rounds: int = 300,
    count: int = 512,
    block: int = 64,
    seed: int = 1,
    watch: Watch = iter,
) -> dict[str, float]:
    """Measure the whole steps of chains in the native engine as `table` does [ns per cell]."""
    cells = _cells(count, seed)
    with TemporaryDirectory() as folder:
        emulators = {}
        for place, (label, chain) in enumerate(chains.items()):
            path = Path(folder) / f"{place}.safetensors"
            told = {"title": "latency", "created": "", "teacher": "m7", "provenance": {}}
            modelfile.write(to_model(chain, **told), path)  # type: ignore[arg-type]
            emulators[label] = load(path)
        taken: dict[str, list[float]] = {label: [] for label in emulators}
        for number in watch(range(rounds + 1)):
            for label, emulator in emulators.items():
                seconds = emulator.seconds(cells.environment, cells.before, 1800.0, block)
                if number:
                    taken[label].append(seconds / count * 1e9)
    return {label: float(np.quantile(times, 0.25)) for label, times in taken.items()}


def _cells(count: int, seed: int) -> Cells:
    environment, before = pack(states.sample(count, seed, "all_modes"))
    timestep = np.full(count, 1800.0)
    return Cells(environment=environment, before=before, after=before, timestep=timestep)


def _pairs(widths: Sequence[int]) -> Iterable[tuple[str, Layer]]:
    for width in widths:
        for operation in OPERATIONS:
            for bend in _BENDS if operation == "dense" else ("silu",):
                yield f"{operation}:{width}:{bend}", _layer(operation, width, bend)


def _layer(operation: str, width: int, bend: str) -> Layer:
    rank = max(width // 4, 1) if operation == "low_rank" else 0
    return Layer(inputs=width, outputs=width, operation=operation, activation=bend, rank=rank)


def _network(name: str, layers: Sequence[Layer], sheet: Sheet, bypass: bool = True) -> Network:
    """Make a network that gives rates as the exact forms do on average, so that the step is one."""
    torch.manual_seed(1)
    form, first, last = NETWORKS[name], layers[0], layers[-1]
    entry = Layer(inputs=len(form.features), outputs=first.outputs, activation=first.activation)
    end = Layer(inputs=last.outputs, outputs=len(form.targets))
    given = [entry, *layers[1:], end]
    for place in range(1, len(given)):  # widths may change from layer to layer
        had, here = given[place - 1].outputs, given[place]
        if here.inputs != had:
            given[place] = Layer(inputs=had, outputs=here.outputs, activation=here.activation)
    network = Network(form.features, form.targets, given, bypass)
    network.calibrate(*(t.reshape(-1, t.shape[-1]) for t in _ordered(sheet, name)))
    return network.requires_grad_(False)


def _ordered(sheet: Sheet, name: str) -> Sequence[torch.Tensor]:
    lesson = sheet[name]
    return lesson.features, lesson.targets, lesson.there, lesson.known
