"""Between the chain of blocks in torch and what the model file holds."""

from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import numpy as np
import torch

from pyemu import modelfile
from pyemu.blocks.chain import Chain
from pyemu.blocks.network import Network
from pyemu.blocks.settings import Settings

HEAD = "self_error"
"""Name of the self-error head's network."""


def to_model(
    chain: Chain,
    *,
    title: str,
    created: str,
    teacher: str,
    provenance: Mapping[str, Any],
    scale: Mapping[str, float] | None = None,
) -> modelfile.Model:
    """Take all that a chain is; `scale` is what its head's errors are measured in."""
    networks = {}
    given = dict(chain.networks.items()) | ({} if chain.head is None else {HEAD: chain.head})
    for name, network in given.items():
        assert isinstance(network, Network)
        told = network.describe()
        tensors = {
            key.removeprefix(f"{name}."): value.numpy()
            for key, value in network.to_tensors(name).items()
        }
        for key in ("feature_low", "feature_high"):  # of a mode that was never there: nothing
            tensors[key] = np.where(
                np.isfinite(tensors[key]), tensors[key], tensors["feature_mean"]
            )
        networks[name] = modelfile.NetworkData(
            features=tuple(told["features"]),
            targets=tuple(told["targets"]),
            layers=tuple(modelfile.Layer(**layer) for layer in told["layers"]),
            tensors=tensors,
            bypass=told.get("bypass", True),
        )
    return modelfile.Model(
        title=title,
        created=created,
        teacher=teacher,
        settings=chain.settings.to_json(),
        chain=tuple(modelfile.Block(**link) for link in chain.describe()),
        integration=modelfile.Integration(stages=chain.stages, strides=chain.strides),
        networks=networks,
        provenance=provenance,
        self_error=None if scale is None else modelfile.SelfError(network=HEAD, scale=scale),
    )


def exact_model(
    config: Any, *, title: str, command: str, integration: tuple[int, int] = (0, 0)
) -> modelfile.Model:
    """Make the model that learns nothing: M7 of a `pyemu.reference.Config`, in the engine.

    With an `integration` of stages and strides in each it is the converged M7.

    Raises
    ------
    ValueError
        A configuration that the chain of blocks does not have (Kazil-Lovejoy).
    """
    return to_model(
        Chain(Settings.from_reference(config), integration=integration),
        title=title,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        teacher="converged" if any(integration) else "m7",
        provenance={"records": [], "command": command, "version": version("m7emu")},
    )


def to_chain(model: modelfile.Model) -> Chain:
    """Build the chain of a model."""
    told = model.metadata
    networks = {
        name: Network.from_tensors(
            name,
            told["networks"][name],
            {f"{name}.{key}": torch.from_numpy(t.copy()) for key, t in data.tensors.items()},
        )
        for name, data in model.networks.items()
    }
    settings = Settings.from_json(model.settings)
    integration = model.integration.stages, model.integration.strides
    head = None if model.self_error is None else networks.pop(model.self_error.network)
    return Chain.from_description(settings, told["chain"], networks, integration, head)
