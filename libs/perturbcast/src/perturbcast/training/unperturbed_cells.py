"""What pretraining has to know of its cells before the first step, in two passes over them, a run of rows at a time.

The first pass says what the cells are and which genes vary, the second where each gene lies and how far it spreads on
the encoder's own scale. Memory is a run of rows and a few numbers for each gene. Cells in memory and on disk go the
same way, to the same bits.

Axes: G genes of the data, E genes of the encoder.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator

import numpy as np
import scipy.sparse as sp
import torch

from perturbcast.nn.panel import Panel, on_its_own_counts
from perturbcast.schema import Cells, label_digest

__all__ = ["RUN", "Survey", "standard", "survey"]

RUN = 512  # rows that are read at once, and made dense over the encoder's genes


@dataclasses.dataclass(frozen=True, kw_only=True)
class Survey:
    """What the cells are: variance [G] of each gene, and ``sha256`` over values and labels."""

    variance: np.ndarray
    sha256: str


def survey(cells: Cells) -> Survey:
    """Look at every cell once."""
    from perturbcast.stores._cell_rows import add_moments  # numba, which whoever imports this may do without

    n, genes = len(cells.obs), len(cells.genes)
    total_1G, square_1G = np.zeros((1, genes)), np.zeros((1, genes))
    digest = hashlib.sha256()
    for x in _runs(cells, np.arange(n)):
        of_all, start = np.zeros(x.shape[0], dtype=np.int64), np.arange(x.shape[0] + 1)
        add_moments(x.data, x.indices, x.indptr, of_all, start, total_1G, square_1G)
        for array, kind in ((x.data, "<f4"), (x.indices, "<i8"), (np.diff(x.indptr), "<i8")):
            digest.update(np.ascontiguousarray(array, dtype=kind).tobytes())
    mean_G = total_1G[0] / n
    return Survey(
        variance=np.clip(square_1G[0] / n - mean_G**2, 0.0, None) * (n / max(n - 1, 1)),
        sha256=label_digest(digest, cells.genes, cells.obs).hexdigest(),
    )


def standard(cells: Cells, columns: np.ndarray, *, fitted: np.ndarray) -> Panel:
    """What standardises cells over some of their genes.

    Args:
        cells: where they are.
        columns: [E] columns of the encoder's genes, ascending.
        fitted: rows whose mean and sd are 0 and 1 afterwards, ascending.
    """
    total_E, square_E = (torch.zeros(len(columns), dtype=torch.float64) for _ in range(2))
    everywhere = torch.ones(len(columns))
    for x in _runs(cells, fitted):
        dense = x[:, columns].toarray().astype(np.float32, copy=False)
        values = on_its_own_counts(torch.from_numpy(dense), everywhere).double()
        total_E += values.sum(dim=0)
        square_E += values.square().sum(dim=0)
    n = len(fitted)
    centre = total_E / n
    scale = ((square_E / n - centre.square()).clamp_min(0) * (n / (n - 1))).sqrt()
    scale = torch.where(scale > 1e-6, scale, torch.ones_like(scale))
    return Panel(torch.arange(len(columns)), centre=centre.float(), scale=scale.float())


def _runs(cells: Cells, rows: np.ndarray) -> Iterator[sp.csr_matrix]:
    """Expression of each run of ``rows``, in turn."""
    for first in range(0, len(rows), RUN):
        yield cells.rows(rows[first : first + RUN])
