"""Modules: pairs inside a block are edges more often than pairs across blocks (Holland et al. 1983)."""

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
    blocks: number of blocks of (nearly) equal size; never more than nodes.
    odds_inside: how many times likelier an edge is inside a block than across, until inside is certain.
    """

    edges_per_node: float = 2.0
    blocks: int = 4
    odds_inside: float = 10.0


def sample(config: Config, n_nodes: int, generator: np.random.Generator) -> CausalGraph:
    """One graph of ``n_nodes``, oriented by a random order.

    Raises:
        UsageError: more edges than pairs.
    """
    require_density(n_nodes, config.edges_per_node)
    sizes = [len(part) for part in np.array_split(np.arange(n_nodes), min(config.blocks, n_nodes))]
    inside = sum(size * (size - 1) // 2 for size in sizes)
    across = n_nodes * (n_nodes - 1) // 2 - inside
    wanted = config.edges_per_node * n_nodes
    p_inside = min(1.0, config.odds_inside * wanted / (config.odds_inside * inside + across))
    p_across = min(1.0, (wanted - p_inside * inside) / across) if across else 0.0
    p = np.full((len(sizes), len(sizes)), p_across)
    np.fill_diagonal(p, p_inside)
    pairs = nx.stochastic_block_model(sizes, p.tolist(), seed=int(generator.integers(2**31)))
    return CausalGraph.oriented(n_nodes, pairs.edges, generator.permutation(n_nodes))
