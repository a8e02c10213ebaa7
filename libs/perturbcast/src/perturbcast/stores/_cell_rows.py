"""Compiled part of the readers: rows of a sparse matrix to a dense batch, and to sums by group.

A private module, so that reading a dataset does not import numba.
"""

from __future__ import annotations

import numba
import numpy as np

__all__ = ["add_moments", "scatter"]


@numba.njit(cache=True, nogil=True)
def scatter(
    data: np.ndarray,
    genes: np.ndarray,
    start: np.ndarray,
    rows: np.ndarray,
    column: np.ndarray,
    out: np.ndarray,
) -> None:
    """Write ``rows`` of a CSR matrix into ``out`` [row, wanted gene], which is zero.

    ``column`` [gene] is the wanted column of each gene of the matrix, or -1.
    """
    for i in range(len(rows)):
        for k in range(start[rows[i]], start[rows[i] + 1]):
            at = column[genes[k]]
            if at >= 0:
                out[i, at] = data[k]


@numba.njit(cache=True, nogil=True)
def add_moments(
    data: np.ndarray,
    genes: np.ndarray,
    start: np.ndarray,
    group: np.ndarray,
    group_start: np.ndarray,
    total: np.ndarray,
    square: np.ndarray,
) -> None:
    """Add values and their squares to the sums [group, gene] of every group that a row is in.

    Row i is in the groups ``group[group_start[i] : group_start[i + 1]]``.
    """
    for i in range(len(start) - 1):
        for g in range(group_start[i], group_start[i + 1]):
            for k in range(start[i], start[i + 1]):
                value = np.float64(data[k])
                total[group[g], genes[k]] += value
                square[group[g], genes[k]] += value * value
