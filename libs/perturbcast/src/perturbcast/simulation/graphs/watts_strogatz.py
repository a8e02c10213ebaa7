"""Clustered neighbourhoods with a few long links (small world; Watts and Strogatz 1998).

Each node is joined to its ceil(k) next neighbours on a ring, links are rewired, and each link is kept with
the probability that makes k d edges expected.
"""

from __future__ import annotations

import dataclasses
import math

import networkx as nx
import numpy as np

from perturbcast.simulation.causal_graph import CausalGraph
from perturbcast.simulation.graphs.density import require_density


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Attributes:
    edges_per_node: expected edges divided by nodes.
    rewired: probability (0 to 1) that a ring link goes to a random node instead.
    """

    edges_per_node: float = 2.0
    rewired: float = 0.2


def sample(config: Config, n_nodes: int, generator: np.random.Generator) -> CausalGraph:
    """One graph of ``n_nodes``, oriented by a random order.

    Raises:
        UsageError: more edges than pairs.
    """
    require_density(n_nodes, config.edges_per_node)
    neighbours = min(2 * math.ceil(config.edges_per_node), n_nodes)  # networkx: n neighbours is the complete graph
    ring = nx.watts_strogatz_graph(n_nodes, neighbours, config.rewired, seed=int(generator.integers(2**31)))
    links = np.array(ring.edges, dtype=np.int64).reshape(-1, 2)
    kept = generator.random(len(links)) < config.edges_per_node * n_nodes / max(len(links), 1)
    return CausalGraph.oriented(n_nodes, links[kept], generator.permutation(n_nodes))
