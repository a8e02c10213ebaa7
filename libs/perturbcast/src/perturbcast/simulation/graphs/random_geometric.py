"""Nodes are points in the unit square and near ones are joined; strongly clustered, no long links.

The radius r solves P(distance < r) = 2 k / (d - 1), with P(r) = pi r^2 - 8 r^3 / 3 + r^4 / 2 for r <= 1
(the distance of two uniform points; Philip 2007).
"""

from __future__ import annotations

import dataclasses
import math

import networkx as nx
import numpy as np
from scipy.optimize import brentq

from perturbcast.simulation.causal_graph import CausalGraph
from perturbcast.simulation.graphs.density import require_density


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Attributes:
    edges_per_node: expected edges divided by nodes.
    """

    edges_per_node: float = 2.0


def _share_within(radius: float) -> float:
    return math.pi * radius**2 - 8 * radius**3 / 3 + radius**4 / 2


def sample(config: Config, n_nodes: int, generator: np.random.Generator) -> CausalGraph:
    """One graph of ``n_nodes``, oriented by a random order.

    Raises:
        UsageError: a density that needs a radius above 1 (97.5 % of all pairs).
    """
    require_density(n_nodes, config.edges_per_node, most=_share_within(1.0))
    share = 2 * config.edges_per_node / (n_nodes - 1)
    radius = brentq(lambda r: _share_within(r) - share, 0.0, 1.0)
    pairs = nx.random_geometric_graph(n_nodes, radius, seed=int(generator.integers(2**31)))
    return CausalGraph.oriented(n_nodes, pairs.edges, generator.permutation(n_nodes))
