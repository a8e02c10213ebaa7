"""Gene embeddings from a gene graph: genes with the same neighbours have similar vectors.

Eigenvectors of the symmetrised, degree-normalised adjacency D^-1/2 (A + A')/2 D^-1/2, D the sum of absolute weights,
times the absolute eigenvalue; the largest by absolute value. Only genes with an edge have such features.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import eigsh

from perturbcast.features.target_features import TargetFeatures
from perturbcast.graphs import GeneGraph

__all__ = ["of_graph"]


def of_graph(graph: GeneGraph, *, components: int) -> TargetFeatures:
    """Features of every gene that has an edge.

    Raises:
        ValueError: the graph has no edge.
    """
    forward = graph.adjacency().astype(np.float64)
    both = sp.csr_matrix((forward + forward.T) / 2)
    degree = np.asarray(abs(both).sum(axis=1)).ravel()
    linked = np.flatnonzero(degree > 0)
    if len(linked) == 0:
        raise ValueError(f"Positions in a graph need edges; {graph.name!r} has none. Build it with other parameters.")
    scale = sp.diags(1 / np.sqrt(degree[linked]))
    normal = sp.csr_matrix(scale @ both[linked][:, linked] @ scale)
    if len(linked) <= 2 * components + 1:
        values, vectors = np.linalg.eigh(normal.toarray())
        best = np.argsort(-np.abs(values), kind="stable")[:components]
        values, vectors = values[best], vectors[:, best]
    else:
        start = np.random.default_rng(0).standard_normal(len(linked))  # a fixed start: the same axes every time
        values, vectors = eigsh(normal, k=components, v0=start, rng=0)  # the seed: it draws where directions run out
    return TargetFeatures(names=tuple(graph.genes[i] for i in linked), vectors=vectors * np.abs(values)).scaled()
