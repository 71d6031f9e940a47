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
INSOLUBLE = ("ki", "ai", "ci")
SIZES = ("1e1", "1e4", "1e7", "1e10", "1e13")
RADII = [f"ln_wet_radius_{mode.name}" for mode in MODES]
PARTICLES = [*RADII, *(f"density_{mode.name}" for mode in MODES), "temperature", "ln_pressure"]
FEATURES = {
    "water": ["temperature", "relative_humidity", "ln_pressure"],
    "salt": ["water_activity", "ln_subsaturation"],
    "condensation": [*RADII, "temperature", "ln_pressure"],
    "nucleation": ["temperature", "ln_saturation", "ln_gas"],
    "coagulation": PARTICLES,
    "ageing": [f"ln_wet_radius_{mode}" for mode in INSOLUBLE],
    "trunk": PARTICLES,
}
TARGETS = {
    "water": [
        *(f"ln_weight_percent_{size}" for size in SIZES),
        *(f"solution_density_{size}" for size in SIZES),
    ],
    "salt": [f"ln_water_per_{salt}" for salt in ("nacl", "na2so4", "h2so4")],
    "condensation": [f"ln_sink_{mode.name}" for mode in MODES],
    "nucleation": ["ln_nucleation_rate", "ln_cluster_molecules", "ln_cluster_h2so4"],
    "coagulation": [f"ln_kernel_{pair}" for pair in PAIRS],
    "ageing": [f"ln_coating_{mode}" for mode in INSOLUBLE],
}
OF_TRUNK = ("condensation", "coagulation", "ageing")
TARGETS["trunk"] = [target for block in OF_TRUNK for target in TARGETS[block]]
TYPICAL = {
    "ln_wet_radius": (-12.0, 3.0),
    "density": (1.5, 0.4),
    "temperature": (270.0, 20.0),
    "ln_pressure": (11.0, 0.7),
    "relative_humidity": (0.5, 0.2),
    "water_activity": (0.7, 0.15),
    "ln_subsaturation": (-1.3, 0.7),
    "ln_saturation": (-0.7, 0.6),
    "ln_gas": (16.0, 2.0),
    "ln_weight_percent": (3.5, 0.3),
    "solution_density": (1.3, 0.1),
    "ln_water_per": (-1.5, 0.8),
    "ln_sink": (-14.0, 2.0),
    "ln_nucleation_rate": (-2.0, 3.0),
    "ln_cluster_molecules": (2.0, 0.5),
    "ln_cluster_h2so4": (1.0, 0.4),
    "ln_kernel": (-20.0, 2.0),
    "ln_coating": (12.0, 2.0),
}


def typical(names: list[str]) -> NDArray[np.float64]:
    """Mean and spread of features or targets, (2, n)."""
    return np.array([next(v for k, v in TYPICAL.items() if n.startswith(k)) for n in names]).T


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
    block: str,
    widths: tuple[int, ...] = (32, 32),
    activation: str = "silu",
    seed: int = 1,
    operations: tuple[str, ...] = (),
    bypass: bool = True,
) -> tuple[dict[str, Any], dict[str, NDArray[np.float32]]]:
    """Make a network of random weights and plausible sizes for `block`, `salt` or `trunk`."""
    draw = np.random.default_rng(seed)
    features, targets = FEATURES[block], TARGETS[block]
    mean, scale = typical(features)
    target_mean, target_scale = typical(targets)
    sizes = (len(features), *widths, len(targets))
    tensors = {
        "feature_mean": mean,
        "feature_scale": scale,
        "feature_low": mean - 3.0 * scale,
        "feature_high": mean + 3.0 * scale,
        "target_mean": target_mean,
        "target_scale": target_scale,
    }
    if bypass:
        tensors["bypass"] = draw.normal(0.0, 0.1, (len(targets), len(features)))
    layers = []
    for place, (inputs, outputs) in enumerate(pairwise(sizes)):
        operation = operations[place] if place < len(operations) else "dense"
        layer = {
            "operation": operation,
            "activation": "none" if place == len(widths) else activation,
            "inputs": inputs,
            "outputs": outputs,
        }
        shapes: dict[str, tuple[int, ...]] = {"weight": (outputs, inputs), "bias": (outputs,)}
        if operation == "gated":
            shapes |= {"gate_weight": (outputs, inputs), "gate_bias": (outputs,)}
        if operation == "low_rank":
            layer["rank"] = 3
            shapes |= {"weight": (outputs, 3), "factor": (3, inputs)}
        for name, shape in shapes.items():
            spread = shape[1] ** -0.5 if len(shape) == 2 else 0.1
            tensors[f"{place}.{name}"] = draw.normal(0.0, spread, shape)
        layers.append(layer)
    entry = {"features": [*features], "targets": [*targets], "layers": layers}
    if not bypass:
        entry["bypass"] = False
    return entry, {name: tensor.astype(np.float32) for name, tensor in tensors.items()}


def with_network(
    meta: Mapping[str, Any], block: str, **options: Any
) -> tuple[dict[str, Any], dict[str, NDArray[np.float32]]]:
    """Put a network of random weights into a model's chain."""
    learned = copy.deepcopy(dict(meta))
    entry, tensors = network(block, **options)
    learned["networks"][block] = entry
    for served in OF_TRUNK if block == "trunk" else ("water" if block == "salt" else block,):
        key = "salt" if block == "salt" else "network"
        learned["chain"][CHAIN.index(served)] |= {"form": "network", key: block}
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
    exact["kappa"] = metadata(Config(water="kappa"))
    exact["organic"] = metadata(Config(organic_nucleation="kinetic"))
    for name, made in {"ham2": "stages", "organic": "organic_stages"}.items():
        exact[made] = exact[name] | {
            "teacher": "converged",
            "integration": {"form": "stages", "stages": 2, "strides": 8},
        }
    meta, tensors = exact["ham2"], dict[str, NDArray[np.float32]]()
    for block, operations in (
        ("trunk", ("gated", "residual", "low_rank")),
        ("water", ("dense", "low_rank")),
        ("salt", ()),
        ("nucleation", ("low_rank", "residual")),
    ):
        meta, more = with_network(meta, block, widths=(11, 11), operations=operations)
        for end, sign in (("low", -30.0), ("high", 30.0)):  # cells of the tests are within
            scale = more[f"{block}.feature_scale"]
            more[f"{block}.feature_{end}"] = (
                more[f"{block}.feature_mean"] + np.float32(sign) * scale
            )
        tensors |= more
    files = {f"{name}.safetensors": content(told) for name, told in exact.items()}
    return files | {"learned.safetensors": content(meta, tensors)}
