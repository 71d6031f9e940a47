"""A model file told to people."""

from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table

from pyemu.modelfile import Model


def facts(model: Model) -> dict[str, Any]:
    """Metadata of a model and the sizes of its networks, as JSON takes them."""
    sizes = {name: data.parameters for name, data in model.networks.items()}
    return model.metadata | {"parameters": sizes}


def tables(model: Model) -> RenderableType:
    """Lay out what a model is, its chain, its networks, and where it comes from."""
    head = Table(title=model.title, show_header=False)
    told: Mapping[str, Any] = model.provenance
    head.add_row("created", model.created)
    head.add_row("teacher", model.teacher)
    for name in ("profile", "water", "nucleation", "organic_nucleation"):
        head.add_row(name.replace("_", " "), str(model.settings[name]))
    for name, value in told.items():
        if name != "scores":
            head.add_row(
                name, "\n".join(map(str, value)) if isinstance(value, list) else str(value)
            )
    for name, score in told.get("scores", {}).items():
        head.add_row(name, f"{score:.6g}" if isinstance(score, float) else str(score))
    chain = Table(title="Chain of blocks")
    for heading in ("block", "form", "layers", "parameters"):
        chain.add_column(heading, justify="right" if heading == "parameters" else "left")
    for block in model.chain:
        if not block.forms:
            chain.add_row(block.block, block.form, "", "")
        for form, name in block.forms.items():
            data = model.networks[name]
            kinds = [("" if x.operation == "dense" else f" {x.operation}") for x in data.layers]
            widths = [
                f"{x.outputs}{k} {x.activation}" for x, k in zip(data.layers, kinds, strict=True)
            ]
            layers = " - ".join([str(len(data.features)), *widths])
            chain.add_row(form, f"network {name}", layers, str(data.parameters))
    if model.self_error is not None:
        size = str(model.networks[model.self_error.network].parameters)
        chain.add_row("(self-error head)", f"network {model.self_error.network}", "", size)
    return Group(head, chain)
