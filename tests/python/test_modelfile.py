"""The model file: what is written is read, and what is wrong is refused with its own message."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from safetensors.numpy import save

from pyemu import modelfile, modelspec
from pyemu.blocks.settings import Settings
from pyemu.modelfile import Block, Layer, Model, NetworkData, read, write
from pyemu.reference import Config

PYEMU = str(Path(sys.executable).with_name("pyemu"))
Metadata = dict[str, Any]
Tensors = dict[str, np.ndarray[Any, np.dtype[Any]]]


def network(block: str, seed: int = 0, width: int = 5) -> NetworkData:
    features, targets = modelspec.FEATURES[block], modelspec.TARGETS[block]
    layers = (
        Layer(activation="silu", inputs=len(features), outputs=width),
        Layer(inputs=width, outputs=len(targets)),
    )
    generator = np.random.default_rng(seed)
    many, few = len(features), len(targets)
    shapes = {"0.weight": (width, many), "0.bias": (width,), "1.weight": (few, width)}
    shapes |= {"1.bias": (few,), "bypass": (few, many)}
    shapes |= {f"feature_{name}": (many,) for name in ("mean", "scale", "low", "high")}
    shapes |= {f"target_{name}": (few,) for name in ("mean", "scale")}
    tensors = {
        name: np.sort(generator.random(shape).astype(np.float32) + 0.1, axis=None).reshape(shape)
        for name, shape in shapes.items()
    }
    tensors["feature_low"] = -tensors["feature_high"]
    return NetworkData(features=features, targets=targets, layers=layers, tensors=tensors)


def model() -> Model:
    learned = {"coagulation": "coagulation", "water": "water"}
    return Model(
        title="a model",
        created="2026-11-21T10:00:00Z",
        teacher="m7",
        settings=Settings.from_reference(Config()).to_json(),
        chain=tuple(
            Block(block=b, form="network", network=b) if b in learned else Block(block=b)
            for b in modelspec.CHAIN
        ),
        networks={name: network(name) for name in learned},
        provenance={"records": ["sha256:0"], "scores": {"mean R2": 0.5, "worst": "num_ns"}},
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    place = tmp_path / "model.safetensors"
    write(model(), place)
    return place


def test_what_is_written_is_read(path: Path) -> None:
    one, other = model(), read(path)
    assert one.metadata == other.metadata
    for name, data in one.networks.items():
        assert data.layers == other.networks[name].layers
        for key, tensor in data.tensors.items():
            assert np.array_equal(tensor, other.networks[name].tensors[key])
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_names_are_those_of_the_blocks() -> None:
    from pyemu.blocks.learned import FORMS, OF_PARTICLES

    settings = Settings.from_reference(Config())
    assert set(modelspec.SETTINGS) - set(modelspec.OPTIONAL) == set(settings.to_json())
    assert Settings.from_json(model().settings) == settings
    for name, form in FORMS.items():
        assert modelspec.FEATURES[name] == form.features
        assert modelspec.TARGETS[name] == form.targets
    assert modelspec.OF_PARTICLES == OF_PARTICLES


def test_info_prints_and_writes_json(path: Path, tmp_path: Path) -> None:
    from pyemu.info import tables

    console = Console(width=120, record=True, file=StringIO())
    console.print(tables(read(path)))
    text = console.export_text()
    for told in ("a model", "ham2", "coagulation", "16 - 5 silu - 16 none", "mean R2", "0.5"):
        assert told in text
    target = tmp_path / "facts.json"
    done = subprocess.run(
        [PYEMU, "info", str(path), "--json", str(target)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "a model" in done.stdout
    assert json.loads(target.read_text())["parameters"]["coagulation"] == 5 * 17 + 6 * 16 + 288


def test_info_refuses_plainly(tmp_path: Path) -> None:
    done = subprocess.run(
        [PYEMU, "info", str(tmp_path / "none")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "there is no such file" in done.stderr
    assert "Traceback" not in done.stderr


def change(path: Path, edit: Callable[[Metadata, Tensors], None]) -> None:
    """Write the file anew with its metadata and tensors edited."""
    content = path.read_bytes()
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    told = json.loads(header.pop("__metadata__")["m7emu"])
    tensors: Tensors = {
        name: np.frombuffer(content[8 + size :][slice(*entry["data_offsets"])], "<f4")
        .reshape(entry["shape"])
        .copy()
        for name, entry in header.items()
    }
    edit(told, tensors)
    path.write_bytes(save(tensors, metadata={"m7emu": json.dumps(told)}))


def told(*keys: Any, value: Any) -> Callable[[Metadata, Tensors], None]:
    def edit(metadata: Metadata, _: Tensors) -> None:
        inner: Any = metadata
        for key in keys[:-1]:
            inner = inner[key]
        inner[keys[-1]] = value

    return edit


def tensor(name: str, make: Callable[[Any], Any]) -> Callable[[Metadata, Tensors], None]:
    def edit(_: Metadata, tensors: Tensors) -> None:
        made = make(tensors.pop(name, None))
        if made is not None:
            tensors[name] = np.ascontiguousarray(made)

    return edit


LAYERS = ("networks", "coagulation", "layers")


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (told("format_version", value=1), "format version 1; this reads 2"),
        (told("integration", "form", value="magic"), "integration 'magic' is not known"),
        (
            told("integration", value={"form": "stages", "stages": 0, "strides": 0}),
            "stages = 0; allowed is 1 to 1000",
        ),
        (told("integration", value={"form": "stages", "stages": 2}), "too few or too many"),
        (told("teacher", value="harder"), "teacher 'harder' is not known"),
        (told("variables", 0, "unit", value="hPa"), "its variables or units are not those"),
        (told("chain", value=[]), "the chain is not properties, water"),
        (told("chain", 0, "form", value="magic"), "properties has form 'magic'; allowed is exact"),
        (
            told("chain", 0, value={"block": "properties", "form": "network", "network": "x"}),
            "properties cannot be a network; water, condensation, nucleation, coagulation",
        ),
        (
            told("chain", 1, value={"block": "water", "form": "exact"}),
            "network 'water' is not in the chain",
        ),
        (told("chain", 1, "network", value="wet"), "network 'water' is not in the chain"),
        (told("chain", 1, "network", value="a"), "network 'a' is not there"),
        (told(*LAYERS, 0, "operation", value="conv"), "operation 'conv' is not known"),
        (told(*LAYERS, 0, "operation", value="low_rank"), "rank 0 of a layer of operation"),
        (told(*LAYERS, 0, "operation", value="gated"), "tensor 0.gate_weight is missing"),
        (
            told(*LAYERS, 0, "operation", value="residual"),
            "a residual layer of 16 inputs and 5 outputs",
        ),
        (
            told("networks", "coagulation", "bypass", value=False),
            "tensor bypass belongs to no layer",
        ),
        (told("chain", 4, "salt", value="water"), "coagulation has no network 'salt'; water has"),
        (told("chain", 1, "network", value="coagulation"), "network 'water' is not in the chain"),
        (
            told("chain", 2, value={"block": "condensation", "form": "network"}),
            "condensation: form 'network' with network None",
        ),
        (told(*LAYERS, 0, "activation", value="gelu"), "activation 'gelu' is not known"),
        (told(*LAYERS, 0, "inputs", value=15), "layer 0 has 15 inputs and is given 16"),
        (told(*LAYERS, 1, "outputs", value=15), "the last layer gives 15 of 16 targets"),
        (told(*LAYERS, value=[]), "it has no layers"),
        (
            told("networks", "water", "features", value=["temperature", "x", "y"]),
            "network 'water' does not take the features of water",
        ),
        (
            told("networks", "water", "targets", value=["a"] * 10),
            "network 'water' does not give the targets of water",
        ),
        (told("settings", "pi", value=-1.0), "settings: pi = -1.0; allowed is [0, inf)"),
        (told("settings", "water", value="dry"), "settings: water = 'dry' is not one of"),
        (told("settings", "coagulation", value=1), "settings: coagulation = 1 is not true or"),
        (told("settings", "density", value=[1.0]), "settings: density needs a list of so4, bc"),
        (told("settings", "profil", value=1), "settings: unknown name 'profil'; did you mean"),
        (
            told("settings", "nucleation", value="kazil_lovejoy2007"),
            "settings: a model file holds no table for kazil_lovejoy2007",
        ),
        (lambda m, _: m["settings"].pop("pi"), "settings: pi is missing"),
        (lambda m, _: m.pop("chain"), "its metadata has no 'chain'"),
        (tensor("water.0.bias", lambda t: t * np.nan), "tensor 0.bias has values that are not"),
        (tensor("water.0.bias", lambda t: t[1:]), "tensor 0.bias has shape (4,), not (5,)"),
        (tensor("water.0.bias", lambda t: t.astype(np.float64)), "has type float64, not float32"),
        (tensor("water.bypass", lambda _: None), "network 'water': tensor bypass is missing"),
        (tensor("water.2.bias", lambda _: np.zeros(3, "f4")), "tensor 2.bias belongs to no layer"),
        (tensor("more.x", lambda _: np.zeros(3, "f4")), "tensor more.x belongs to no network"),
        (tensor("water.feature_scale", lambda t: 0 * t), "feature_scale has values that are not"),
        (tensor("water.feature_low", lambda t: t + 9), "feature_low is above feature_high"),
    ],
)
def test_refusals(path: Path, edit: Callable[[Metadata, Tensors], None], message: str) -> None:
    change(path, edit)
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        read(path)
    assert str(path) in str(caught.value)


def test_foreign_and_broken_files_are_refused(path: Path) -> None:
    content = path.read_bytes()
    for size in (len(content) - 1, len(content) // 2, 100, 9):
        path.write_bytes(content[:size])
        with pytest.raises(ValueError, match="it is cut short"):
            read(path)
    for foreign in (b"", b"text", b"CDF\x01" * 100, bytes(100)):
        path.write_bytes(foreign)
        with pytest.raises(ValueError, match="it is no safetensors file"):
            read(path)
    path.write_bytes(save({"x": np.zeros(3)}))
    with pytest.raises(ValueError, match="but not of m7emu"):
        read(path)
    path.write_bytes(save({"x": np.zeros(3)}, metadata={"m7emu": "{"}))
    with pytest.raises(ValueError, match=re.escape(str(path))):
        read(path)


def test_digest_tells_files_apart(path: Path) -> None:
    one = modelfile.digest(path)
    assert re.fullmatch("sha256:[0-9a-f]{64}", one)
    path.write_bytes(path.read_bytes() + b" ")
    assert modelfile.digest(path) != one
