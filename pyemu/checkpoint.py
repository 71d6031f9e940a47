"""Checkpoints of a training run: tensors and plain values in one safetensors file, no pickle."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from pyemu.files import replaced

Tensors = dict[str, Tensor]


def write(path: Path, tensors: Mapping[str, Tensor], told: Mapping[str, Any]) -> None:
    """Write a checkpoint, whole or not at all."""
    there = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    with replaced(path) as temporary:
        temporary.write_bytes(save(there, metadata={"told": json.dumps(told)}))


def read(path: Path) -> tuple[Tensors, dict[str, Any]]:
    """Read what `write` wrote."""
    with safe_open(path, framework="pt") as file:
        told = json.loads((file.metadata() or {})["told"])
        return {name: file.get_tensor(name) for name in file.keys()}, told  # noqa: SIM118


def plain(values: Any) -> Any:
    """Give what JSON makes of values, to compare with those of a checkpoint."""
    return json.loads(json.dumps(values))


def flat(optimizer: torch.optim.Optimizer) -> Tensors:
    """State of an optimizer by names."""
    state = optimizer.state_dict()["state"]
    return {
        f"{place}.{key}": torch.as_tensor(v) for place, s in state.items() for key, v in s.items()
    }


def restore(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Give an optimizer the state that `flat` took."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        place, _, key = name.partition(".")
        state.setdefault(int(place), {})[key] = tensor
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def under(prefix: str, tensors: Mapping[str, Tensor]) -> Tensors:
    """Tensors whose names begin with `prefix.`, without it."""
    start = f"{prefix}."
    return {n.removeprefix(start): t for n, t in tensors.items() if n.startswith(start)}
