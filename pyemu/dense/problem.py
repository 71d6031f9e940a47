"""What is searched: the contract of a problem, a super-architecture, regression with it."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, Self

import numpy as np
import torch
from torch import Tensor, nn

from pyemu.dense.architecture import Architecture, Slot, only
from pyemu.dense.operations import (
    CONVOLUTION,
    DENSE,
    DIRECT,
    GATED,
    LINEAR,
    LOW_RANK,
    NEAREST,
    NONE,
    ZERO,
    Choice,
    Operation,
    linear,
    menu,
)


class Problem(Protocol):
    """A super-network with its data, as `Search` needs it.

    Batches depend on seed, step and rank alone, so that a run that was killed goes on with the same
    bits; for the same reason nothing is drawn from torch's global generator. Which parameters an
    architecture uses depends on nothing else, lest the ranks of a distributed run disagree.
    """

    @property
    def slots(self) -> Sequence[Slot]:
        """Places of the super-network."""

    def parameters(self) -> Iterable[nn.Parameter]:
        """Shared weights."""

    def train_loss(self, architecture: Architecture, step: int) -> Tensor:
        """Loss, a scalar with its graph, of a sampled network on training batch `step`."""

    def validation_losses(
        self, architectures: Sequence[Architecture], batch: int | None
    ) -> Tensor | Sequence[float]:
        """Losses >= 0 of networks on a common validation batch; None: on all validation data."""

    def state_dict(self) -> Mapping[str, Tensor]:
        """Weights and whatever else changes."""

    def load_state_dict(self, state_dict: Mapping[str, Tensor], /) -> Any:
        """Set what `state_dict` gave."""


def generator(*path: int) -> torch.Generator:
    """Random numbers that depend on these numbers alone, such as seed and step."""
    (seed,) = np.random.SeedSequence(path).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(seed) >> 1)


_ACTIVATIONS = ("relu", "silu", "tanh")
VECTOR = (
    *menu(ZERO),
    *menu(DENSE, widths=(16, 32, 64, 128), activations=_ACTIVATIONS),
    *menu(GATED, widths=(16, 64)),
    *menu(LOW_RANK, widths=(8,), activations=("silu",)),
)
FIELD = (*menu(ZERO), *menu(CONVOLUTION, kernels=(1, 3, 5, 7), activations=("silu",)))
UPSAMPLING = (*menu(NEAREST), *menu(LINEAR))
_POINTS = 4
"""Points along the longest side of a field before the first up-sampling."""


@dataclass(frozen=True, kw_only=True)
class Size:
    """Sizes and menus of a super-architecture; the defaults serve scalars, spectra and images.

    Parameters
    ----------
    layers, width
        Super-layers on vectors, and what passes between them.
    channels
        Of fields between up-samplings.
    vector, field
        Menus of the operations.
    passage
        Menu of what passes beside them; empty: h itself, always (skip). With {skip, zero} half of
        the random networks pass next to nothing, and the weights they share learn from noise: on
        the spectrum of `benchmarks` the shared loss was 2 to 8 times as high.
    multiply_adds_per_ns
        Speed that turns multiplications into the latency table, where none was measured.
    """

    layers: int = 3
    width: int = 64
    channels: int = 8
    vector: tuple[Operation, ...] = VECTOR
    field: tuple[Operation, ...] = FIELD
    passage: tuple[Operation, ...] = ()
    multiply_adds_per_ns: float = 50.0

    def __post_init__(self) -> None:
        for name in ("layers", "width", "channels"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} = {getattr(self, name)}; allowed is >= 1")
        if not 0.0 < self.multiply_adds_per_ns < math.inf:
            raise ValueError(f"multiply_adds_per_ns = {self.multiply_adds_per_ns}; allowed is > 0")


class SuperArchitecture(nn.Module):
    """Super-layers h <- h + operation(h); zero makes them pass h alone.

    A vector of inputs is embedded and passes `layers` of them. For fields a linear map then gives a
    few points, and stages of {up-sampling, operation, passage} double them until the field has
    its size; beside it is {none, direct}, a linear map to all points at once, so that a plain MLP
    is among the architectures.

    Parameters
    ----------
    inputs
        Number of inputs.
    outputs
        Shape of a sample's output: (m,), (channels, length) or (channels, height, width).
    only
        An architecture of the full menu: then each slot has this one option.
    seed
        Of the weights.
    """

    def __init__(
        self,
        inputs: int,
        outputs: tuple[int, ...],
        size: Size | None = None,
        *,
        only: Architecture | None = None,
        seed: int = 1,
    ) -> None:
        super().__init__()
        if len(outputs) not in (1, 2, 3) or min(outputs) < 1 or inputs < 1:
            raise ValueError(f"{inputs} inputs, outputs {outputs}; needed are 1 to 3 sizes >= 1")
        size = size or Size()
        self.inputs, self.outputs, self.size = inputs, outputs, size
        self.choices, self.slots = nn.ModuleList(), list[Slot]()
        self._only = None if only is None else list(only)
        channels, shape = outputs[0], outputs[1:]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.embedding = linear(inputs, size.width)
            for layer in range(size.layers):
                self._add(f"layer{layer}", size.vector, size.width)
                self._add(f"layer{layer} passage", size.passage, size.width)
            if shape:
                self._add("direct", (*menu(NONE), *menu(DIRECT)), size.width, outputs)
                self.stages = max(0, math.ceil(math.log2(max(shape) / _POINTS)))
                self.start = tuple(math.ceil(side / 2**self.stages) for side in shape)
                first = size.channels * math.prod(self.start)
                self.unfolding = linear(size.width, first)
                for stage in range(self.stages):
                    points = tuple(side * 2 ** (stage + 1) for side in self.start)
                    half = tuple(side // 2 for side in points)
                    self._add(f"stage{stage} up", UPSAMPLING, size.channels, half)
                    self._add(f"stage{stage}", size.field, size.channels, points)
                    self._add(f"stage{stage} passage", size.passage, size.channels, points)
            self.head = linear(size.channels if shape else size.width, channels)
        if self._only:
            raise ValueError(f"architecture {only} has more entries than {len(self.slots)} slots")

    def _add(
        self, name: str, options: tuple[Operation, ...], channels: int, shape: tuple[int, ...] = ()
    ) -> None:
        if not options:
            return
        if self._only is not None:
            if not self._only or not 0 <= self._only[0] < len(options):
                raise ValueError(f"architecture does not name one of {len(options)} for {name}")
            options = (options[self._only.pop(0)],)
        choice = Choice(options, channels, shape)
        latencies = tuple(cost / self.size.multiply_adds_per_ns for cost in choice.costs)
        self.choices.append(choice)
        self.slots.append(Slot(name, tuple(option.name for option in options), latencies))

    def alone(self, architecture: Architecture, seed: int) -> Self:
        """Make this architecture's network from scratch: each slot has one option left."""
        return type(self)(self.inputs, self.outputs, self.size, only=architecture, seed=seed)

    def forward(self, x: Tensor, architecture: Architecture) -> Tensor:
        """Give the output (n, *outputs) for x (n, inputs)."""
        picks = zip(self.choices, architecture, strict=True)

        def pick(h: Tensor) -> Tensor:
            choice, place = next(picks)
            out: Tensor = choice(h, place)
            return out

        h: Tensor = self.embedding(x)
        for _ in range(self.size.layers):
            h = pick(h) + (pick(h) if self.size.passage else h)
        if len(self.outputs) == 1:
            out: Tensor = self.head(h)
            return out
        straight = pick(h)
        h = self.unfolding(h).unflatten(1, (self.size.channels, *self.start))
        for _ in range(self.stages):
            h = pick(h)
            h = pick(h) + (pick(h) if self.size.passage else h)
        for dimension, side in enumerate(self.outputs[1:], start=2):
            h = h.narrow(dimension, 0, side)
        out = self.head(h.movedim(1, -1)).movedim(-1, 1)
        return out + straight


