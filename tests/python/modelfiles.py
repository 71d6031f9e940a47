"""Model files for tests, written from the contract alone (the docstring of `pyemu.modelfile`)."""

import copy
import json
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyemu._m7 import m7_config
from pyemu.reference import Config
from pyemu.variables import ENVIRONMENT, MODES, PROGNOSTICS

Tensors = Mapping[str, NDArray[Any]]

CHAIN = (
    "properties", "water", "condensation", "nucleation", "coagulation", "number", "transfer",
    "ageing", "merging",
)  # fmt: skip
SWITCHES = (
    "condensation", "coagulation", "reset_seasalt_sums", "small_insoluble_volume",
    "limited_ageing", "source_coagulation", "clip_weight_percent", "sulfate_free_radius",
    "kappa_full_volume",
)  # fmt: skip
AMOUNTS = (
    "number_min", "mass_min", "insoluble_volume_min", "hygroscopic_volume_min",
    "kernel_number_min", "kernel_radius_min", "equation_number_min", "ageing_number_min",
    "merging_number_min", "merging_radius_min", "pi", "sqrt2", "avogadro",
)  # fmt: skip
PAIRS = (
    "ns_ns", "ns_ks", "ns_as", "ns_cs", "ns_ki", "ns_ai", "ns_ci", "ks_ks", "ks_as", "ks_cs",
    "ks_ki", "ks_ai", "ks_ci", "as_as", "as_ki", "ki_ki",
)  # fmt: skip
FEATURES = {
    "coagulation": [
        *(f"ln_wet_radius_{mode.name}" for mode in MODES),
        *(f"density_{mode.name}" for mode in MODES),
        "temperature",
        "ln_pressure",
    ],
    "water": ["ln_molecules", "temperature", "relative_humidity", "ln_pressure"],
}
TARGETS = {
    "coagulation": [f"ln_kernel_{pair}" for pair in PAIRS],
    "water": ["ln_weight_percent", "solution_density"],
}


def settings(config: Config) -> dict[str, Any]:
    """Tell a configuration as the model file does."""
    native: m7_config.m7_config_type = config.build()
    told: dict[str, Any] = {
        name: getattr(config, name)
        for name in ("profile", "water", "nucleation", "organic_nucleation")
    }
    told |= {name: bool(getattr(native, name)) for name in SWITCHES}
    told |= {name: [float(x) for x in getattr(native, name)] for name in ("density", "kappa")}
    return told | {name: float(getattr(native, name)) for name in AMOUNTS}


def metadata(config: Config | None = None) -> dict[str, Any]:
    """Describe a model of exact blocks alone."""
    return {
        "format_version": 2,
        "title": "a test",
        "created": "2026-11-21T10:00:00Z",
        "teacher": "m7",
        "integration": {"form": "single"},
        "variables": [
            {"name": v.name, "unit": v.unit, "role": v.role} for v in ENVIRONMENT + PROGNOSTICS
        ],
        "settings": settings(config or Config()),
        "chain": [{"block": block, "form": "exact"} for block in CHAIN],
        "networks": {},
        "provenance": {},
    }


def network(
    block: str, widths: tuple[int, ...] = (32, 32), activation: str = "silu", seed: int = 1
) -> tuple[dict[str, Any], dict[str, NDArray[np.float32]]]:
    """Make a network of random weights and plausible sizes for `block`."""
    draw = np.random.default_rng(seed)
    features, targets = FEATURES[block], TARGETS[block]
    typical = {
        "ln_wet": (-12.0, 3.0),
        "density": (1.5, 0.4),
        "temperature": (270.0, 20.0),
        "ln_pressure": (11.0, 0.7),
        "ln_molecules": (14.0, 6.0),
        "relative": (0.5, 0.2),
    }
    mean, scale = np.array(
        [next(v for k, v in typical.items() if f.startswith(k)) for f in features]
    ).T
    sizes = (len(features), *widths, len(targets))
    tensors = {
        "feature_mean": mean,
        "feature_scale": scale,
        "feature_low": mean - 3.0 * scale,
        "feature_high": mean + 3.0 * scale,
        "bypass": draw.normal(0.0, 0.1, (len(targets), len(features))),
        "target_mean": np.full(16, -20.0) if block == "coagulation" else np.array([3.5, 1.3]),
        "target_scale": np.full(16, 2.0) if block == "coagulation" else np.array([0.3, 0.1]),
    }
    layers = []
    for place, (inputs, outputs) in enumerate(pairwise(sizes)):
        last = place == len(widths)
        layers.append(
            {
                "operation": "dense",
                "activation": "none" if last else activation,
                "inputs": inputs,
                "outputs": outputs,
            }
        )
        tensors[f"{place}.weight"] = draw.normal(0.0, inputs**-0.5, (outputs, inputs))
        tensors[f"{place}.bias"] = draw.normal(0.0, 0.1, outputs)
    entry = {"features": [*features], "targets": [*targets], "layers": layers}
    return entry, {name: tensor.astype(np.float32) for name, tensor in tensors.items()}


def with_network(
    meta: Mapping[str, Any], block: str, **options: Any
) -> tuple[dict[str, Any], dict[str, NDArray[np.float32]]]:
    """Put a network of random weights into a model's chain."""
    learned = copy.deepcopy(dict(meta))
    entry, tensors = network(block, **options)
    learned["networks"][block] = entry
    learned["chain"][CHAIN.index(block)] |= {"form": "network", "network": block}
    return learned, {f"{block}.{name}": tensor for name, tensor in tensors.items()}


def content(meta: Mapping[str, Any], tensors: Tensors | None = None) -> bytes:
    """Lay out a model file."""
    header: dict[str, Any] = {"__metadata__": {"m7emu": json.dumps(meta)}}
    data = b""
    for name, tensor in (tensors or {}).items():
        raw = tensor.astype("<f4").tobytes()
        header[name] = {
            "dtype": "F32",
            "shape": list(tensor.shape),
            "data_offsets": [len(data), len(data) + len(raw)],
        }
        data += raw
    text = json.dumps(header).encode()
    return framed(text + b" " * (-len(text) % 8), data)


def framed(header: bytes, data: bytes = b"") -> bytes:
    """Put the header's length before it, as safetensors do."""
    return len(header).to_bytes(8, "little") + header + data


def write(path: Path, meta: Mapping[str, Any], tensors: Tensors | None = None) -> Path:
    """Write a model file."""
    path.write_bytes(content(meta, tensors))
    return path


def shared() -> dict[str, bytes]:
    """Content of the model files in tests/abi, for tests that have no Python."""
    exact = {profile: metadata(Config(profile=profile)) for profile in ("ham2", "m7_2004")}
    meta, kernels = with_network(exact["ham2"], "coagulation", widths=(12, 8))
    meta, droplets = with_network(meta, "water", widths=(8,), activation="tanh")
    exact["stages"] = exact["ham2"] | {
        "teacher": "converged",
        "integration": {"form": "stages", "stages": 2, "strides": 8},
    }
    files = {f"{name}.safetensors": content(told) for name, told in exact.items()}
    return files | {"learned.safetensors": content(meta, kernels | droplets)}
