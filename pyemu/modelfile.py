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
"network" for `water`, `condensation`, `nucleation`, `coagulation` and `ageing`. The water of sea
salt may have a network of its own: `water` then names it as `salt`, beside `network` or alone.
`condensation`, `coagulation` and `ageing` may name one network together, which gives the targets of
all that name it (a trunk). A network reads features z and gives targets y::

    z = (feature - feature_mean)/feature_scale      <network>.feature_mean, .feature_scale (f,)
    h = z; h = layer(h) for each layer
    y = target_mean + target_scale*(h + bypass z)   <network>.bypass (t, f), .target_mean, ...

A network whose entry says `"bypass": false` has none. Layers by their `operation`::

    dense      activation(weight h + bias)          <network>.<i>.weight (out, in), .bias (out,)
    residual   h + activation(weight h + bias)      in == out
    gated      activation(weight h + bias)*(gate_weight h + gate_bias)
    low_rank   activation(weight (factor h) + bias) .factor (rank, in), .weight (out, rank); `rank`

Activations: "none", "relu", "silu", "tanh". Features and targets may come in any order; of its
features a network may leave some out. A feature of a mode without particles (radius 0) takes
its feature_mean, so that z = 0. `<network>.feature_low` and `.feature_high` (f,) bound what the
network was trained on: beyond them a cell is flagged 1, beyond by more than half their distance 2.

- `condensation`, `coagulation`, `ageing`: features `ln_wet_radius_<mode>` [ln cm] and
  `density_<mode>` [g cm-3] of the seven modes, `temperature` [K], `ln_pressure` [ln Pa]. Targets
  of `condensation`: `ln_sink_<mode>` [ln(cm3 s-1)], the sink per particle of the seven modes, of
  `coagulation`: `ln_kernel_<a>_<b>` [ln(cm3 s-1)] of the sixteen pairs in the order of
  `m7_coagulation`, of `ageing`: `ln_coating_<mode>`, the molecules that coat the mean particle of
  KI, AI, CI. Where a mode is empty (section 11's thresholds; radius 0) kernel, sink and coating
  are 0 exactly.
- `water`: features `temperature`, `relative_humidity` (both clipped as in section 8.1),
  `ln_pressure`; targets `ln_weight_percent_<n>` and `solution_density_<n>` [g cm-3] of particles of
  n = 1e1, 1e4, 1e7, 1e10, 1e13 molecules: between these weight-% and density are quartics in ln n.
- `salt`: features `water_activity` a (clipped to 0.45 ... 1) and `ln_subsaturation`, ln(1.01 - a);
  targets `ln_water_per_nacl`, `_na2so4`, `_h2so4` [ln(kg mol-1)]. Below 0.45 salt is dry exactly.
  These two are of ZSR water; with `"water": "kappa"` (section 8.4) the block is exact.
- `nucleation`: features `temperature`, `ln_saturation`, `ln_gas` [ln cm-3] (clipped as in section
  10.1), known where there is gas; targets `ln_nucleation_rate` [ln(cm-3 s-1)],
  `ln_cluster_molecules`, `ln_cluster_h2so4`: molecules in a critical cluster, all and H2SO4.
  M7's limits stay: nothing forms below a rate of 1e-7 or of a cluster below 4.

A model may have a self-error head: `"self_error": {"network": "self_error", "level": 0.9, "scale":
{"h2so4": ..., ..., "water_cs": ...}}`. No block uses its network, which gives `ln_error_bound`, ln
u: of cells like this one a share of `level` has an error below u (exp of the target within -30 ...
10) [1]. The error is the root mean square, over the 26 prognostics and 4 waters, of the errors of
their tendencies over `scale`, in units of the variables: standard deviations of the tendencies
where the head was made; a variable whose scale is 0 does not count. Features: `ln_number_<mode>`
[ln cm-3] and `ln_wet_radius_<mode>` of the seven modes at the start of the step (in stages: after
what has outgrown its mode has merged), known where the mode has both; `temperature`, `ln_pressure`,
`relative_humidity`, `cloud_fraction`; `ln_h2so4_available` [ln cm-3], gas + production*timestep,
known where that is above 0; `ln_timestep` [ln s]. Its range flags no cell. Without a head u is 0.
Versions that know no heads refuse such a file, as a network that no block uses.
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
    HEAD_FEATURES,
    HEAD_TARGETS,
    KNOWN,
    LEARNED,
    LEVEL,
    OF_PARTICLES,
    OPERATIONS,
    TARGETS,
    check_settings,
)
from pyemu.variables import DIAGNOSTICS, ENVIRONMENT, PROGNOSTICS, names

Tensor = NDArray[np.float32]

FORMAT_VERSION = 2
MOST_STRIDES = 1000
"""Of a stage, and stages of a step."""
ENTRY = "m7emu"
_SCALED = (*names(PROGNOSTICS), *(n for n in names(DIAGNOSTICS) if n.startswith("water_")))


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One layer of a network."""

    operation: str = "dense"
    activation: str = "none"
    inputs: int
    outputs: int
    rank: int = 0

    def __post_init__(self) -> None:
        if self.operation not in OPERATIONS:
            allowed = ", ".join(OPERATIONS)
            raise ValueError(f"operation '{self.operation}' is not known; allowed is {allowed}")
        if (self.operation == "low_rank") != (self.rank > 0):
            raise ValueError(f"rank {self.rank} of a layer of operation '{self.operation}'")
        if self.operation == "residual" and self.inputs != self.outputs:
            raise ValueError(f"a residual layer of {self.inputs} inputs and {self.outputs} outputs")
        if self.activation not in ACTIVATIONS:
            allowed = ", ".join(ACTIVATIONS)
            raise ValueError(f"activation '{self.activation}' is not known; allowed is {allowed}")
        if self.inputs < 1 or self.outputs < 1:
            raise ValueError(f"a layer of {self.inputs} inputs and {self.outputs} outputs")

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each of its tensors."""
        told: dict[str, tuple[int, ...]] = {
            "weight": (self.outputs, self.rank or self.inputs),
            "bias": (self.outputs,),
        }
        if self.operation == "gated":
            told |= {"gate_weight": (self.outputs, self.inputs), "gate_bias": (self.outputs,)}
        return told | {"factor": (self.rank, self.inputs)} if self.rank else told


