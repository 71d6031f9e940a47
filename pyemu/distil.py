"""Making a model's self-error head: from its errors on records, calibrated on others.

The head learns the 90 % quantile of the logarithm of each cell's error (`pyemu.uncertainty`), as
the native engine makes it. Then all of it is moved by one number, so that 90 % of the validation
cells have errors below what it says (split conformal prediction: Romano et al. 2019, NeurIPS 32).
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from pyemu import modelfile
from pyemu.blocks.network import Network
from pyemu.blocks.selferror import HEAD
from pyemu.exchange import HEAD as NAME
from pyemu.exchange import to_chain, to_model
from pyemu.feed import Share, whole
from pyemu.lessons import SCORED, steps
from pyemu.modelspec import LEVEL
from pyemu.steps import native, on_cells
from pyemu.uncertainty import LEAST, Array, Calibration, calibration, scaled_error

_CHUNK = 16384


@dataclass(frozen=True, kw_only=True)
class HeadConfig:
    """Making of a head.

    Parameters
    ----------
    hidden
        Widths of its hidden layers.
    steps, batch, rate
        Training batches, cells of each, and learning rate at the start, which falls to 0.
    cells, validation
        To learn from, and to calibrate on, at most.
    seed
        Of weights and batches.
    """

    hidden: tuple[int, ...] = (24, 24)
    steps: int = 6000
    batch: int = 2048
    rate: float = 5e-3
    cells: int = 400_000
    validation: int = 100_000
    seed: int = 1


class Errors(NamedTuple):
    """Of cells: features of the head, which are known, true and predicted tendencies (n, 30)."""

    features: Tensor
    there: Tensor
    truth: Array
    change: Array


def distil(
    path: Path,
    records: xr.Dataset,
    validation: xr.Dataset,
    output: Path,
    config: HeadConfig | None = None,
    *,
    origin: Sequence[Path] = (),
    command: str = "",
) -> Calibration:
    """Write the model of `path` with a new head to `output`; how good it is on validation.

    Parameters
    ----------
    records, validation
        As `pyemu.records.open_records` gives them, of the model's teacher, with other trajectories
        than those that are to be judged.
    origin, command
        Files and command line, for provenance.

    Raises
    ------
    ValueError
        Records without water after the step, or whose tendencies do not vary.
    """
    config = config or HeadConfig()
    model = modelfile.read(path)
    bare = to_model(  # a former head is replaced
        to_chain(replace(model, self_error=None, networks=_without_head(model))), **_told(model)
    )
    taught, held = (
        errors(bare, path, whole(share), count)
        for share, count in ((records, config.cells), (validation, config.validation))
    )
    scale = taught.truth.std(axis=0)
    if not (np.isfinite(scale).all() and (scale > 0.0).any()):
        raise ValueError("the records' tendencies do not vary, or have no water after the step")
    head = fit(taught, scale, config)
    expected = torch.exp(head(held.features, held.there)[:, 0]).detach().numpy()
    late = scaled_error(held.truth, held.change, scale) / expected
    rank = min(1.0, math.ceil((len(late) + 1) * LEVEL) / len(late))
    shift = math.log(max(float(np.quantile(late, rank, method="higher")), LEAST))
    with torch.no_grad():
        head.target_mean += shift
    found = calibration(held.truth, held.change, expected * math.exp(shift), scale)
    told: dict[str, Any] = {"command": command}
    told["records"] = [modelfile.digest(file) for file in origin]
    told |= {"config": asdict(config), "validation": asdict(found)}
    chain = to_chain(bare)
    chain.head = head
    given = _told(model)
    given["provenance"] = dict(model.provenance) | {"self_error": told}
    made = to_model(chain, **given, scale=dict(zip(SCORED, map(float, scale), strict=True)))
    modelfile.write(made, output)
    return found


def errors(model: modelfile.Model, path: Path, share: Share, count: int) -> Errors:
    """Find the model's errors at records, and what its head would read there."""
    cells = share.spread(count)
    given = steps(cells)
    chain = to_chain(model)
    chain.head = Network.hidden(*HEAD, ())
    seen: list[tuple[Tensor, Tensor]] = []
    chain.head.register_forward_pre_hook(lambda _, read: seen.append((read[0], read[1])))
    pieces = (t.split(_CHUNK) for t in (given.environment, given.before, given.timestep))
    with torch.no_grad():
        for piece in zip(*pieces, strict=True):
            chain(*piece)
    features, there = (torch.cat(parts) for parts in zip(*seen, strict=True))
    before = torch.cat([given.before, given.water], dim=1).numpy()
    change = on_cells(native(path))(cells).after - before
    return Errors(features, there, given.truth.numpy(), change)


def fit(taught: Errors, scale: Array, config: HeadConfig) -> Network:
    """Train a head."""
    wrong = np.maximum(scaled_error(taught.truth, taught.change, scale), LEAST)
    targets = torch.from_numpy(np.log(wrong))[:, None]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        head = Network.hidden(*HEAD, config.hidden)
    head.calibrate(taught.features, targets, taught.there)
    features, there, late = taught.features.float(), taught.there, targets.float()
    optimizer = torch.optim.AdamW(head.parameters(), lr=config.rate, weight_decay=1e-4)
    draws = torch.Generator().manual_seed(config.seed)
    for step in range(config.steps):
        rate = 0.5 * config.rate * (1.0 + math.cos(math.pi * step / config.steps))
        optimizer.param_groups[0]["lr"] = rate
        some = torch.randint(len(late), (config.batch,), generator=draws)
        above = late[some] - head(features[some], there[some])
        loss = torch.maximum(LEVEL * above, (LEVEL - 1.0) * above).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return head.requires_grad_(requires_grad=False)


def _without_head(model: modelfile.Model) -> dict[str, modelfile.NetworkData]:
    return {name: data for name, data in model.networks.items() if name != NAME}


def _told(model: modelfile.Model) -> dict[str, Any]:
    names = ("title", "created", "teacher", "provenance")
    return {name: getattr(model, name) for name in names}
