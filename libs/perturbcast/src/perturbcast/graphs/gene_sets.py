"""Genes that are in the same curated sets: undirected, unsigned; pathways rather than regulation.

The weight between two genes is the overlap of their memberships, |sets with both| / |sets with either| (Jaccard), over
sets of a size within bounds: a set of a thousand genes says little about a pair. Each gene receives its k largest, ties
by the order of genes. Memberships are multiplied block by block as sparse arrays; no [gene, gene] array exists.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import scipy.sparse as sp

from perturbcast.graphs.gene_graph import GeneGraph
from perturbcast.graphs.provenance import MIN_PRIOR_COVERAGE, from_file
from perturbcast.schema import PerturbationData
from perturbcast.stores.data_folders import located
from perturbcast.stores.gene_names import positions
from perturbcast.stores.gene_sets import read_gmt

__all__ = ["FROM_CELLS", "Config", "build"]

FROM_CELLS = False
BLOCK = 512  # genes whose overlaps with all others are held at once


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Parameters.

    Attributes:
        file: the ``.gmt`` file.
        k: genes that each gene receives edges from, count.
        min_size: genes of the smallest set that is used, count in the file.
        max_size: genes of the largest set that is used, count in the file.
        gene_ids: table of ``ensembl_id`` and ``symbol``, where the data's genes have other names than the file's.
        min_coverage: share of the data's genes that the used sets have to name, 0 to 1.
    """

    file: str
    k: int = 20
    min_size: int = 2
    max_size: int = 500
    gene_ids: str = ""
    min_coverage: float = MIN_PRIOR_COVERAGE

    def __post_init__(self) -> None:
        if self.k < 1 or not 1 < self.min_size <= self.max_size:
            raise ValueError(
                f"Overlap needs k >= 1 and sets of 2 genes or more; got k {self.k}, sizes {self.min_size} to "
                f"{self.max_size}."
            )


def build(train: PerturbationData, config: Config) -> GeneGraph:
    """The graph over the genes of ``train``; its cells are not looked at.

    Raises:
        UsageError: the file does not exist.
        ValueError: it holds no set of a size within bounds, or names too few of the data's genes.
    """
    sets = [s for s in read_gmt(located(config.file)).values() if config.min_size <= len(s) <= config.max_size]
    if not sets:
        raise ValueError(
            f"Overlap needs sets of {config.min_size} to {config.max_size} genes; {config.file} holds none. "
            "Widen min_size and max_size."
        )
    place = positions(train, gene_ids=located(config.gene_ids) if config.gene_ids else None)
    named = {gene: place.get(gene) for genes in sets for gene in genes}
    provenance = from_file("gene_sets", config, data=train, named=named, least=config.min_coverage)
    pairs = [(place[gene], j) for j, genes in enumerate(sets) for gene in genes if gene in place]
    rows, columns = zip(*dict.fromkeys(pairs), strict=True)
    member = sp.csr_matrix((np.ones(len(rows)), (rows, columns)), shape=(len(train.genes), len(sets)))
    source, target, weight = _overlaps(member, k=config.k)
    return GeneGraph.of(
        name="gene_sets",
        genes=train.genes,
        source=source,
        target=target,
        weight=weight,
        provenance=provenance,
    )


def _overlaps(member: sp.csr_matrix, *, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Source, target and Jaccard index of each gene's ``k`` largest overlaps; ``member`` is [gene, set]."""
    size = np.asarray(member.sum(axis=1)).ravel()
    transposed = member.T.tocsr()
    sources, targets, weights = [], [], []
    for start in range(0, member.shape[0], BLOCK):
        both = (member[start : start + BLOCK] @ transposed).tocsr()
        both.sort_indices()
        for i in range(both.shape[0]):
            gene = start + i
            others = both.indices[both.indptr[i] : both.indptr[i + 1]].astype(np.int64)
            shared = both.data[both.indptr[i] : both.indptr[i + 1]][others != gene]
            others = others[others != gene]
            jaccard = shared / (size[gene] + size[others] - shared)
            best = np.argsort(-jaccard, kind="stable")[:k]
            sources.append(others[best])
            targets.append(np.full(len(best), gene))
            weights.append(jaccard[best])
    return np.concatenate(sources), np.concatenate(targets), np.concatenate(weights)
