"""The model file: all that training and running share.

A safetensors file: tensors in float32, and one metadata entry `m7emu`, JSON::

    {"format_version": 2,
     "title": "...", "created": "2026-11-21T10:00:00Z", "teacher": "m7",
     "variables": [{"name": "pressure", "unit": "Pa", "role": "environment"}, ...],
     "settings": {"profile": "ham2", "water": "zsr", "nucleation": "vehkamaki2002",
                  "organic_nucleation": "none", "condensation": true, "coagulation": true,
                  "density": [1.841, 2.0, 2.0, 2.165, 2.65], "kappa": [0.6, 0.0, 0.06, 1.12, 0.0],
                  "reset_seasalt_sums": true, ..., "number_min": 1e-4, ..., "pi": 3.14159...,
                  "sqrt2": ..., "avogadro": ...},
     "integration": {"form": "single"},
     "chain": [{"block": "properties", "form": "exact"},
               {"block": "water", "form": "exact"},
               {"block": "condensation", "form": "exact"},
               {"block": "nucleation", "form": "exact"},
               {"block": "coagulation", "form": "network", "network": "coagulation"},
               {"block": "number", "form": "exact"}, {"block": "transfer", "form": "exact"},
               {"block": "ageing", "form": "exact"}, {"block": "merging", "form": "exact"}],
     "networks": {"coagulation": {
         "features": ["ln_wet_radius_ns", ..., "density_ns", ..., "temperature", "ln_pressure"],
         "targets": ["ln_kernel_ns_ns", "ln_kernel_ns_ks", ...],
         "layers": [{"operation": "dense", "activation": "silu", "inputs": 16, "outputs": 32},
                    ...]}},
     "provenance": {"records": ["sha256:..."], "command": "...", "version": "...",
                    "scores": {...}}}

`settings` holds every component of `m7_config_type` (`fortran/m7/m7_config.f90`) but the nucleation
table and the sub-steps, by the same names, switches as their names in `pyemu.reference.Config`.

`integration` is how the blocks make a step of them: "single" as M7 does, each once in turn, or
{"form": "stages", "stages": 2, "strides": 8}, where sizes, sinks and kernels are found at the start
of each stage and the processes act together in its strides (`pyemu.blocks.stages`), which tends to
the converged M7.

The chain is always these nine blocks in this order (emulator.md section 2); `form` is "exact", or
"network" for `water` and `coagulation`. A network reads features z and gives targets y::

    z = (feature - feature_mean)/feature_scale      <network>.feature_mean, .feature_scale (f,)
    h = z; for each layer: h = activation(weight h + bias)   <network>.<i>.weight (out, in), .bias
    y = target_mean + target_scale*(h + bypass z)   <network>.bypass (t, f), .target_mean, ...

Activations: "none", "relu", "silu", "tanh". A feature of a mode without particles (radius 0) takes
its feature_mean, so that z = 0. `<network>.feature_low` and `.feature_high` (f,) bound what the
network was trained on: beyond them a cell is flagged 1, beyond by more than half their distance 2.

- `coagulation`: features `ln_wet_radius_<mode>` [ln cm] and `density_<mode>` [g cm-3] of the seven
  modes, `temperature` [K], `ln_pressure` [ln Pa]; targets `ln_kernel_<a>_<b>` [ln(cm3 s-1)] of the
  sixteen pairs in the order of `m7_coagulation`. Where a mode is empty (section 11's thresholds)
  the kernel is 0 exactly.
- `water`: once per soluble mode, features `ln_molecules` (H2SO4 per particle), `temperature`,
  `relative_humidity` (both clipped as in section 8.1), `ln_pressure`; targets `ln_weight_percent`,
  `solution_density`. Sea salt stays exact.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyemu.files import replaced
from pyemu.modelspec import (
    ACTIVATIONS,
    CHAIN,
    FEATURES,
    LEARNED,
    OPERATIONS,
    TARGETS,
    check_settings,
)
from pyemu.variables import DIAGNOSTICS, ENVIRONMENT, PROGNOSTICS

Tensor = NDArray[np.float32]

FORMAT_VERSION = 2
MOST_STRIDES = 1000
"""Of a stage, and stages of a step."""
ENTRY = "m7emu"


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One layer of a network."""

    operation: str = "dense"
    activation: str = "none"
    inputs: int
    outputs: int

    def __post_init__(self) -> None:
        if self.operation not in OPERATIONS:
            raise ValueError(f"operation '{self.operation}' is not known; this reads 'dense'")
        if self.activation not in ACTIVATIONS:
            allowed = ", ".join(ACTIVATIONS)
            raise ValueError(f"activation '{self.activation}' is not known; allowed is {allowed}")
        if self.inputs < 1 or self.outputs < 1:
            raise ValueError(f"a layer of {self.inputs} inputs and {self.outputs} outputs")


