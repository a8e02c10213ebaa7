"""Means and variances of groups of cells in one pass over a file: what effects and control profiles are made of.

Each run of rows that any group wants is read once, in the order of the file, and added to the float64 sums of its
groups. Memory is two dense rows per group and one run of sparse rows, however many cells there are. The result is that
of ``pseudobulk.mean_and_variance`` up to the order of its additions.

Axes: K groups, G genes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from perturbcast.stores.cell_file import CellFile

__all__ = ["RUN", "streamed_moments"]

RUN = 2048  # rows that are read at once


def streamed_moments(cells: CellFile, groups: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and unbiased variance [group, gene] of groups of rows; a group of one row has variance 0.

    Args:
        cells: the file, or a view of it.
        groups: rows of each; a row may be in several, or in none and is then not read.

    Raises:
        ValueError: a group is empty.
    """
    from perturbcast.stores._cell_rows import add_moments  # numba, which readers of small datasets do without

    n_K1 = np.array([len(rows) for rows in groups], dtype=np.float64).reshape(-1, 1)
    if (n_K1 == 0).any():
        raise ValueError("A mean needs at least one cell; the selection holds none.")
    total_KG, square_KG = (np.zeros((len(groups), len(cells.genes))) for _ in range(2))
    rows = np.concatenate([np.zeros(0, dtype=np.int64), *groups])
    group = np.repeat(np.arange(len(groups)), [len(members) for members in groups])
    order = np.lexsort((group, cells.at[rows]))
    rows, group = rows[order], group[order]
    distinct, begins = np.unique(cells.at[rows], return_index=True)
    ends = np.append(begins, len(rows))
    for first in range(0, len(distinct), RUN):
        last = min(first + RUN, len(distinct))
        x = cells.rows(rows[begins[first:last]])
        add_moments(x.data, x.indices, x.indptr, group, ends[first : last + 1], total_KG, square_KG)
    mean_KG = total_KG / n_K1
    spread_KG = np.clip(square_KG / n_K1 - mean_KG**2, 0.0, None)
    return mean_KG, spread_KG * np.where(n_K1 > 1, n_K1 / np.maximum(n_K1 - 1, 1), 0.0)
