"""What is judged beside a model: dense networks without any physics, trained on our records.

Harder et al. (2021, arXiv 2109.10593; 2022, EDS 1:e20): a dense network of two hidden layers of
128, trained on standardised tendencies ("z"), or on logarithms with a second network for the
signs ("log"). Beside their inputs ours have sea salt and the logarithm of the timestep.

And the network that one would make by hand today ("mlp"): three hidden layers of 128, SiLU, of
amounts and their logarithms, for standardised tendencies, whose asinh counts in the loss, too; it
is held within the tendencies that it has seen.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyemu import checkpoint
from pyemu.records import Cells

Array = NDArray[np.float64]
Kind = Literal["z", "log", "mlp"]
Watch = Callable[[Sequence[Any]], Any]

KINDS = get_args(Kind)
LABELS: Mapping[Kind, str] = {"z": "Harder z", "log": "Harder log", "mlp": "MLP by hand"}
_FLOOR = 1e-8
_WIDTH = 128
_TRACE = 1e-6
"""Share of an amount's standard deviation that is added before its logarithm is taken."""
_BEND, _SMALL = 0.01, 0.1
"""Where the asinh of standardised tendencies turns logarithmic, and weight of its errors."""
_WARM = 0.05
"""Share of the hand-made network's training in which its rate rises."""
_CHUNK = 65536


@dataclass(frozen=True, kw_only=True)
class BaselineConfig:
    """Training of a baseline; Harder et al.'s as published."""

    kind: Kind = "z"
    epochs: int = 100
    batch: int = 256
    rate: float = 1e-3
    seed: int = 1

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind = {self.kind!r}; allowed is {', '.join(KINDS)}")
        if self.epochs < 1 or self.batch < 1:
            raise ValueError(f"epochs = {self.epochs}, batch = {self.batch}; allowed is [1, inf)")


class Baseline(torch.nn.Module):
    """A network with its scaling; `log` has one more for the signs."""

    def __init__(self, kind: Kind, inputs: int, outputs: int) -> None:
        super().__init__()
        self.kind = kind
        fed = 2 * inputs if kind == "mlp" else inputs
        for name, size, bent in (("x", inputs, fed), ("y", outputs, outputs)):
            self.register_buffer(f"{name}_unit", torch.ones(size))
            self.register_buffer(f"{name}_mean", torch.zeros(bent))
            self.register_buffer(f"{name}_scale", torch.ones(bent))
        self.register_buffer("y_high", torch.zeros(outputs))
        self.size = _dense(kind, fed, outputs)
        self.sign = _dense(kind, fed, outputs) if kind == "log" else None

    def bent(self, values: Tensor, name: str) -> Tensor:
        """Take logarithms, as the kind has them; the hand-made network sees both."""
        if self.kind == "z":
            return values
        if self.kind == "log":
            return torch.log(values.abs() + _FLOOR)
        unit = self.get_buffer(f"{name}_unit")
        if name == "y":
            return values
        return torch.cat([torch.log(values.clamp(min=0.0) + _TRACE * unit), values], dim=1)

    def scaled(self, values: Tensor, name: str) -> Tensor:
        """Bend, and standardise."""
        mean, scale = self.get_buffer(f"{name}_mean"), self.get_buffer(f"{name}_scale")
        return ((self.bent(values, name) - mean) / scale).float()

    def physical(self, scaled: Tensor) -> Tensor:
        """Undo the scaling of outputs; of `log`, the size."""
        high = self.get_buffer("y_high")
        y = scaled.double() * self.get_buffer("y_scale") + self.get_buffer("y_mean")
        if self.kind == "log":
            return (torch.exp(torch.minimum(y, high)) - _FLOOR).clamp(min=0.0)
        if self.kind == "mlp":
            return torch.minimum(torch.maximum(y, -high), high)
        return y

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """Tendencies and water in physical units."""
        z = self.scaled(x, "x")
        y = self.physical(self.size(z))
        return y if self.sign is None else torch.where(self.sign(z) > 0.0, y, -y)


def trained(
    config: BaselineConfig, cells: Cells, origin: Sequence[str], folder: Path, watch: Watch = iter
) -> Baseline:
    """Train a baseline, or read it where `folder` has it already.

    Parameters
    ----------
    cells
        To learn from, with water after the step.
    origin
        Hashes of the files they come from.
    watch
        Wraps the epochs, to show progress.
    """
    told = json.dumps([asdict(config), list(origin), len(cells)])
    key = hashlib.sha256(told.encode()).hexdigest()[:16]
    path = folder / f"baseline_{config.kind}_{key}.safetensors"
    x, y = inputs(cells), _targets(config.kind, cells)
    model = Baseline(config.kind, x.shape[1], y.shape[1]).double()
    model.size.float()
    if model.sign is not None:
        model.sign.float()
    if path.exists():
        model.load_state_dict(checkpoint.read(path)[0])
        return model
    _fit(model, config, torch.from_numpy(x), torch.from_numpy(y), watch)
    checkpoint.write(path, model.state_dict(), asdict(config))
    return model


