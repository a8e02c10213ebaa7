"""Another context of the same cell: a share of the edges comes from other regulators."""

from __future__ import annotations

import numpy as np

from perturbcast.simulation.causal_graph import CausalGraph

__all__ = ["rewired"]


def rewired(graph: CausalGraph, share: float, generator: np.random.Generator) -> CausalGraph:
    """The graph with each edge moved, with probability ``share``, to another earlier parent.

    Causal order and number of parents stay; an edge whose child has no other earlier node stays too.
    """
    rank = np.argsort(graph.order)
    edges = graph.edges.copy()
    for child in np.unique(edges[:, 1]):
        mine = np.flatnonzero(edges[:, 1] == child)
        moved = mine[generator.random(mine.size) < share]
        free = np.setdiff1d(graph.order[: rank[child]], edges[mine, 0])
        n = min(moved.size, free.size)
        edges[moved[:n], 0] = generator.choice(free, size=n, replace=False)
    return CausalGraph(n_nodes=graph.n_nodes, edges=edges, order=graph.order)
