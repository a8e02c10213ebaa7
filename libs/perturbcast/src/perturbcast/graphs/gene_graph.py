"""A signed, directed, sparse graph over named genes: two arrays of edges, never a [gene, gene] one.

Edges are kept in one order (by target, then source) and once each, so that equal graphs have equal bytes and
the edges into one gene lie side by side. A gene has no edge to itself: what a gene does to itself is the model's.

Axes: G genes, E edges, D features.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import scipy.sparse as sp

from perturbcast.schema import canonical_hash, gene_list_hash, repeated

__all__ = ["MIN_COVERAGE", "Coverage", "GeneGraph"]

MIN_COVERAGE = 0.5  # below this share of shared names two gene lists are of other namespaces or other organisms


@dataclasses.dataclass(frozen=True, kw_only=True)
class Coverage:
    """How many genes of the data a source of names covers.

    Attributes:
        n_genes: genes of the data.
        n_covered: of these, genes that the source names.
        missing: the first genes of the data that it does not name, at most five.
    """

    n_genes: int
    n_covered: int
    missing: tuple[str, ...]

    @classmethod
    def of(cls, genes: Sequence[str], covered: Sequence[bool] | np.ndarray) -> Self:
        """Count ``covered``, one truth value per gene of ``genes``."""
        missing = [gene for gene, there in zip(genes, covered, strict=True) if not there]
        return cls(n_genes=len(genes), n_covered=len(genes) - len(missing), missing=tuple(missing[:5]))

    @property
    def share(self) -> float:
        """Covered share of the data's genes, 0 to 1."""
        return self.n_covered / max(self.n_genes, 1)

    def __str__(self) -> str:
        return f"{self.n_covered} of {self.n_genes} genes ({self.share:.1%})"

    def require(self, least: float, *, what: str) -> None:
        """Refuse a share below ``least``.

        Raises:
            ValueError: with the report: which share, which genes are missing first.
        """
        if self.n_covered == 0 or self.share < least:
            raise ValueError(
                f"Genes are matched by name, and at least {least:.0%} of the data's have to be found; {what} covers "
                f"{self}, missing first {', '.join(self.missing)}. Give names of the data's namespace and organism "
                "(gene_ids maps Ensembl ids and symbols), or ask for less with min_coverage."
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class GeneGraph:
    """Edges between genes.

    Attributes:
        name: what a reader calls it (``coexpression``).
        genes: G gene names; a position in ``edge_index`` is a position here.
        edge_index: [2, edge] int64, row 0 the source, row 1 the target.
        weight: [edge] float32, signed; what it measures is in ``provenance``.
        provenance: JSON values: source, parameters, hashes of what it was made from, coverage.
    """

    name: str
    genes: tuple[str, ...]
    edge_index: np.ndarray
    weight: np.ndarray
    provenance: Mapping[str, Any]

    def __post_init__(self) -> None:
        rule = f"A gene graph is edge_index [2, edge] of gene positions with weight [edge]; that of {self.name!r} "
        way_out = " Build it with GeneGraph.of or 'perturbcast graph build'."
        twice = repeated(self.genes)
        if twice:
            raise ValueError(f"{rule}names {', '.join(twice[:5])} more than once.{way_out}")
        if self.edge_index.ndim != 2 or self.edge_index.shape != (2, len(self.weight)) or self.weight.ndim != 1:
            raise ValueError(f"{rule}has shapes {self.edge_index.shape} and {self.weight.shape}.{way_out}")
        if self.edge_index.dtype != np.int64 or self.weight.dtype != np.float32:
            raise ValueError(
                f"{rule}has types {self.edge_index.dtype} and {self.weight.dtype}, not int64 and float32.{way_out}"
            )
        if not np.isfinite(self.weight).all():
            raise ValueError(
                f"{rule}has {int((~np.isfinite(self.weight)).sum())} weights that are not finite.{way_out}"
            )
        if len(self.weight) == 0:
            return
        if self.edge_index.min() < 0 or self.edge_index.max() >= len(self.genes):
            raise ValueError(
                f"{rule}has positions {self.edge_index.min()} to {self.edge_index.max()} for {len(self.genes)} "
                f"genes.{way_out}"
            )
        if (self.edge_index[0] == self.edge_index[1]).any():
            raise ValueError(f"{rule}has an edge from a gene to itself.{way_out}")
        key = self.edge_index[1] * len(self.genes) + self.edge_index[0]
        if (np.diff(key) <= 0).any():
            raise ValueError(f"{rule}is not sorted by target and source, or has an edge twice.{way_out}")

    @classmethod
    def of(
        cls,
        *,
        name: str,
        genes: Sequence[str],
        source: np.ndarray,
        target: np.ndarray,
        weight: np.ndarray,
        provenance: Mapping[str, Any],
    ) -> Self:
        """A graph from edges in any order; edges of a gene to itself and of weight 0 are left out.

        Raises:
            ValueError: an edge is there twice.
        """
        kept = (source != target) & (weight != 0)
        source, target, weight = source[kept], target[kept], weight[kept]
        order = np.lexsort((source, target))
        return cls(
            name=name,
            genes=tuple(genes),
            edge_index=np.stack([source[order], target[order]]).astype(np.int64),
            weight=np.ascontiguousarray(weight[order], dtype=np.float32),
            provenance=dict(provenance),
        )

    @property
    def n_edges(self) -> int:
        return len(self.weight)

    @property
    def hash(self) -> str:
        """sha256 over genes, edges, weights and provenance."""
        digest = hashlib.sha256()
        for array, dtype in ((self.edge_index, "<i8"), (self.weight, "<f4")):
            digest.update(np.ascontiguousarray(array, dtype=dtype).tobytes())
        record = {"name": self.name, "genes": gene_list_hash(self.genes), "provenance": dict(self.provenance)}
        return canonical_hash({"edges": digest.hexdigest(), **record})

    def adjacency(self) -> sp.csr_matrix:
        """[target, source] CSR float32; 12 bytes per edge."""
        counts = np.bincount(self.edge_index[1], minlength=len(self.genes))
        start = np.concatenate([[0], np.cumsum(counts)])
        shape = (len(self.genes), len(self.genes))
        return sp.csr_matrix((self.weight, self.edge_index[0], start), shape=shape)

    def propagate(self, h: np.ndarray) -> np.ndarray:
        """Sum over the edges into each gene of weight times the source's features; [gene, D] to [gene, D]."""
        return np.asarray(self.adjacency() @ h)

    def check_genes(self, genes: Sequence[str]) -> None:
        """Refuse to be used with genes of another order.

        Raises:
            ValueError: the names differ, or stand in another order; the message says how many are shared.
        """
        if self.genes == tuple(genes):
            return
        covered = Coverage.of(genes, np.isin(np.array(genes, dtype=object), np.array(self.genes, dtype=object)))
        order = "in another order" if covered.n_covered == len(genes) == len(self.genes) else "not the same names"
        raise ValueError(
            f"A graph stands in the gene order of the data; {self.name!r} has {len(self.genes)} genes, the data "
            f"{len(genes)}, {order}: it covers {covered}. Match it by name with matched(genes), or build it for "
            "this data with 'perturbcast graph build'."
        )

    def matched(self, genes: Sequence[str], *, min_coverage: float = MIN_COVERAGE) -> GeneGraph:
        """The same edges over ``genes`` by name: genes it does not name have no edges, its other genes are dropped.

        Raises:
            ValueError: it names less than ``min_coverage`` of ``genes``.
        """
        if self.genes == tuple(genes):
            return self
        place = {gene: i for i, gene in enumerate(genes)}
        new = np.array([place.get(gene, -1) for gene in self.genes], dtype=np.int64)
        there = np.zeros(len(genes), dtype=bool)
        there[new[new >= 0]] = True
        coverage = Coverage.of(genes, there)
        coverage.require(min_coverage, what=f"graph {self.name!r}")
        source, target = new[self.edge_index]
        kept = (source >= 0) & (target >= 0)
        return GeneGraph.of(
            name=self.name,
            genes=genes,
            source=source[kept],
            target=target[kept],
            weight=self.weight[kept],
            provenance={**self.provenance, "matched_from": self.hash, "matched_coverage": coverage.share},
        )

    def shuffled(self, *, generator: np.random.Generator) -> GeneGraph:
        """The same graph with gene names dealt anew: every degree and weight stays, which gene has it does not.

        What an ablation compares with; an effect that survives it did not need to know the genes.
        """
        place = generator.permutation(len(self.genes))
        return GeneGraph.of(
            name=f"{self.name} shuffled",
            genes=self.genes,
            source=place[self.edge_index[0]],
            target=place[self.edge_index[1]],
            weight=self.weight,
            provenance={**self.provenance, "shuffled_from": self.hash},
        )
