"""A few nodes are the parent of very many (out-degree follows a power law): hub regulators.

The transpose of ``scale_free``: each edge points from the older node to the newcomer, as transcription
factors with many targets do.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from perturbcast.simulation.causal_graph import CausalGraph
from perturbcast.simulation.graphs.attachment import attachment_edges


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Attributes:
    edges_per_node: expected edges divided by nodes, at least 1.
    """

    edges_per_node: float = 2.0


def sample(config: Config, n_nodes: int, generator: np.random.Generator) -> CausalGraph:
    """One graph of ``n_nodes``; causal order is the order of arrival, labels are shuffled.

    Raises:
        UsageError: fewer than one edge per node, or more edges than pairs.
    """
    edges = attachment_edges(n_nodes, config.edges_per_node, generator)
    return CausalGraph.oriented(n_nodes, edges, np.arange(n_nodes)).relabelled(generator.permutation(n_nodes))
