"""Training: networks learn the exact forms at the records' states, then the whole step, end to end.

A run that is killed goes on from its last checkpoint to the same result, bit for bit: a batch
depends on seed and step alone, and a checkpoint holds all else. `torchrun` spreads it over
processes.
"""

import csv
import io
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import xarray as xr
from torch import distributed

from pyemu import checkpoint, modelfile, reference
from pyemu.blocks.chain import Chain
from pyemu.blocks.learned import FORMS, WETTING
from pyemu.blocks.settings import Settings
from pyemu.calibrate import Calibration
from pyemu.exchange import to_model
from pyemu.feed import held_out, whole
from pyemu.files import check_target, replaced
from pyemu.lessons import steps
from pyemu.loop import Loop, Row, scores
from pyemu.trainconfig import TrainConfig

Tell = Callable[[int, int, Row], None]
"""Called with steps done, steps in all, and the last row of the curves."""

_SCORE = "validation mean tendency R2"
_MANY = 16
"""Sub-steps that are taken for the converged M7; about as near to it as two stages are."""
_ENOUGH = 0.9999
"""Mean tendency R2 of exact forms that no network is likely to better."""


@dataclass(frozen=True, kw_only=True)
class Files:
    """Where a run writes: the model, its curves, its checkpoint, and events for TensorBoard."""

    model: Path
    tensorboard: Path | None = None

    @property
    def curves(self) -> Path:
        """CSV of losses and scores."""
        return self.model.with_suffix(".csv")

    @property
    def checkpoint(self) -> Path:
        """Where a killed run goes on; gone when it is done."""
        return self.model.with_suffix(".checkpoint")


def run(
    config: TrainConfig,
    records: xr.Dataset,
    files: Files,
    *,
    validation: xr.Dataset | None = None,
    calibration: Calibration | None = None,
    origin: Sequence[Path] = (),
    command: str = "",
    tell: Tell | None = None,
) -> modelfile.Model:
    """Train, going on from a checkpoint of the same run, and write the model file.

    Blocks stay exact unless `config` gives them a network or, with `calibration`, their exact form
    does not reproduce the records. A network of the latter kind is kept only if it beats the exact
    form on validation.

    Parameters
    ----------
    records, validation
        As `pyemu.records.open_records` gives them; without `validation` some trajectories of
        `records` are held out. What is kept is chosen on validation.
    calibration
        What `pyemu.calibrate.calibrate` found in `records`; None trusts their attributes.
    origin, command
        Files and command line, for the model's provenance.

    Raises
    ------
    ValueError
        A path that cannot be written to, a checkpoint of another run, records of a teacher or
        with settings that the chain of blocks cannot have.
    """
    for path in (files.model, files.curves, files.checkpoint):
        check_target(path)
    asked = config
    if calibration is None:
        chosen, parts = settings(records), str(records.attrs.get("substeps", "1"))
    else:
        chosen, parts = calibration.settings, str(calibration.substeps)
        config = config.learning((), foreign=to_learn(calibration))
        records = calibration.corrected(records)
        validation = None if validation is None else calibration.corrected(validation)
    share, held = held_out(records) if validation is None else (whole(records), whole(validation))
    hashes = [modelfile.digest(path) for path in origin]
    told: dict[str, Any] = {
        "records": hashes,
        "command": command,
        "version": version("m7emu"),
        "torch": torch.__version__,
        "config": asdict(config),
    }
    if calibration is not None:
        told["calibration"] = calibration.facts()
    judged = steps(held.spread(config.validation))
    integration = _integration(config, parts)
    exact = Chain(chosen, integration=integration)
    exact_scores = None if asked.learned else scores(exact, judged)
    best, found, rows = exact, exact_scores, list[Row]()
    with processes() as (rank, world), tensorboard(files, rank) as events:
        if config.learned:
            loop = Loop(config, chosen, share, held, rank, world, integration)
            identity = {"config": asdict(config), "records": hashes, "processes": world}
            identity["settings"] = chosen.to_json()
            loop.start(files.checkpoint, identity)
            while loop.done < config.total:
                row = loop.step()
                if row is not None and rank == 0:
                    if tell is not None:
                        tell(loop.done, config.total, row)
                    events(row)
                if rank == 0 and loop.done % config.checkpoint_every == 0:
                    checkpoint.write(files.checkpoint, *loop.state(identity))
                    _write_curves(files.curves, loop.rows)
            rows, learned = loop.rows, loop.scores()
            if exact_scores is None or learned[_SCORE] > exact_scores[_SCORE]:
                best, found = loop.best(), learned
        model = to_model(
            best,
            title=files.model.stem,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            teacher="converged" if any(integration) else "m7",
            provenance={**told, "scores": found},
        )
        if rank == 0:
            _write_curves(files.curves, rows)
            modelfile.write(model, files.model)
            files.checkpoint.unlink(missing_ok=True)
    return model


def to_learn(calibration: Calibration) -> tuple[str, ...]:
    """Blocks that do not reproduce the records, matter for the score, and have a learned form."""
    if calibration.mean_r2 > _ENOUGH:
        return ()
    known = set(FORMS) - (set(WETTING) if calibration.settings.by_kappa else set())
    return tuple(name for name in calibration.missed if name in known)


def _integration(config: TrainConfig, parts: str) -> tuple[int, int]:
    """Find how the blocks make a step like that of an M7 in so many sub-steps."""
    if parts == "1":
        return 0, 0
    if parts != "converged" and int(parts) < _MANY:
        raise ValueError(
            f"records of {parts} sub-steps; a model has the single step of M7, or its limit of "
            f"many ({_MANY} and more)"
        )
    return config.stages, config.strides


def settings(records: xr.Dataset) -> Settings:
    """Find the switches of M7 that made the records, in their attributes, or its defaults."""
    names = ("profile", "water", "nucleation", "organic_nucleation")
    told = {name: str(records.attrs[name]) for name in names if name in records.attrs}
    return Settings.from_reference(reference.Config(**told))  # type: ignore[arg-type]


@contextmanager
def processes() -> Iterator[tuple[int, int]]:
    """Join the processes that `torchrun` started: rank and number; (0, 1) without it."""
    if distributed.is_initialized():  # whoever did leaves them, too
        yield distributed.get_rank(), distributed.get_world_size()
        return
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield 0, 1
        return
    distributed.init_process_group("gloo")
    try:
        yield distributed.get_rank(), distributed.get_world_size()
    finally:
        distributed.destroy_process_group()


@contextmanager
def tensorboard(files: Files, rank: int) -> Iterator[Callable[[Row], None]]:
    """Give what writes a row as events, which does nothing where they are not wanted."""
    if files.tensorboard is None or rank:
        yield lambda _: None
        return
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise ValueError("TensorBoard is not installed: pip install tensorboard") from None
    writer = SummaryWriter(str(files.tensorboard))

    def write(row: Row) -> None:
        for name, value in row.items():
            if isinstance(value, float):
                writer.add_scalar(name, value, row["step"])

    try:
        yield write
    finally:
        writer.close()


def _write_curves(path: Path, rows: Sequence[Row]) -> None:
    text = io.StringIO()
    heading = ("step", "stage", "rate", "loss", "validation", "mean_r2")
    writer = csv.DictWriter(text, heading, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    with replaced(path) as temporary:
        temporary.write_text(text.getvalue())
