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

import torch
import xarray as xr
from torch import distributed

from pyemu import checkpoint, modelfile, reference
from pyemu.blocks.settings import Settings
from pyemu.exchange import to_model
from pyemu.feed import held_out, whole
from pyemu.files import check_target, replaced
from pyemu.loop import Loop, Row
from pyemu.trainconfig import TrainConfig

Tell = Callable[[int, int, Row], None]
"""Called with steps done, steps in all, and the last row of the curves."""


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
    origin: Sequence[Path] = (),
    command: str = "",
    tell: Tell | None = None,
) -> modelfile.Model:
    """Train, going on from a checkpoint of the same run, and write the model file.

    Parameters
    ----------
    records, validation
        As `pyemu.records.open_records` gives them; without `validation` some trajectories of
        `records` are held out. What is kept is chosen on validation.
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
    chosen = settings(records)
    share, held = held_out(records) if validation is None else (whole(records), whole(validation))
    hashes = [modelfile.digest(path) for path in origin]
    with processes() as (rank, world), tensorboard(files, rank) as events:
        loop = Loop(config, chosen, share, held, rank, world)
        identity = {"config": asdict(config), "records": hashes, "processes": world}
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
        model = to_model(
            loop.best(),
            title=files.model.stem,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            teacher="m7",
            provenance={
                "records": hashes,
                "command": command,
                "version": version("m7emu"),
                "torch": torch.__version__,
                "config": asdict(config),
                "scores": loop.scores(),
            },
        )
        if rank == 0:
            _write_curves(files.curves, loop.rows)
            modelfile.write(model, files.model)
            files.checkpoint.unlink(missing_ok=True)
    return model


def settings(records: xr.Dataset) -> Settings:
    """Find the switches of M7 that made the records, in their attributes, or its defaults."""
    if str(records.attrs.get("substeps", "1")) != "1":
        raise ValueError("records of several sub-steps; exact forms are those of a single step")
    names = ("profile", "water", "nucleation", "organic_nucleation")
    told = {name: str(records.attrs[name]) for name in names if name in records.attrs}
    return Settings.from_reference(reference.Config(**told))  # type: ignore[arg-type]


@contextmanager
def processes() -> Iterator[tuple[int, int]]:
    """Join the processes that `torchrun` started: rank and number; (0, 1) without it."""
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
