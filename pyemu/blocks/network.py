"""A small network with its scaling, as the model file holds it (`pyemu.modelfile`)."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import torch
from torch import Tensor

from pyemu.blocks.numerics import least

ACTIVATIONS = {
    "none": lambda x: x,
    "relu": torch.relu,
    "silu": torch.nn.functional.silu,
    "tanh": torch.tanh,
}
OPERATIONS = ("dense", "residual", "gated", "low_rank")
_SCALES = ("feature_mean", "feature_scale", "feature_low", "feature_high")
_TARGET_SCALES = ("target_mean", "target_scale")
_RIDGE = 1e-6
_MARGIN = 1e-3
"""By how many standard deviations (1 of a constant) a range is widened, lest round-off leave it."""
_CONSTANT = 1e-6
"""Spread, relative to the mean, below which a feature or target counts as constant [1]."""


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One layer, by its operation.

    dense: activation(weight h + bias); residual: h + that, inputs == outputs; gated: that times
    (gate_weight h + gate_bias); low_rank: activation(weight (factor h) + bias), factor of `rank`
    rows.
    """

    inputs: int
    outputs: int
    activation: str = "none"
    operation: str = "dense"
    rank: int = 0

    def __post_init__(self) -> None:
        if self.operation not in OPERATIONS:
            allowed = ", ".join(map(repr, OPERATIONS))
            raise ValueError(f"operation = {self.operation!r}; allowed is {allowed}")
        if (self.operation == "low_rank") != (self.rank > 0):
            raise ValueError(f"rank = {self.rank} of operation {self.operation!r}")
        if self.operation == "residual" and self.inputs != self.outputs:
            raise ValueError(f"a residual layer of {self.inputs} inputs and {self.outputs} outputs")
        if self.activation not in ACTIVATIONS:
            allowed = ", ".join(map(repr, ACTIVATIONS))
            raise ValueError(f"activation = {self.activation!r}; allowed is {allowed}")
        if self.inputs < 1 or self.outputs < 1:
            raise ValueError(f"a layer of {self.inputs} inputs and {self.outputs} outputs")

    def describe(self) -> dict[str, Any]:
        """Give what the model file's JSON says of it."""
        told = asdict(self)
        return told if self.rank else {key: told[key] for key in told if key != "rank"}


