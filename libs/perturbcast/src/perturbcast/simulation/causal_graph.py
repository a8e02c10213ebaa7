"""A directed acyclic graph with its causal order: who is computed from whom, and who is downstream."""

from __future__ import annotations

import dataclasses
import functools
import warnings
from collections.abc import Iterable

import networkx as nx
import numpy as np

__all__ = ["CausalGraph"]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class CausalGraph:
    """Nodes 0 to d - 1, edges from parent to child, and an order in which parents come first.

    Attributes:
        n_nodes: number of nodes d.
        edges: [edge, 2] int64 (parent, child), kept sorted by child, then parent; unique.
        order: [node] int64, a topological order.
    """

    n_nodes: int
    edges: np.ndarray
    order: np.ndarray

    def __post_init__(self) -> None:
        edges = np.asarray(self.edges, dtype=np.int64).reshape(-1, 2)
        order = np.asarray(self.order, dtype=np.int64)
        if sorted(order.tolist()) != list(range(self.n_nodes)):
            raise ValueError(f"A causal order names each of {self.n_nodes} nodes once; it came as {order.tolist()}.")
        edges = edges[np.lexsort((edges[:, 0], edges[:, 1]))]
        rank = np.argsort(order)
        backward = rank[edges[:, 0]] >= rank[edges[:, 1]]
        twice = (np.diff(edges, axis=0) == 0).all(axis=1)
        if backward.any() or twice.any():
            wrong = edges[backward][0] if backward.any() else edges[1:][twice][0]
            raise ValueError(
                f"Edges are unique and go forward in the causal order; {wrong[0]} -> {wrong[1]} "
                f"{'goes back' if backward.any() else 'is there twice'}. Drop the edge or change the order."
            )
        object.__setattr__(self, "edges", edges)
        object.__setattr__(self, "order", order)

    @classmethod
    def oriented(cls, n_nodes: int, pairs: Iterable[tuple[int, int]] | np.ndarray, order: np.ndarray) -> CausalGraph:
        """The graph in which every undirected pair points from the earlier to the later node of ``order``."""
        ends = np.array([tuple(pair) for pair in pairs], dtype=np.int64).reshape(-1, 2)
        rank = np.argsort(order)
        swap = rank[ends[:, 0]] > rank[ends[:, 1]]
        ends[swap] = ends[swap][:, ::-1]
        return cls(n_nodes=n_nodes, edges=ends, order=order)

    def relabelled(self, names: np.ndarray) -> CausalGraph:
        """The same graph with node i called ``names[i]``."""
        return CausalGraph(n_nodes=self.n_nodes, edges=names[self.edges], order=names[self.order])

    @functools.cached_property
    def _starts(self) -> np.ndarray:
        return np.searchsorted(self.edges[:, 1], np.arange(self.n_nodes + 1))

    def parents(self, node: int) -> np.ndarray:
        """Parents of ``node``, ascending."""
        parents: np.ndarray = self.edges[self._starts[node] : self._starts[node + 1], 0]
        return parents

    def adjacency(self) -> np.ndarray:
        """[parent, child] bool."""
        matrix = np.zeros((self.n_nodes, self.n_nodes), dtype=bool)
        matrix[self.edges[:, 0], self.edges[:, 1]] = True
        return matrix

    def reached(self, sources: Iterable[int]) -> np.ndarray:
        """[node] bool: the sources and everything downstream of them."""
        mask = np.zeros(self.n_nodes, dtype=bool)
        mask[list(sources)] = True
        for node in self.order:
            if not mask[node]:
                mask[node] = mask[self.parents(node)].any()
        return mask

    @functools.cached_property
    def levels(self) -> tuple[np.ndarray, ...]:
        """Nodes by depth: every parent of a node of one level is in a level before it."""
        depth = np.zeros(self.n_nodes, dtype=np.int64)
        for node in self.order:
            parents = self.parents(node)
            if parents.size:
                depth[node] = depth[parents].max() + 1
        return tuple(np.flatnonzero(depth == level) for level in range(int(depth.max()) + 1))

    def to_networkx(self) -> nx.DiGraph:
        graph = nx.DiGraph()
        graph.add_nodes_from(range(self.n_nodes))
        graph.add_edges_from(map(tuple, self.edges.tolist()))
        return graph

    def structure_hash(self) -> str:
        """Weisfeiler-Lehman hash: equal for graphs that differ only by node names.

        Different graphs may rarely share one; ``same_structure`` decides.
        """
        with warnings.catch_warnings():
            # networkx 3.5 announces that its hashes differ from those of 3.4.
            warnings.filterwarnings("ignore", message="The hashes produced for", category=UserWarning)
            return str(nx.weisfeiler_lehman_graph_hash(self.to_networkx(), iterations=4))

    def same_structure(self, other: CausalGraph) -> bool:
        """Whether a renaming of nodes turns one graph into the other (exact, VF2)."""
        return bool(nx.is_isomorphic(self.to_networkx(), other.to_networkx()))
