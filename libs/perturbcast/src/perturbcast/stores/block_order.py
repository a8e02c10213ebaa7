"""The order in which a minibatch reader visits cells: shuffled by blocks that lie together on disk, then in a window.

One long stream, as ``nn/stream.py`` has it for rows in memory: all rows in the order of epoch 0, then all in that of
epoch 1, and so on. An epoch deals the blocks (runs of neighbouring rows) in random order; a window is a piece of the
stream that is held in memory at once and shuffled. Everything is a function of seed and window alone, so that any
position can be reached again, by any process, and every row comes once per epoch. Cells of one condition often lie
together in a file: a window of many blocks mixes them.

A window is dealt to lanes of whole blocks and each batch takes an equal share of every lane, in turn. A process of
several that takes every ``ranks``-th row of each batch therefore reads its share of the blocks, not all of them, and
all processes together see what one would.
"""

from __future__ import annotations

import functools
import math

import numpy as np

__all__ = ["BLOCK", "WINDOW", "BlockOrder"]

BLOCK = 128  # rows: a compressed chunk or two of a file with 300 measured genes a cell
WINDOW = 8192  # rows: 64 blocks
LANES = 8
_BLOCKS, _WITHIN = 1, 2  # what a draw is for; numpy takes [a, b] and [a, b, 0] for one seed


class BlockOrder:
    """Row numbers (0 to ``rows`` - 1) of each window of the stream.

    Attributes:
        rows: rows of an epoch.
        batch: rows of a batch, over all processes.
        block: neighbouring rows that are read together.
        window: rows that are shuffled together; a multiple of ``batch``.
        seed: decides the order.
    """

    def __init__(self, *, rows: int, batch: int, seed: int, block: int = BLOCK, window: int = WINDOW) -> None:
        self.rows, self.batch, self.block, self.seed = rows, batch, block, seed
        self.window = max(batch, min(window, rows) // batch * batch)

    @property
    def batches(self) -> int:
        """Batches of a window."""
        return self.window // self.batch

    def epoch(self, window: int) -> int:
        """The epoch in which a window begins."""
        return window * self.window // self.rows

    def of_window(self, window: int) -> np.ndarray:
        """Row numbers [window], batch after batch."""
        start, stop = window * self.window, (window + 1) * self.window
        first, last = start // self.rows, (stop - 1) // self.rows
        generator = np.random.default_rng([self.seed, _WITHIN, window])
        if first == last:  # an epoch that ends within a window is kept apart from the next
            return self._dealt(self._piece(first, start - first * self.rows, stop - first * self.rows), generator)
        return np.concatenate(
            [
                generator.permutation(
                    self._piece(e, max(start - e * self.rows, 0), min(stop - e * self.rows, self.rows))
                )
                for e in range(first, last + 1)
            ]
        )

    def _dealt(self, rows: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        lanes = math.gcd(self.batch, LANES)
        shuffled = generator.permuted(rows.reshape(lanes, -1), axis=1)
        return shuffled.reshape(lanes, self.batches, self.batch // lanes).transpose(1, 2, 0).ravel()

    def _piece(self, epoch: int, start: int, stop: int) -> np.ndarray:
        """Rows at positions ``start`` to ``stop`` of an epoch, block after block."""
        blocks, ends = self._blocks(epoch)
        first, last = np.searchsorted(ends, [start, stop - 1], side="right")
        begins = blocks[first : last + 1] * self.block
        counts = np.minimum(self.block, self.rows - begins)
        offset = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        before = start - (int(ends[first]) - int(counts[0]))
        return (np.repeat(begins, counts) + offset)[before : before + stop - start]

    @functools.lru_cache(maxsize=2)  # noqa: B019  (one order per reader, and both live as long)
    def _blocks(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Blocks in the order of an epoch, and the position where each ends."""
        n = -(-self.rows // self.block)
        blocks = np.random.default_rng([self.seed, _BLOCKS, epoch]).permutation(n)
        return blocks, np.cumsum(np.minimum(self.block, self.rows - blocks * self.block))