def predict(model: Baseline, cells: Cells) -> Array:
    """State after the step: 26 prognostics and 4 waters (n, 30)."""
    x = torch.from_numpy(inputs(cells))
    given = torch.cat([model(x[i : i + _CHUNK]) for i in range(0, len(x), _CHUNK)]).numpy()
    count = cells.before.shape[1]
    water = given[:, count:]
    if model.kind == "mlp" and cells.water is not None:
        water = water + cells.water
    return np.concatenate([cells.before + given[:, :count], water], axis=1)


def inputs(cells: Cells) -> Array:
    """Environment, state before the step, ln of the timestep (n, 35)."""
    return np.concatenate(
        [cells.environment, cells.before, np.log(cells.timestep)[:, None]], axis=1
    )


def _targets(kind: Kind, cells: Cells) -> Array:
    """Tendencies over the step and water after it, as Harder et al. have them (n, 30).

    Of the hand-made network the change of water, where it is known before the step.
    """
    assert cells.water_after is not None
    water = cells.water_after
    if kind == "mlp" and cells.water is not None:
        water = water - cells.water
    return np.concatenate([cells.after - cells.before, water], axis=1)


def _dense(kind: Kind, inputs: int, outputs: int) -> torch.nn.Sequential:
    deep, activation = (3, torch.nn.SiLU) if kind == "mlp" else (2, torch.nn.ReLU)
    layers: list[torch.nn.Module] = []
    for place in range(deep):
        layers += [torch.nn.Linear(_WIDTH if place else inputs, _WIDTH), activation()]
    return torch.nn.Sequential(*layers, torch.nn.Linear(_WIDTH, outputs))


def _scale(model: Baseline, x: Tensor, y: Tensor) -> None:
    """Set means and standard deviations, of what the kind makes of the values."""
    for name, values in (("x", x), ("y", y)):
        unit = values.std(dim=0)
        model.get_buffer(f"{name}_unit").copy_(torch.where(unit > 0.0, unit, 1.0))
        given = model.bent(values, name)
        scale = given.std(dim=0)
        model.get_buffer(f"{name}_mean").copy_(given.mean(dim=0))
        model.get_buffer(f"{name}_scale").copy_(torch.where(scale > 0.0, scale, 1.0))
        if name == "y":
            high = given.abs() if model.kind == "mlp" else given
            model.get_buffer("y_high").copy_(high.amax(dim=0))


def _loss(model: Baseline, z: Tensor, wanted: Tensor, y: Tensor) -> Tensor:
    """Mean square errors; of `log` and the signs' cross entropy, of `mlp` and those of asinh."""
    given = model.size(z)
    loss = torch.nn.functional.mse_loss(given, wanted)
    if model.sign is not None:
        up = (y > 0.0).float()
        return loss + torch.nn.functional.binary_cross_entropy_with_logits(model.sign(z), up)
    if model.kind == "mlp":
        gap = torch.asinh(given / _BEND) - torch.asinh(wanted / _BEND)
        return loss + _SMALL * gap.square().mean()
    return loss


def _fit(model: Baseline, config: BaselineConfig, x: Tensor, y: Tensor, watch: Watch) -> None:
    """Adam; for the hand-made network AdamW with a rate that rises and falls."""
    _scale(model, x, y)
    z, wanted = model.scaled(x, "x"), model.scaled(y, "y")
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        for part in model.modules():
            if isinstance(part, torch.nn.Linear):
                part.reset_parameters()
        optimizer: torch.optim.Optimizer = torch.optim.Adam(model.parameters(), lr=config.rate)
        schedule = None
        if model.kind == "mlp":
            optimizer = torch.optim.AdamW(model.parameters(), lr=config.rate)
            total = config.epochs * -(-len(z) // config.batch)
            schedule = torch.optim.lr_scheduler.OneCycleLR(
                optimizer, 3.0 * config.rate, total_steps=total, pct_start=_WARM
            )
        for _ in watch(range(config.epochs)):
            for rows in torch.split(torch.randperm(len(z)), config.batch):
                loss = _loss(model, z[rows], wanted[rows], y[rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                if schedule is not None:
                    schedule.step()
