"""Preferential attachment with an exact expected number of edges, shared by both scale-free families."""

from __future__ import annotations

import math

import networkx as nx
import numpy as np

from perturbcast.simulation.graphs.density import require_density

__all__ = ["attachment_edges"]


def attachment_edges(n_nodes: int, edges_per_node: float, generator: np.random.Generator) -> np.ndarray:
    """[edge, 2] (older, newer) pairs, nodes numbered by arrival (Barabasi and Albert 1999).

    Starting from a complete graph of m nodes, each new node attaches to m - 1 or m older ones (Moshiri,
    arXiv 1810.10538), with the odds that make the expected number of edges k d.

    Raises:
        UsageError: fewer than one edge per node (each newcomer brings one), or more edges than pairs.
    """
    require_density(n_nodes, edges_per_node, least=1.0)
    wanted = edges_per_node * n_nodes
    # m(m-1)/2 + m(d-m) = k d, the real-valued m of a graph whose newcomers all bring m edges.
    b = 2 * n_nodes - 1
    m = min(math.ceil((b - math.sqrt(max(b * b - 8 * wanted, 0.0))) / 2 - 1e-9), n_nodes - 1)
    mean = (wanted - m * (m - 1) / 2) / (n_nodes - m)
    seed, start = int(generator.integers(2**31)), nx.complete_graph(m)
    fewer = m - mean
    if fewer <= 0:  # networkx drops the initial graph when the odds are 0
        graph = nx.barabasi_albert_graph(n_nodes, m, seed=seed, initial_graph=start)
    else:
        graph = nx.dual_barabasi_albert_graph(n_nodes, m - 1, m, fewer, seed=seed, initial_graph=start)
    return np.sort(np.array(graph.edges, dtype=np.int64).reshape(-1, 2), axis=1)