def layer_of(name: str, inputs: int) -> Layer:
    """Make the layer of a name such as "dense32_silu", "residual64_tanh" or "low_rank32_relu".

    The number is its width; low_rank has a quarter of that as rank. A residual layer needs as many
    inputs as outputs: where the width changes it is a dense one.
    """
    found = re.fullmatch(f"({'|'.join(OPERATIONS)})([1-9][0-9]*)_([a-z]+)", name)
    if found is None:
        allowed = ", ".join(OPERATIONS)
        raise ValueError(f"layer {name!r}; allowed is a width, or as dense32_silu: {allowed}")
    operation, width, activation = found[1], int(found[2]), found[3]
    if operation == "residual" and inputs != width:
        operation = "dense"
    rank = max(width // 4, 1) if operation == "low_rank" else 0
    return Layer(
        inputs=inputs, outputs=width, activation=activation, operation=operation, rank=rank
    )


class Operation(torch.nn.Linear):
    """What a layer does: a linear map, and what its operation adds to that."""

    def __init__(self, layer: Layer) -> None:
        super().__init__(layer.rank or layer.inputs, layer.outputs)
        self.layer = layer
        if layer.operation == "gated":
            gate = torch.nn.Linear(layer.inputs, layer.outputs)
            self.gate_weight, self.gate_bias = gate.weight, gate.bias
        if layer.rank:
            self.factor = torch.nn.Linear(layer.inputs, layer.rank, bias=False).weight

    def forward(self, h: Tensor) -> Tensor:
        """Give (..., outputs) from h (..., inputs)."""
        inner = torch.nn.functional.linear(h, self.factor) if self.layer.rank else h
        bent: Tensor = ACTIVATIONS[self.layer.activation](super().forward(inner))
        if self.layer.operation == "residual":
            return h + bent
        if self.layer.operation == "gated":
            return bent * torch.nn.functional.linear(h, self.gate_weight, self.gate_bias)
        return bent


class Network(torch.nn.Module):
    """y = target_mean + target_scale*(layers(z) + bypass z), z = (x - feature_mean)/feature_scale.

    Without the linear `bypass` the layers give all of it.

    Parameters
    ----------
    features, targets
        Names of x (..., f) and y (..., t).
    layers
        From f to t.
    bypass
        Whether there is one.

    Raises
    ------
    ValueError
        Layers that do not fit each other, the features or the targets.
    """

    feature_mean: Tensor
    feature_scale: Tensor
    feature_low: Tensor
    feature_high: Tensor
    target_mean: Tensor
    target_scale: Tensor

    def __init__(
        self,
        features: Sequence[str],
        targets: Sequence[str],
        layers: Sequence[Layer],
        bypass: bool = True,
    ) -> None:
        super().__init__()
        self.features, self.targets = tuple(features), tuple(targets)
        self.layers = tuple(layers)
        leaving = [len(features), *(layer.outputs for layer in layers)]
        entering = [*(layer.inputs for layer in layers), len(targets)]
        if leaving != entering:
            raise ValueError(
                f"layers from {entering[:-1]} to {leaving[1:]} do not lead from "
                f"{len(features)} features to {len(targets)} targets"
            )
        for name in (*_SCALES, *_TARGET_SCALES):
            size = len(features if name in _SCALES else targets)
            fill = {"feature_low": -torch.inf, "feature_high": torch.inf}
            value = fill.get(name, float(name.endswith("scale")))
            self.register_buffer(name, torch.full((size,), value))
        operations = [Operation(layer) for layer in layers]
        for parameter in (operations[-1].weight, operations[-1].bias):
            torch.nn.init.zeros_(parameter)
        self.operations = torch.nn.ModuleList(operations)
        straight = torch.nn.Parameter(torch.zeros(len(targets), len(features)))
        self.bypass = straight if bypass else None

    @classmethod
    def hidden(
        cls,
        features: Sequence[str],
        targets: Sequence[str],
        hidden: Sequence[int | str],
        activation: str = "silu",
        bypass: bool = True,
    ) -> Self:
        """Make a network of hidden layers; it starts as its bypass, which is 0.

        A layer is its width, a name (`layer_of`), or "skip", which is none.
        """
        layers = list[Layer]()
        for given in hidden:
            if given == "skip":
                continue
            inputs = layers[-1].outputs if layers else len(features)
            name = f"dense{given}_{activation}" if isinstance(given, int) else given
            layers.append(layer_of(name, inputs))
        inputs = layers[-1].outputs if layers else len(features)
        return cls(features, targets, [*layers, Layer(inputs=inputs, outputs=len(targets))], bypass)

    def forward(self, features: Tensor, there: Tensor | None = None) -> Tensor:
        """Give the targets (..., t) of features (..., f); where not `there` a feature is its mean.

        The layers run in the precision of their weights, the rest in that of the features.
        """
        z = (features - self.feature_mean) / self.feature_scale
        if there is not None:
            z = torch.where(there, z, 0.0)
        z = z.to(next(self.parameters()).dtype)
        h = z
        for operation in self.operations:
            h = operation(h)
        if self.bypass is not None:
            h = h + torch.nn.functional.linear(z, self.bypass)
        y = h.to(features.dtype)
        return self.target_mean.to(y.dtype) + self.target_scale.to(y.dtype) * y

    def flag(self, features: Tensor, there: Tensor | None = None) -> Tensor:
        """Judge whether features (..., f) lie in the range trained on (...,), int32.

        0 where they do, 1 where one lies beyond, 2 where by more than half the range.
        """
        low, high = self.feature_low, self.feature_high
        beyond = torch.maximum(low - features, features - high)
        if there is not None:
            beyond = torch.where(there, beyond, -1.0)
        outside = (beyond > 0.0).int() + (beyond > 0.5 * (high - low)).int()
        return outside.amax(dim=-1)

    @torch.no_grad()
    def calibrate(
        self,
        features: Tensor,
        targets: Tensor,
        there: Tensor | None = None,
        known: Tensor | None = None,
    ) -> None:
        """Set scaling and range from a sample, and the bypass to its linear regression.

        Parameters
        ----------
        features, targets
            (n, f), (n, t)
        there, known
            Which of them count, of the same shapes, `known` as weights; None: all.
        """
        features, targets = features.double(), targets.double()
        there = torch.ones_like(features, dtype=torch.bool) if there is None else there
        known = torch.ones_like(targets) if known is None else known.to(targets.dtype)
        mean, scale = _moments(features, there)
        self.feature_mean.copy_(mean)
        self.feature_scale.copy_(scale)
        low = torch.where(there, features, torch.inf).amin(dim=0)
        high = torch.where(there, features, -torch.inf).amax(dim=0)
        self.feature_low.copy_(low - _MARGIN * scale)
        self.feature_high.copy_(high + _MARGIN * scale)
        target_mean, target_scale = _moments(targets, known)
        self.target_mean.copy_(target_mean)
        self.target_scale.copy_(target_scale)
        z = torch.where(there, (features - mean) / scale, 0.0)
        if self.bypass is None:
            return
        y = torch.where(known > 0.0, (targets - target_mean) / target_scale, 0.0)
        ridge = _RIDGE * len(z) * torch.eye(z.shape[1], dtype=z.dtype, device=z.device)
        for place in range(y.shape[1]):
            some = z * known[:, place, None]
            slope = torch.linalg.solve(z.T @ some + ridge, some.T @ y[:, place])
            self.bypass[place].copy_(slope)

    def describe(self) -> dict[str, Any]:
        """Give names and layers as the model file's JSON holds them."""
        told = {
            "features": list(self.features),
            "targets": list(self.targets),
            "layers": [layer.describe() for layer in self.layers],
        }
        return told if self.bypass is not None else told | {"bypass": False}

    def to_tensors(self, name: str) -> dict[str, Tensor]:
        """Give all numbers as the model file holds them: float32, by the name of the network."""
        found = {key: getattr(self, key) for key in (*_SCALES, *_TARGET_SCALES)}
        if self.bypass is not None:
            found["bypass"] = self.bypass
        for place, operation in enumerate(self.operations):
            found |= {f"{place}.{key}": value for key, value in operation.named_parameters()}
        return {f"{name}.{k}": v.detach().float().cpu().contiguous() for k, v in found.items()}

    @classmethod
    def from_tensors(
        cls, name: str, description: Mapping[str, Any], tensors: Mapping[str, Tensor]
    ) -> Self:
        """Build the network `name` from what `describe` and `to_tensors` gave.

        Raises
        ------
        ValueError
            Layers that do not fit, a tensor that is missing, of the wrong shape or not finite.
        """
        layers = [Layer(**layer) for layer in description["layers"]]
        bypass = description.get("bypass", True)
        network = cls(description["features"], description["targets"], layers, bypass)
        for key, wanted in network.to_tensors(name).items():
            if key not in tensors:
                raise ValueError(f"tensor '{key}' is missing")
            given, tail = tensors[key], key.removeprefix(f"{name}.")
            if given.shape != wanted.shape:
                raise ValueError(
                    f"tensor '{key}' has shape {tuple(given.shape)}; needed is "
                    f"{tuple(wanted.shape)}"
                )
            if given.isnan().any() or (given.isinf().any() and tail not in _SCALES):
                raise ValueError(f"tensor '{key}' is not finite")
            target = network if "." not in tail else network.operations[int(tail.split(".")[0])]
            with torch.no_grad():
                getattr(target, tail.split(".")[-1]).copy_(given)
        return network


def _moments(x: Tensor, there: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each column, rows weighted by `there`; constants get 1."""
    weight = there.to(x.dtype)
    count = weight.sum(dim=0).clamp(min=least(x))
    mean = (weight * x).sum(dim=0) / count
    scale = ((weight * (x - mean).square()).sum(dim=0) / count).sqrt()
    varies = scale > _CONSTANT * mean.abs()
    return mean, torch.where(varies, scale, 1.0)
