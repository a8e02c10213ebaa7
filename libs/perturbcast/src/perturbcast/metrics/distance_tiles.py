"""Distances between cells that are mostly zeros: the non-zeros of one group go through dense tiles of another."""

from __future__ import annotations

import dataclasses
import functools
from types import SimpleNamespace
from typing import Self

import numpy as np
import scipy.sparse as sp

from perturbcast.metrics.native import Arguments, load

__all__ = ["BATCH", "GENES", "WIDTH", "Room", "TiledCells"]

# constants of the compiled part, so that its loops over a tile become vector instructions
WIDTH = 64  # cells of a tile
BATCH = 256  # cells that go through a tile together
GENES = 192  # genes of a tile that stay in the nearest cache while a batch goes through: 48 KB
LINE = 64  # bytes of a cache line


@dataclasses.dataclass(frozen=True, kw_only=True)
class Room:
    """What distances to one tile are computed in.

    Attributes:
        tile: [gene, WIDTH] float32.
        product: [BATCH, WIDTH] float32.
    """

    tile: Arguments
    product: Arguments

    @classmethod
    def some(cls, genes: int, number: int) -> list[Self]:
        """Room for several tiles that are looked at one after the other."""
        product = _in_line(BATCH, WIDTH)
        return [cls(tile=_in_line(genes, WIDTH), product=product) for _ in range(number)]


class TiledCells:
    """Cells whose non-zeros go through tiles, and which can be tiles themselves.

    Args:
        x: [cell, gene].
        centre: [gene] float32, taken off every tile, which keeps the terms of a product small.
        coincident: squared distances below this share of both squared lengths are 0.
    """

    def __init__(self, x: sp.csr_matrix, *, centre: np.ndarray, coincident: float) -> None:
        self.n = x.shape[0]
        self._coincident = coincident
        x = x if x.has_sorted_indices else x.sorted_indices()
        # in the one set of types that is compiled
        stored = x.data.astype(np.float32, copy=False), x.indices.astype(np.int32, copy=False).view(np.uint32)
        self._data, self._genes = map(Arguments.of, stored)
        self._start = Arguments.of(x.indptr.astype(np.int64, copy=False))
        self._centre = Arguments.of(centre)
        self._lengths = np.empty(self.n)
        self._square, self._shift = Arguments.of(self._lengths), Arguments.of(np.empty(self.n))
        self._parts = Arguments.of(np.empty((self.n, -(-x.shape[1] // GENES) + 1), dtype=np.int64))
        _kernels().measure(self._data, self._genes, self._start, self._centre, self._square, self._shift, self._parts)

    def spread(self, first: int, room: Room) -> Arguments:
        """Make a tile of ``WIDTH`` cells from ``first`` on, or of those that are left; their squared lengths."""
        last = min(first + WIDTH, self.n)
        _kernels().spread(self._data, self._genes, self._start, first, last, self._centre, room.tile)
        return Arguments.of(self._lengths[first:last])

    def distances(self, first: int, last: int, room: Room, lengths: Arguments) -> float:
        """Sum over the pairs of cells ``first`` to ``last`` and those of the tile, which have these squared lengths."""
        total: float = _kernels().add_distances(
            self._data,
            self._genes,
            self._parts,
            first,
            last,
            self._square,
            self._shift,
            room.tile,
            lengths,
            self._coincident,
            room.product,
        )
        return total


@functools.cache
def _kernels() -> SimpleNamespace:
    return load("perturbcast.metrics._distance_sums")


def _in_line(rows: int, columns: int) -> Arguments:
    """Room for float32 numbers that begins with a cache line, so that no vector lies across two."""
    size = rows * columns * 4
    room = np.empty(size + LINE, dtype=np.uint8)
    begin = -room.ctypes.data % LINE
    return Arguments.of(room[begin : begin + size].view(np.float32).reshape(rows, columns))
