"""Every pair is an edge with the same probability; the plainest null graph.

p = 2 k / (d - 1) makes k d edges expected (Erdos and Renyi 1959; Gilbert 1959).
"""

from __future__ import annotations

import dataclasses

import networkx as nx
import numpy as np

from perturbcast.simulation.causal_graph import CausalGraph
from perturbcast.simulation.graphs.density import require_density


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Attributes:
    edges_per_node: expected edges divided by nodes.
    """

    edges_per_node: float = 2.0


def sample(config: Config, n_nodes: int, generator: np.random.Generator) -> CausalGraph:
    """One graph of ``n_nodes``, oriented by a random order.

    Raises:
        UsageError: more edges than pairs.
    """
    require_density(n_nodes, config.edges_per_node)
    p = 2 * config.edges_per_node / (n_nodes - 1)
    pairs = nx.fast_gnp_random_graph(n_nodes, p, seed=int(generator.integers(2**31)))
    return CausalGraph.oriented(n_nodes, pairs.edges, generator.permutation(n_nodes))
