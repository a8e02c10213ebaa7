"""Sums of Euclidean distances between cells, in tiles: no matrix of all pairs, no copy beyond a tile."""

from __future__ import annotations

import numpy as np

__all__ = ["distance_sum"]

TILE = 512  # cells; a tile of distances is 1 MB in float32
# |a|^2 + |b|^2 - 2ab loses what is below a few float32 roundings of its terms: cells closer than that coincide
COINCIDENT = 4e-6


def distance_sum(a: np.ndarray, b: np.ndarray) -> float:
    """Sum of |a_i - b_j| over all pairs.

    Args:
        a: [cell, gene] float32; both groups centred on about the same point, which keeps the terms small.
        b: [cell, gene] float32.
    """
    square_a, square_b = (np.einsum("ng,ng->n", x, x) for x in (a, b))
    total = 0.0
    for i in range(0, len(a), TILE):
        for j in range(0, len(b), TILE):
            scale = square_a[i : i + TILE, None] + square_b[None, j : j + TILE]
            square = scale - 2 * (a[i : i + TILE] @ b[j : j + TILE].T)
            np.putmask(square, square < COINCIDENT * scale, 0.0)
            total += float(np.sqrt(square).sum(dtype=np.float64))
    return total
