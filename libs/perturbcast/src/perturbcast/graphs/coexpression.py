"""Co-expression of train controls: each gene receives its k most correlated genes; knows this dataset, no biology.

The weight is Pearson's correlation over control cells of the train part, signed. Cells are centred on their context
first, so that genes which only differ between cell types are not taken for co-regulated. Correlations are computed for
one block of genes against another and the best k are kept; the whole [gene, gene] array never exists.

An estimate from few cells is noisy: with n cells an uncorrelated pair has a standard error of 1 / sqrt(n).
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import scipy.sparse as sp

from perturbcast.graphs.gene_graph import GeneGraph
from perturbcast.graphs.provenance import from_cells
from perturbcast.schema import PerturbationData

__all__ = ["FROM_CELLS", "Config", "build"]

FROM_CELLS = True
VALUES_PER_BLOCK = 2**25  # float32 values of one dense block of cells: 128 MB
MIN_CELLS = 10


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Parameters.

    Attributes:
        k: genes that each gene receives edges from, count.
        min_correlation: absolute correlation below which there is no edge, 0 to 1.
    """

    k: int = 20
    min_correlation: float = 0.1

    def __post_init__(self) -> None:
        if self.k < 1 or not 0 <= self.min_correlation < 1:
            raise ValueError(
                f"Co-expression needs k >= 1 and min_correlation from 0 to below 1; got {self.k} and "
                f"{self.min_correlation}."
            )


def build(train: PerturbationData, config: Config) -> GeneGraph:
    """The graph over the genes of ``train``, from its control cells.

    Raises:
        ValueError: there are fewer than ten control cells beyond one per context.
    """
    control = train.obs["is_control"].to_numpy()
    code, contexts = pd.factorize(train.obs.loc[control, "context"].astype(str), sort=True)
    x = sp.csr_matrix(train.x[np.flatnonzero(control)])
    if x.shape[0] - len(contexts) < MIN_CELLS:
        raise ValueError(
            f"Co-expression is a correlation over control cells, at least {MIN_CELLS} more than contexts; the train "
            f"part of {train.dataset!r} holds {x.shape[0]} in {len(contexts)} contexts. Use a prior graph instead."
        )
    source, target, weight = _strongest(x, code, config=config)
    return GeneGraph.of(
        name="coexpression",
        genes=train.genes,
        source=source,
        target=target,
        weight=weight,
        provenance=from_cells("coexpression", config, data=train),
    )


def _strongest(x: sp.csr_matrix, code: np.ndarray, *, config: Config) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Source, target and correlation of each gene's ``k`` strongest; ``code`` [cell] numbers the contexts."""
    n, genes = x.shape
    member = sp.csr_matrix((np.ones(n), (code, np.arange(n))))
    size = np.asarray(member.sum(axis=1))
    columns = x.astype(np.float64)
    mean = (member @ columns).toarray() / size  # [context, gene]
    columns.data **= 2
    norm = np.sqrt(np.clip(np.asarray(columns.sum(axis=0)).ravel() - (size * mean**2).sum(axis=0), 0, None))
    varies = norm > 1e-6 * np.sqrt(n)
    by_column = sp.csc_matrix(x)
    step = int(np.clip(VALUES_PER_BLOCK // n, 64, 1024))
    starts = range(0, genes, step)

    def standardised(start: int) -> np.ndarray:
        """[cell, block] centred in each context, of length 1 over cells; a gene that does not vary is 0."""
        block = slice(start, min(start + step, genes))
        dense = by_column[:, block].toarray()
        dense -= mean[:, block].astype(np.float32)[code]
        dense *= np.where(varies[block], 1 / np.maximum(norm[block], 1e-12), 0).astype(np.float32)
        return dense

    edges: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    k = min(config.k, genes)
    for row in starts:
        left = standardised(row)
        best = np.zeros((left.shape[1], k), dtype=np.float32)
        who = np.zeros((left.shape[1], k), dtype=np.int64)
        for column in starts:
            right = left if column == row else standardised(column)
            r = left.T @ right
            if column == row:
                np.fill_diagonal(r, 0)
            values = np.concatenate([best, r], axis=1)  # the best so far, then this block
            top = np.argpartition(np.abs(values), values.shape[1] - k, axis=1)[:, -k:]
            who = np.where(top < k, np.take_along_axis(who, np.minimum(top, k - 1), axis=1), column + top - k)
            best = np.take_along_axis(values, top, axis=1)
        to = np.broadcast_to(np.arange(row, row + len(best))[:, None], best.shape)
        kept = (np.abs(best) >= config.min_correlation) & (best != 0)
        edges.append((who[kept], to[kept], np.clip(best[kept], -1, 1)))
    source, target, weight = (np.concatenate(parts) for parts in zip(*edges, strict=True))
    return source, target, weight
