"""Operations that a slot may hold: small modules that keep the shape of what they are given.

Vectors are (n, channels); fields (n, channels, length) or (n, channels, height, width). The
operations of one slot that differ in `width` alone are slices of one weight matrix, the narrower
being the first units of the wider: every batch then trains all of them, where twelve matrices would
see a twelfth of the batches each (rank correlation with stand-alone losses, 14 networks on the
spectrum of `benchmarks`, 2000 steps, one run: 0.92; 0.77 with weights of their own). Kernels and
activations have weights of their own, as what they compute has nothing in common.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

ACTIVATIONS = {"relu": torch.relu, "silu": functional.silu, "tanh": torch.tanh}
DENSE, GATED, LOW_RANK = "dense", "gated", "low_rank"
CONVOLUTION, NEAREST, LINEAR, DIRECT = "convolution", "nearest", "linear", "direct"
SKIP, ZERO, NONE = "skip", "zero", "none"
_BY_WIDTH = (DENSE, GATED, LOW_RANK)
KINDS = (SKIP, ZERO, NONE, *_BY_WIDTH, CONVOLUTION, NEAREST, LINEAR, DIRECT)


@dataclass(frozen=True, kw_only=True)
class Operation:
    """An option of a slot.

    Parameters
    ----------
    kind
        skip: h. zero: 0 for each of h. none: the number 0. dense: V act(W h + b) + c of `width`
        hidden units. gated: the product V ((W h + b) * (U h + d)) + c (the bilinear unit of Shazeer
        2020, arXiv 2002.05202). low_rank: act(V W h + b) of rank `width`. convolution:
        act(kernel * h). nearest, linear: twice as many points. direct: a linear map from vector to
        field.
    width
        Hidden units, or rank.
    kernel
        Points of the kernel along each dimension, odd.
    activation
        relu, silu or tanh.
    """

    kind: str
    width: int = 0
    kernel: int = 0
    activation: str = ""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind = {self.kind!r}; allowed is one of {', '.join(KINDS)}")
        if (self.width >= 1) != (self.kind in _BY_WIDTH):
            raise ValueError(f"{self.kind} of width {self.width}; {_BY_WIDTH} have a width >= 1")
        if (self.kernel >= 1 and self.kernel % 2 == 1) != (self.kind == CONVOLUTION):
            raise ValueError(f"{self.kind} of kernel {self.kernel}; convolutions have an odd one")
        if (self.activation in ACTIVATIONS) != (self.kind in (DENSE, LOW_RANK, CONVOLUTION)):
            allowed = ", ".join(ACTIVATIONS)
            raise ValueError(f"{self.kind}: activation = {self.activation!r}; allowed is {allowed}")

    @property
    def name(self) -> str:
        """Name in tables, such as dense32_silu."""
        size = self.width or self.kernel or ""
        return f"{self.kind}{size}" + (f"_{self.activation}" if self.activation else "")

    @property
    def group(self) -> str:
        """What operations that share weights have in common."""
        return f"{self.kind}{self.kernel or ''}_{self.activation}"

    def multiply_adds(self, channels: int, shape: tuple[int, ...]) -> int:
        """Multiplications of one sample: vectors of `channels`, or fields of that `shape`."""
        points = math.prod(shape)
        costs: dict[str, int] = {
            DENSE: 2 * channels * self.width,
            GATED: 3 * channels * self.width,
            LOW_RANK: 2 * channels * self.width,
            CONVOLUTION: channels**2 * self.kernel ** len(shape) * points,
            LINEAR: channels * points * 2 ** len(shape),
            DIRECT: channels * points,
        }
        return costs.get(self.kind, 0)

    def build(self, channels: int, shape: tuple[int, ...]) -> nn.Module:
        """Make the module, called with h and the operation."""
        if self.kind in _BY_WIDTH:
            return Hidden(channels, self)
        if self.kind == CONVOLUTION:
            return Convolution(channels, len(shape), self)
        return Direct(channels, shape) if self.kind == DIRECT else Fixed()


def menu(
    kind: str,
    *,
    widths: tuple[int, ...] = (0,),
    kernels: tuple[int, ...] = (0,),
    activations: tuple[str, ...] = ("",),
) -> tuple[Operation, ...]:
    """Give the operations of a kind of all these widths, kernels and activations."""
    return tuple(
        Operation(kind=kind, width=width, kernel=kernel, activation=activation)
        for width in widths
        for kernel in kernels
        for activation in activations
    )


class Fixed(nn.Module):
    """Operations without weights."""

    def forward(self, h: Tensor, operation: Operation) -> Tensor:
        """Apply it to h (n, channels, ...)."""
        if operation.kind == SKIP:
            return h
        if operation.kind == ZERO:
            return torch.zeros_like(h)
        if operation.kind == NONE:
            return h.new_zeros(())
        if operation.kind == NEAREST:
            return functional.interpolate(h, scale_factor=2, mode="nearest")
        mode = {3: "linear", 4: "bilinear"}[h.ndim]
        return functional.interpolate(h, scale_factor=2, mode=mode, align_corners=False)


class Hidden(nn.Module):
    """dense, gated and low_rank of a largest width, called with any that is not larger."""

    def __init__(self, channels: int, largest: Operation) -> None:
        super().__init__()
        gain = 2.0**0.5 if largest.activation in ("relu", "silu") else 1.0
        gain = gain if largest.kind == DENSE else 1.0
        self.inner = linear(channels, largest.width, gain)
        self.gate = linear(channels, largest.width) if largest.kind == GATED else None
        self.outer = linear(largest.width, channels)

    def forward(self, h: Tensor, operation: Operation) -> Tensor:
        """Apply it to h (n, channels)."""
        hidden = _first(self.inner, h, operation.width)
        if self.gate is not None:
            hidden = hidden * _first(self.gate, h, operation.width)
        elif operation.kind == DENSE:
            hidden = ACTIVATIONS[operation.activation](hidden)
        out = functional.linear(hidden, self.outer.weight[:, : operation.width], self.outer.bias)
        return ACTIVATIONS[operation.activation](out) if operation.kind == LOW_RANK else out


class Convolution(nn.Module):
    """A convolution that keeps the number of points and channels."""

    def __init__(self, channels: int, dimensions: int, operation: Operation) -> None:
        super().__init__()
        made = {1: nn.Conv1d, 2: nn.Conv2d}[dimensions]
        self.conv = made(channels, channels, operation.kernel, padding=operation.kernel // 2)
        gain = 1.0 if operation.activation == "tanh" else 2.0**0.5
        inputs = channels * operation.kernel**dimensions
        nn.init.normal_(self.conv.weight, std=gain / inputs**0.5)

    def forward(self, h: Tensor, operation: Operation) -> Tensor:
        """Apply it to h (n, channels, length[, width])."""
        return ACTIVATIONS[operation.activation](self.conv(h))


class Direct(nn.Module):
    """A linear map from a vector (n, channels) to a field (n, *shape)."""

    def __init__(self, channels: int, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = shape
        self.map = linear(channels, math.prod(shape))

    def forward(self, h: Tensor, operation: Operation) -> Tensor:  # noqa: ARG002
        """Apply it."""
        out: Tensor = self.map(h).unflatten(1, self.shape)
        return out


class Choice(nn.Module):
    """The options of one slot, with their weights."""

    def __init__(
        self, options: tuple[Operation, ...], channels: int, shape: tuple[int, ...] = ()
    ) -> None:
        super().__init__()
        largest: dict[str, Operation] = {}
        for option in sorted(options, key=lambda o: o.width):
            largest[option.group] = option
        self.options = options
        self.costs = tuple(option.multiply_adds(channels, shape) for option in options)
        self.groups = nn.ModuleDict({k: o.build(channels, shape) for k, o in largest.items()})

    def forward(self, h: Tensor, place: int) -> Tensor:
        """Apply option number `place`."""
        option = self.options[place]
        out: Tensor = self.groups[option.group](h, option)
        return out


def linear(inputs: int, outputs: int, gain: float = 1.0) -> nn.Linear:
    """Make a linear layer that keeps the variance (times gain^2) at the start, bias 0."""
    layer = nn.Linear(inputs, outputs)
    nn.init.normal_(layer.weight, std=gain / inputs**0.5)
    nn.init.zeros_(layer.bias)
    return layer


def _first(layer: nn.Linear, h: Tensor, width: int) -> Tensor:
    return functional.linear(h, layer.weight[:width], layer.bias[:width])