@dataclass(frozen=True, kw_only=True)
class Block:
    """One block of the chain: exact, or a network by its name."""

    block: str
    form: str = "exact"
    network: str | None = None

    def __post_init__(self) -> None:
        if self.form not in ("exact", "network"):
            raise ValueError(f"{self.block} has form '{self.form}'; allowed is exact, network")
        if (self.form == "network") != (self.network is not None):
            raise ValueError(f"{self.block}: form '{self.form}' with network {self.network!r}")
        if self.network is not None and self.block not in LEARNED:
            raise ValueError(f"{self.block} cannot be a network; {', '.join(LEARNED)} can")


@dataclass(frozen=True, kw_only=True)
class Integration:
    """How the blocks make a step: in `stages` of `strides`, or, without any, each once in turn."""

    stages: int = 0
    strides: int = 0

    def __post_init__(self) -> None:
        for name in ("stages", "strides"):
            count = getattr(self, name)
            if type(count) is not int or not (not self or 1 <= count <= MOST_STRIDES):
                raise ValueError(f"{name} = {count!r}; allowed is 1 to {MOST_STRIDES}")

    def __bool__(self) -> bool:
        return (self.stages, self.strides) != (0, 0)

    @property
    def told(self) -> dict[str, Any]:
        """As the file's JSON has it."""
        return {"form": "stages", **asdict(self)} if self else {"form": "single"}

    @classmethod
    def read(cls, told: Mapping[str, Any]) -> "Integration":
        """Read what `told` gave."""
        rest = {name: value for name, value in told.items() if name != "form"}
        if told["form"] not in ("single", "stages"):
            raise ValueError(
                f"integration '{told['form']}' is not known; allowed is single, stages"
            )
        if (told["form"] == "stages") != (set(rest) == {"stages", "strides"}):
            raise ValueError(f"integration {dict(told)} has too few or too many entries")
        if told["form"] == "stages" and rest == {"stages": 0, "strides": 0}:
            raise ValueError(f"stages = 0; allowed is 1 to {MOST_STRIDES}")
        return cls(**rest)


