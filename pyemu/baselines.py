"""What is judged beside a model: Harder et al.'s networks, trained on our records.

Harder et al. (2021, arXiv 2109.10593; 2022, EDS 1:e20): a dense network of two hidden layers of
128, trained on standardised tendencies ("z"), or on logarithms with a second network for the
signs ("log"). Beside their inputs ours have sea salt and the logarithm of the timestep.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
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
Kind = Literal["z", "log"]
Watch = Callable[[Sequence[Any]], Any]

KINDS = get_args(Kind)
_FLOOR = 1e-8
_WIDTH = 128
_CHUNK = 65536


@dataclass(frozen=True, kw_only=True)
class HarderConfig:
    """Training of the baselines, as published."""

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


class Harder(torch.nn.Module):
    """The network, with its scaling; `log` has one more for the signs."""

    def __init__(self, kind: Kind, inputs: int, outputs: int) -> None:
        super().__init__()
        self.kind = kind
        for name, size in (("x", inputs), ("y", outputs)):
            self.register_buffer(f"{name}_mean", torch.zeros(size))
            self.register_buffer(f"{name}_scale", torch.ones(size))
        self.register_buffer("y_high", torch.zeros(outputs))
        self.size = _dense(inputs, outputs)
        self.sign = _dense(inputs, outputs) if kind == "log" else None

    def scaled(self, values: Tensor, name: str) -> Tensor:
        """Take logarithms if need be, and standardise."""
        values = torch.log(values.abs() + _FLOOR) if self.kind == "log" else values
        mean, scale = self.get_buffer(f"{name}_mean"), self.get_buffer(f"{name}_scale")
        return ((values - mean) / scale).float()

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """Tendencies and water in physical units."""
        z = self.scaled(x, "x")
        y = self.size(z).double() * self.get_buffer("y_scale") + self.get_buffer("y_mean")
        if self.sign is None:
            return torch.as_tensor(y)
        size = (torch.exp(torch.minimum(y, self.get_buffer("y_high"))) - _FLOOR).clamp(min=0.0)
        return torch.where(self.sign(z) > 0.0, size, -size)


def harder(
    config: HarderConfig, cells: Cells, origin: Sequence[str], folder: Path, watch: Watch = iter
) -> Harder:
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
    path = folder / f"harder_{config.kind}_{key}.safetensors"
    x, y = inputs(cells), _targets(cells)
    model = Harder(config.kind, x.shape[1], y.shape[1]).double()
    model.size.float()
    if model.sign is not None:
        model.sign.float()
    if path.exists():
        model.load_state_dict(checkpoint.read(path)[0])
        return model
    _fit(model, config, torch.from_numpy(x), torch.from_numpy(y), watch)
    checkpoint.write(path, model.state_dict(), asdict(config))
    return model


def predict(model: Harder, cells: Cells) -> Array:
    """State after the step: 26 prognostics and 4 waters (n, 30)."""
    x = torch.from_numpy(inputs(cells))
    given = torch.cat([model(x[i : i + _CHUNK]) for i in range(0, len(x), _CHUNK)]).numpy()
    count = cells.before.shape[1]
    return np.concatenate([cells.before + given[:, :count], given[:, count:]], axis=1)


def inputs(cells: Cells) -> Array:
    """Environment, state before the step, ln of the timestep (n, 35)."""
    return np.concatenate(
        [cells.environment, cells.before, np.log(cells.timestep)[:, None]], axis=1
    )


def _targets(cells: Cells) -> Array:
    """Tendencies over the step, and water after it, as Harder et al. have them (n, 30)."""
    assert cells.water_after is not None
    return np.concatenate([cells.after - cells.before, cells.water_after], axis=1)


def _dense(inputs: int, outputs: int) -> torch.nn.Sequential:
    return torch.nn.Sequential(
        torch.nn.Linear(inputs, _WIDTH),
        torch.nn.ReLU(),
        torch.nn.Linear(_WIDTH, _WIDTH),
        torch.nn.ReLU(),
        torch.nn.Linear(_WIDTH, outputs),
    )


def _fit(model: Harder, config: HarderConfig, x: Tensor, y: Tensor, watch: Watch) -> None:
    """Adam on mean square errors, and on the cross entropy of the signs."""
    for name, values in (("x", x), ("y", y)):
        given = torch.log(values.abs() + _FLOOR) if config.kind == "log" else values
        scale = given.std(dim=0)
        model.get_buffer(f"{name}_mean").copy_(given.mean(dim=0))
        model.get_buffer(f"{name}_scale").copy_(torch.where(scale > 0.0, scale, 1.0))
        if name == "y":
            model.get_buffer("y_high").copy_(given.amax(dim=0))
    z, wanted, up = model.scaled(x, "x"), model.scaled(y, "y"), (y > 0.0).float()
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        for part in model.modules():
            if isinstance(part, torch.nn.Linear):
                part.reset_parameters()
        optimizer = torch.optim.Adam(model.parameters(), lr=config.rate)
        for _ in watch(range(config.epochs)):
            for rows in torch.split(torch.randperm(len(z)), config.batch):
                loss = torch.nn.functional.mse_loss(model.size(z[rows]), wanted[rows])
                if model.sign is not None:
                    loss = loss + torch.nn.functional.binary_cross_entropy_with_logits(
                        model.sign(z[rows]), up[rows]
                    )
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
