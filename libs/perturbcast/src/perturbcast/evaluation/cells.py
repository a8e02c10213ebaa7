"""Where the cells that distribution metrics look at come from: measured, or controls moved by a delta.

Axes: C conditions, G genes, N cells.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Hashable, Sequence

import numpy as np
import scipy.sparse as sp

from perturbcast.metrics import Cells, cell_count, drawn_genes

__all__ = ["MeasuredCells", "MovedCells", "drawn", "select_rows"]


def drawn(key: str, rows: np.ndarray, *, limit: int, seed: int) -> np.ndarray:
    """At most ``limit`` of ``rows``; a condition's draw does not depend on which other conditions there are."""
    if len(rows) <= limit:
        return rows
    digest = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "little")
    chosen = np.random.default_rng([seed, digest]).choice(len(rows), size=limit, replace=False)
    return rows[np.sort(chosen)]


def select_rows(x: sp.csr_matrix, rows: np.ndarray) -> sp.csr_matrix:
    """Rows of a matrix; neighbours in their order are not copied."""
    if not len(rows) or (np.diff(rows) != 1).any():
        return x[rows]
    first, last = int(rows[0]), int(rows[-1]) + 1
    low, high = x.indptr[first], x.indptr[last]
    part = sp.csr_matrix((len(rows), x.shape[1]), dtype=x.dtype)
    # set, because whatever is handed to scipy as part of something larger is copied
    part.data, part.indices, part.indptr = x.data[low:high], x.indices[low:high], x.indptr[first : last + 1] - low
    part.has_sorted_indices = x.has_sorted_indices
    return part


@dataclasses.dataclass(frozen=True, kw_only=True)
class MeasuredCells:
    """Cells of each condition in one matrix.

    Attributes:
        x: [cell, gene] CSR.
        rows: per condition, its row numbers in ``x``, in the order of their barcodes (so that two files with
            the same cells in another order are drawn alike).
        keys: per condition, the text that its draw is seeded by.
    """

    x: sp.csr_matrix
    rows: Sequence[np.ndarray]
    keys: Sequence[str]
    _by_gene: dict[Hashable, sp.csc_matrix] = dataclasses.field(default_factory=dict, repr=False, compare=False)

    def draw(self, row: int, *, limit: int, seed: int) -> np.ndarray:
        """At most ``limit`` cells [cell, gene] float32 of condition ``row``."""
        chosen = drawn(self.keys[row], self.rows[row], limit=limit, seed=seed)
        return select_rows(self.x, chosen).toarray().astype(np.float32, copy=False)

    def draw_genes(self, row: int, genes: np.ndarray, *, limit: int, seed: int) -> np.ndarray:
        """Columns ``genes`` of ``draw`` [cell, gene], without the others.

        The cells of the last group are kept gene by gene: controls are asked for other genes by each condition.
        """
        group = self.rows[row]
        key = (id(group), None if len(group) <= limit else (row, limit, seed))
        if key not in self._by_gene:
            self._by_gene.clear()
            self._by_gene[key] = select_rows(self.x, drawn(self.keys[row], group, limit=limit, seed=seed)).tocsc()
        return self._by_gene[key][:, genes].toarray(order="C").astype(np.float32, copy=False)

    def matrix(self, row: int) -> sp.csr_matrix:
        """All cells [cell, gene] of condition ``row`` in the order of ``x``, so that neighbours there are not copied.

        Not to be written to: it may be part of ``x``.
        """
        return select_rows(self.x, np.sort(self.rows[row]))

    def size(self, row: int) -> int:
        """Number of cells of condition ``row``."""
        return len(self.rows[row])

    def key(self, row: int) -> Hashable:
        """Equal for rows of this source that hold the same cells."""
        return (id(self.x), id(self.rows[row]))


@dataclasses.dataclass(frozen=True, kw_only=True)
class MovedCells:
    """Predicted cells of a model that predicts a mean: each control cell moved by the predicted delta.

    They keep the spread of the controls, which is the least that such a model claims.

    Attributes:
        controls: the matched true control cells of each condition.
        delta: [condition, gene] predicted delta.
        smallest: what no cell goes below: 0 for expression.
    """

    controls: Cells
    delta: np.ndarray
    smallest: float

    def draw(self, row: int, *, limit: int, seed: int) -> np.ndarray:
        """At most ``limit`` cells [cell, gene] float32 of condition ``row``."""
        moved = self.controls.draw(row, limit=limit, seed=seed)
        moved += self.delta[row].astype(np.float32)
        return np.maximum(moved, np.float32(self.smallest), out=moved)

    def draw_genes(self, row: int, genes: np.ndarray, *, limit: int, seed: int) -> np.ndarray:
        """Columns ``genes`` of ``draw`` [cell, gene], without the others."""
        moved = drawn_genes(self.controls, row, genes, limit=limit, seed=seed)
        moved += self.delta[row, genes].astype(np.float32)
        return np.maximum(moved, np.float32(self.smallest), out=moved)

    def matrix(self, row: int) -> sp.csr_matrix:
        """All control cells of condition ``row``, moved [cell, gene]; dense values of one condition at a time."""
        controls = self.controls.matrix(row)
        if not self.delta[row].any():
            return controls
        moved = controls.toarray()
        moved += self.delta[row].astype(moved.dtype)
        return sp.csr_matrix(np.maximum(moved, moved.dtype.type(self.smallest), out=moved))

    def size(self, row: int) -> int:
        """Number of control cells of condition ``row``."""
        return cell_count(self.controls, row)

    def key(self, row: int) -> Hashable:
        """Equal for rows that hold the same cells; cells that were not moved are the controls themselves."""
        return (id(self), row) if self.delta[row].any() else self.controls.key(row)