@dataclass(frozen=True, kw_only=True)
class Block:
    """One block of the chain: exact, or a network by its name; `water` has a second, of salt."""

    block: str
    form: str = "exact"
    network: str | None = None
    salt: str | None = None

    def __post_init__(self) -> None:
        if self.form not in ("exact", "network"):
            raise ValueError(f"{self.block} has form '{self.form}'; allowed is exact, network")
        if (self.form == "network") != bool(self.forms):
            raise ValueError(f"{self.block}: form '{self.form}' with network {self.network!r}")
        if self.network is not None and self.block not in LEARNED:
            raise ValueError(f"{self.block} cannot be a network; {', '.join(LEARNED)} can")
        if self.salt is not None and self.block != "water":
            raise ValueError(f"{self.block} has no network 'salt'; water has")

    @property
    def forms(self) -> dict[str, str]:
        """Learned form, which is the block's or `salt`, -> its network."""
        told = {self.block: self.network, "salt": self.salt}
        return {form: name for form, name in told.items() if name is not None}


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
    bypass: bool = True

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
        told |= {"target_mean": few, "target_scale": few}
        if self.bypass:
            told["bypass"] = few + many
        for place, layer in enumerate(self.layers):
            told |= {f"{place}.{name}": shape for name, shape in layer.shapes.items()}
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


@dataclass(frozen=True, kw_only=True)
class SelfError:
    """The self-error head: its network, and what errors are measured in, by variable."""

    network: str
    scale: Mapping[str, float]
    level: float = LEVEL

    def __post_init__(self) -> None:
        if self.level != LEVEL:
            raise ValueError(f"self_error: level = {self.level}; allowed is {LEVEL}")
        if tuple(self.scale) != _SCALED:
            raise ValueError(f"self_error: scale of {', '.join(self.scale)}; needed are {_SCALED}")
        for name, value in self.scale.items():
            if not 0.0 <= value < math.inf:
                raise ValueError(f"self_error: scale of {name} = {value}; allowed is [0, inf)")


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
    self_error: SelfError | None = None

    def __post_init__(self) -> None:
        if self.teacher not in ("m7", "converged"):
            raise ValueError(f"teacher '{self.teacher}' is not known; allowed is m7, converged")
        check_settings(self.settings)
        if tuple(block.block for block in self.chain) != CHAIN:
            raise ValueError(f"the chain is not {', '.join(CHAIN)}")
        if self.settings["water"] == "kappa" and self.chain[CHAIN.index("water")].forms:
            raise ValueError("networks of water and salt are of ZSR water, not of kappa water")
        used: dict[str, list[str]] = {}
        for block in self.chain:
            for form, name in block.forms.items():
                used.setdefault(name, []).append(form)
        if self.self_error is not None:
            self._check_head(self.self_error.network, used)
        heads = set() if self.self_error is None else {self.self_error.network}
        for name in sorted(({*used} | heads) ^ {*self.networks}):
            missing = name not in self.networks
            raise ValueError(
                f"network '{name}' is {'not there' if missing else 'not in the chain'}"
            )
        for name, forms in used.items():
            data, told = self.networks[name], ", ".join(forms)
            if len(forms) > 1 and not set(forms) <= set(OF_PARTICLES):
                raise ValueError(f"{told} cannot share network '{name}'")
            if len(set(data.features)) != len(data.features) or not (
                set(data.features) <= set(KNOWN[forms[0]])
            ):
                raise ValueError(f"network '{name}' does not take the features of {told}")
            if sorted(data.targets) != sorted(t for form in forms for t in TARGETS[form]):
                raise ValueError(f"network '{name}' does not give the targets of {told}")

    def _check_head(self, name: str, used: Mapping[str, Any]) -> None:
        """Refuse a head that is missing, is of a block, or reads or gives what it should not."""
        if name not in self.networks or name in used:
            raise ValueError(f"self_error: there is no network '{name}' of its own")
        data = self.networks[name]
        twice = len(set(data.features)) != len(data.features)
        if twice or not set(data.features) <= set(HEAD_FEATURES) or data.targets != HEAD_TARGETS:
            raise ValueError(f"self_error: network '{name}' has other features or targets")

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
                    "layers": [
                        {
                            key: value
                            for key, value in asdict(layer).items()
                            if key != "rank" or value
                        }
                        for layer in data.layers
                    ],
                    **({} if data.bypass else {"bypass": False}),
                }
                for name, data in self.networks.items()
            },
            "provenance": dict(self.provenance),
            **({} if self.self_error is None else {"self_error": asdict(self.self_error)}),
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
                bypass=data.get("bypass", True),
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
        self_error=SelfError(**told["self_error"]) if "self_error" in told else None,
    )
    variables = model.metadata["variables"]
    inputs = variables[: len(ENVIRONMENT + PROGNOSTICS)]  # all that the native engine needs
    if told["variables"] not in (variables, inputs):
        raise ValueError("its variables or units are not those of this version")
    return model
