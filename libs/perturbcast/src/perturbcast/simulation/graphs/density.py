"""What every graph family refuses: a density that no graph of that size can have."""

from __future__ import annotations

from perturbcast.errors import UsageError

__all__ = ["require_density"]


def require_density(n_nodes: int, edges_per_node: float, *, least: float = 0.0, most: float = 1.0) -> None:
    """Check that ``edges_per_node`` can be reached.

    Args:
        n_nodes: number of nodes.
        edges_per_node: expected edges divided by nodes.
        least: smallest edges per node that the family can make.
        most: largest share of all pairs that the family can connect.

    Raises:
        UsageError: fewer than two nodes, or a density outside what the family can make.
    """
    if n_nodes < 2:
        raise UsageError(f"A causal graph has at least 2 nodes; {n_nodes} were asked for. Ask for more nodes.")
    pairs = n_nodes * (n_nodes - 1) // 2
    limit = most * pairs / n_nodes
    if not least <= edges_per_node <= limit:
        raise UsageError(
            f"A graph of {n_nodes} nodes has {pairs} pairs, and this family connects {least:g} to {limit:.4g} edges "
            f"per node; {edges_per_node:g} edges per node ({edges_per_node * n_nodes:g} edges) were asked for. "
            "Change edges_per_node, the number of nodes, or the graph family."
        )