class Scaling(NamedTuple):
    """y = (x - mean) / scale, the statistics over samples and, if so asked, over points."""

    mean: Tensor
    scale: Tensor

    @classmethod
    def of(cls, x: Tensor, *, by_channel: bool = False) -> Self:
        """Mean of each entry; its standard deviation, or a channel's; constants get 1."""
        mean = x.mean(dim=0)
        dims = (0, *range(2, x.ndim)) if by_channel else (0,)
        scale: Tensor = (x - mean).square().mean(dim=dims, keepdim=True)[0].sqrt()
        return cls(mean, torch.where(scale > 1e-12 * mean.abs().amax(), scale, 1.0))

    def scaled(self, x: Tensor) -> Tensor:
        """Towards mean 0 and variance 1."""
        return (x - self.mean) / self.scale

    def physical(self, z: Tensor) -> Tensor:
        """Back."""
        return z * self.scale + self.mean


Pairs = tuple[Tensor, Tensor]


class Regression(nn.Module):
    """Emulation of y (n, *outputs) from x (n, inputs): mean squared error of the scaled outputs.

    Parameters
    ----------
    network
        A `SuperArchitecture`, or any module with `slots` that is called with (x, architecture).
    train, validation
        (x, y). The scaling is that of the training data: inputs by their own spread, fields by
        their channel's.
    batch, validation_batch
        Samples of a training batch (each rank draws its own) and of a common validation batch.
    seed, rank
        Of the batches.
    """

    def __init__(
        self,
        network: nn.Module,
        train: Pairs,
        validation: Pairs,
        *,
        batch: int = 64,
        validation_batch: int = 256,
        seed: int = 1,
        rank: int = 0,
    ) -> None:
        super().__init__()
        for name, (x, y) in (("train", train), ("validation", validation)):
            if len(x) != len(y) or not len(x):
                raise ValueError(f"{name}: {len(x)} inputs, {len(y)} outputs; needed are as many")
            if not (x.isfinite().all() and y.isfinite().all()):
                raise ValueError(f"{name}: values that are not finite")
        self.network = network
        self.inputs, self.outputs = Scaling.of(train[0]), Scaling.of(train[1], by_channel=True)
        self._train = (self.inputs.scaled(train[0]), self.outputs.scaled(train[1]))
        self._held = (self.inputs.scaled(validation[0]), self.outputs.scaled(validation[1]))
        self._batch, self._held_batch = batch, min(validation_batch, len(validation[0]))
        self._seed, self._rank = seed, rank

    @property
    def slots(self) -> Sequence[Slot]:
        """Those of the network."""
        slots: Sequence[Slot] = self.network.slots  # type: ignore[assignment]
        return slots

    def train_loss(self, architecture: Architecture, step: int) -> Tensor:
        """Mean squared error on training batch `step`, drawn with replacement."""
        x, y = self._train
        drawn = generator(self._seed, 0, step, self._rank)
        some = torch.randint(len(x), (self._batch,), generator=drawn).to(x.device)
        loss: Tensor = (self.network(x[some], architecture) - y[some]).square().mean()
        return loss

    @torch.no_grad()
    def validation_losses(
        self, architectures: Sequence[Architecture], batch: int | None
    ) -> list[float]:
        """Mean squared errors on validation batch `batch`, or (None) on all of it."""
        x, y = self._held
        if batch is not None:
            drawn = generator(self._seed, 1, batch)
            some = torch.randperm(len(x), generator=drawn)[: self._held_batch].to(x.device)
            x, y = x[some], y[some]
        return [float((self.network(x, a) - y).square().mean()) for a in architectures]

    @torch.no_grad()
    def predict(self, x: Tensor, architecture: Architecture | None = None) -> Tensor:
        """Give the output (n, *outputs), in the units of y, for x (n, inputs).

        None is the one architecture of a network that leaves no choice.
        """
        chosen = only(self.slots) if architecture is None else architecture
        out: Tensor = self.network(self.inputs.scaled(x), chosen)
        physical: Tensor = self.outputs.physical(out)
        return physical