@dataclass(frozen=True, kw_only=True, eq=False)
class NetworkData:
    """A network: names, layers and tensors by the names of the module's docstring."""

    features: tuple[str, ...]
    targets: tuple[str, ...]
    layers: tuple[Layer, ...]
    tensors: Mapping[str, Tensor]

    def __post_init__(self) -> None:
        if not self.layers:
            raise ValueError("it has no layers")
        sizes = [len(self.features), *(layer.outputs for layer in self.layers)]
        for place, (layer, inputs) in enumerate(zip(self.layers, sizes[:-1], strict=True)):
            if layer.inputs != inputs:
                raise ValueError(f"layer {place} has {layer.inputs} inputs and is given {inputs}")
        if sizes[-1] != len(self.targets):
            raise ValueError(f"the last layer gives {sizes[-1]} of {len(self.targets)} targets")
        self._check_tensors()

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each tensor that belongs to the network."""
        many, few = (len(self.features),), (len(self.targets),)
        told: dict[str, tuple[int, ...]] = {
            f"feature_{name}": many for name in ("mean", "scale", "low", "high")
        }
        told |= {"target_mean": few, "target_scale": few, "bypass": few + many}
        for place, layer in enumerate(self.layers):
            told[f"{place}.weight"] = (layer.outputs, layer.inputs)
            told[f"{place}.bias"] = (layer.outputs,)
        return told

    @property
    def parameters(self) -> int:
        """Number of weights and biases."""
        return sum(math.prod(s) for n, s in self.shapes.items() if not n.startswith("feature_"))

    def _check_tensors(self) -> None:
        for name, shape in self.shapes.items():
            if name not in self.tensors:
                raise ValueError(f"tensor {name} is missing")
            tensor = self.tensors[name]
            if tensor.shape != shape:
                raise ValueError(f"tensor {name} has shape {tensor.shape}, not {shape}")
            if tensor.dtype != np.float32:
                raise ValueError(f"tensor {name} has type {tensor.dtype}, not float32")
            if not np.isfinite(tensor).all():
                raise ValueError(f"tensor {name} has values that are not finite")
        for name in self.tensors:
            if name not in self.shapes:
                raise ValueError(f"tensor {name} belongs to no layer")
        if not (self.tensors["feature_scale"] > 0.0).all():
            raise ValueError("tensor feature_scale has values that are not above 0")
        if not (self.tensors["feature_low"] <= self.tensors["feature_high"]).all():
            raise ValueError("feature_low is above feature_high")


@dataclass(frozen=True, kw_only=True, eq=False)
class Model:
    """All that a model file holds."""

    title: str
    created: str
    teacher: str
    settings: Mapping[str, Any]
    chain: tuple[Block, ...]
    integration: Integration = Integration()
    networks: Mapping[str, NetworkData] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.teacher not in ("m7", "converged"):
            raise ValueError(f"teacher '{self.teacher}' is not known; allowed is m7, converged")
        check_settings(self.settings)
        if tuple(block.block for block in self.chain) != CHAIN:
            raise ValueError(f"the chain is not {', '.join(CHAIN)}")
        used = {block.network: block.block for block in self.chain if block.network is not None}
        for name in sorted({*used} ^ {*self.networks}):
            missing = name not in self.networks
            raise ValueError(
                f"network '{name}' is {'not there' if missing else 'not in the chain'}"
            )
        for name, block in used.items():
            data = self.networks[name]
            if data.features != FEATURES[block]:
                raise ValueError(f"network '{name}' does not take the features of {block}")
            if data.targets != TARGETS[block]:
                raise ValueError(f"network '{name}' does not give the targets of {block}")

    @property
    def metadata(self) -> dict[str, Any]:
        """What the file says beside the tensors."""
        inputs = ENVIRONMENT + PROGNOSTICS + DIAGNOSTICS
        return {
            "format_version": FORMAT_VERSION,
            "title": self.title,
            "created": self.created,
            "teacher": self.teacher,
            "variables": [{"name": v.name, "unit": v.unit, "role": v.role} for v in inputs],
            "settings": dict(self.settings),
            "integration": self.integration.told,
            "chain": [
                {key: value for key, value in asdict(block).items() if value is not None}
                for block in self.chain
            ],
            "networks": {
                name: {
                    "features": list(data.features),
                    "targets": list(data.targets),
                    "layers": [asdict(layer) for layer in data.layers],
                }
                for name, data in self.networks.items()
            },
            "provenance": dict(self.provenance),
        }


def write(model: Model, path: Path) -> None:
    """Write a model, whole or not at all."""
    from safetensors.numpy import save

    tensors = {
        f"{name}.{key}": np.ascontiguousarray(tensor)
        for name, data in model.networks.items()
        for key, tensor in data.tensors.items()
    }
    text = json.dumps(model.metadata, allow_nan=False)
    with replaced(path) as temporary:
        temporary.write_bytes(save(tensors, metadata={ENTRY: text}))


def read(path: str | Path) -> Model:
    """Read a model and check all of it; ValueError names the file and what is wrong."""
    from safetensors import SafetensorError, safe_open

    place = Path(path)
    if not place.is_file():
        raise ValueError(f"{place}: there is no such file")
    try:
        with safe_open(place, framework="numpy") as file:
            told = (file.metadata() or {}).get(ENTRY)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        reason = "it is cut short" if _cut_short(place) else "it is no safetensors file"
        raise ValueError(f"{place}: {reason} ({error})") from None
    if told is None:
        raise ValueError(f"{place}: a safetensors file, but not of m7emu (no entry '{ENTRY}')")
    try:
        return _model(json.loads(told), tensors)
    except KeyError as error:
        raise ValueError(f"{place}: its metadata has no {error}") from None
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{place}: {error}") from None


def digest(path: Path) -> str:
    """Hash of a file, for provenance."""
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def _cut_short(path: Path) -> bool:
    """Tell a file that begins as safetensors and ends too early."""
    content = path.read_bytes()
    size = int.from_bytes(content[:8], "little")
    if len(content) < 8 or not 2 <= size <= 100_000_000 or content[8:9] not in (b"{", b""):
        return False
    if len(content) < 8 + size:
        return True
    ends = [
        entry["data_offsets"][1]
        for name, entry in json.loads(content[8 : 8 + size]).items()
        if name != "__metadata__"
    ]
    return len(content) < 8 + size + max(ends, default=0)


def _model(told: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Model:
    version = told["format_version"]
    if version != FORMAT_VERSION:
        raise ValueError(f"format version {version}; this reads {FORMAT_VERSION}")
    networks = {}
    for name, data in told["networks"].items():
        own = {
            key.removeprefix(f"{name}."): t
            for key, t in tensors.items()
            if key.startswith(f"{name}.")
        }
        try:
            networks[name] = NetworkData(
                features=tuple(data["features"]),
                targets=tuple(data["targets"]),
                layers=tuple(Layer(**layer) for layer in data["layers"]),
                tensors=own,
            )
        except (ValueError, TypeError) as error:
            raise ValueError(f"network '{name}': {error}") from None
    for key in tensors:
        if key.partition(".")[0] not in networks:
            raise ValueError(f"tensor {key} belongs to no network")
    model = Model(
        title=told["title"],
        created=told["created"],
        teacher=told["teacher"],
        settings=told["settings"],
        chain=tuple(Block(**block) for block in told["chain"]),
        integration=Integration.read(told["integration"]),
        networks=networks,
        provenance=told["provenance"],
    )
    variables = model.metadata["variables"]
    inputs = variables[: len(ENVIRONMENT + PROGNOSTICS)]  # all that the native engine needs
    if told["variables"] not in (variables, inputs):
        raise ValueError("its variables or units are not those of this version")
    return model
