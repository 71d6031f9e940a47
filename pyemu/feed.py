"""Batches of records for training: drawn from seed and step alone, so that a killed run goes on.

Records are read a buffer at a time, in an order that changes with every pass; a batch is drawn
from the buffer in memory.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pyemu.records import Cells, load

T = TypeVar("T")
Places = NDArray[np.int64]

_HELD = 20
"""One trajectory of so many is kept for validation where no records for it are given."""


@dataclass(frozen=True, kw_only=True)
class Share:
    """Records and those of their cells that count, in rising order."""

    records: xr.Dataset
    cells: Places

    def __len__(self) -> int:
        return len(self.cells)

    def spread(self, count: int) -> Cells:
        """Load at most `count` cells, evenly spread."""
        step = max(1, -(-len(self) // count))
        return load(self.records, self.cells[::step])


def held_out(records: xr.Dataset) -> tuple[Share, Share]:
    """Split records by trajectory, never by cell: one of twenty trajectories is the second share.

    Records without `trajectory` are split in two blocks, the last twentieth held out.
    """
    count = records.sizes["cell"]
    if "trajectory" in records:
        number = records["trajectory"].to_numpy()
        _, place = np.unique(number, return_inverse=True)
        held = place % _HELD == _HELD - 1
    else:
        held = np.arange(count) >= count - -(-count // _HELD)
    shares = tuple(Share(records=records, cells=np.flatnonzero(m)) for m in (~held, held))
    if not all(map(len, shares)):
        raise ValueError("too few trajectories to hold some out; give records for validation")
    return shares[0], shares[1]


def whole(records: xr.Dataset) -> Share:
    """All cells of records."""
    return Share(records=records, cells=np.arange(records.sizes["cell"]))


class Feed(Generic[T]):
    """Batches of what `prepare` makes of a buffer of cells.

    Parameters
    ----------
    share
        What to draw from.
    prepare
        Called once for each buffer read.
    take
        Picks rows of what `prepare` made.
    batch, buffer
        Cells of a batch, over all processes, and cells in memory.
    seed
        With the step, all that a batch depends on.
    rank, world
        This process gets rows rank, rank + world, ... of each batch.
    """

    def __init__(
        self,
        share: Share,
        prepare: Callable[[Cells], T],
        take: Callable[[T, Places], T],
        *,
        batch: int,
        buffer: int,
        seed: int,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self._share, self._prepare, self._take = share, prepare, take
        self._seed, self._rank, self._world = seed, rank, world
        self._batch = min(batch, len(share))
        pieces = max(1, -(-len(share) // buffer))
        self._pieces = np.array_split(share.cells, pieces)
        self._visit = max(1, min(buffer, len(share)) // self._batch)
        self._held: tuple[int, T] | None = None

    def __call__(self, step: int) -> T:
        """Give the batch of a step."""
        visit, place = divmod(step, self._visit)
        round_, turn = divmod(visit, len(self._pieces))
        order = np.random.default_rng([self._seed, 0, round_]).permutation(len(self._pieces))
        piece = int(order[turn])
        if self._held is None or self._held[0] != piece:
            self._held = None  # two buffers would take twice the memory
            self._held = piece, self._prepare(load(self._share.records, self._pieces[piece]))
        count = len(self._pieces[piece])
        rows = np.random.default_rng([self._seed, 1, visit]).permutation(count)
        start = place * self._batch
        chosen = np.take(rows, np.arange(start, start + self._batch), mode="wrap")
        return self._take(self._held[1], chosen[self._rank :: self._world])
