"""Graph families: the density that the name promises, the direction of hubs, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from perturbcast import catalog
from perturbcast.errors import UsageError
from perturbcast.simulation import CausalGraph
from perturbcast.simulation.families import graph_family
from perturbcast.simulation.graphs import mixture
from perturbcast.simulation.rewiring import rewired

FAMILIES = catalog.names("simulation.graphs")


@pytest.mark.parametrize("nodes", [10, 20, 60])
@pytest.mark.parametrize("k", [1.0, 2.3])
@pytest.mark.parametrize("family", FAMILIES)
def test_expected_edges_are_k_times_nodes(family, k, nodes, make_graph):
    edges = np.array([len(make_graph(family, nodes=nodes, k=k, seed=seed).edges) for seed in range(200)])
    error = edges.std(ddof=1) / np.sqrt(len(edges))
    assert abs(edges.mean() - k * nodes) <= 3 * error + 1e-9, f"{edges.mean()} edges, {k * nodes} named"


@pytest.mark.parametrize("family", FAMILIES)
def test_causal_order_is_not_the_node_number(family, make_graph):
    graph = make_graph(family, nodes=40)
    forward = (graph.edges[:, 0] < graph.edges[:, 1]).mean()
    assert 0.2 < forward < 0.8


def test_hubs_receive_in_one_family_and_send_in_the_transposed_one(make_graph):
    received, sent = (
        np.mean([np.bincount(make_graph(f, nodes=60, seed=s).edges[:, end], minlength=60).max() for s in range(20)])
        for f, end in (("scale_free", 1), ("scale_free", 0))
    )
    assert received > 3 * sent
    transposed = np.mean(
        [np.bincount(make_graph("scale_free_transposed", nodes=60, seed=s).edges[:, 0]).max() for s in range(20)]
    )
    assert transposed == pytest.approx(received, rel=0.2)


@pytest.mark.parametrize("family", FAMILIES)
def test_more_edges_than_pairs_is_refused(family, make_graph):
    with pytest.raises(UsageError, match=r"10 nodes has 45 pairs.*5 edges per node \(50 edges\)"):
        make_graph(family, nodes=10, k=5.0)


def test_scale_free_needs_one_edge_per_node(make_graph):
    with pytest.raises(UsageError, match="connects 1 to"):
        make_graph("scale_free", k=0.5)


def test_one_node_is_no_graph(make_graph):
    with pytest.raises(UsageError, match="at least 2 nodes"):
        make_graph(nodes=1, k=0.0)


def test_complete_graph_is_reachable(make_graph):
    assert len(make_graph("erdos_renyi", nodes=6, k=2.5).edges) == 15
    assert len(make_graph("scale_free", nodes=6, k=2.5).edges) == 15


def test_mixture_refuses_wrong_proportions():
    with pytest.raises(UsageError, match="one proportion per family"):
        mixture.Config(families=("erdos_renyi", "scale_free"), proportions=(1.0,))


def test_blocks_hold_more_edges_than_chance(make_graph):
    module = graph_family("stochastic_block")
    graph = module.sample(module.Config(blocks=2, odds_inside=20), n_nodes=60, generator=np.random.default_rng(0))
    inside = ((graph.edges < 30).sum(axis=1) != 1).mean()
    assert inside > 0.85


def test_backward_edge_is_refused():
    with pytest.raises(ValueError, match="1 -> 0 goes back"):
        CausalGraph(n_nodes=2, edges=np.array([(1, 0)]), order=np.array([0, 1]))


def test_double_edge_is_refused():
    with pytest.raises(ValueError, match="is there twice"):
        CausalGraph(n_nodes=2, edges=np.array([(0, 1), (0, 1)]), order=np.array([0, 1]))


def test_downstream_and_levels_of_a_diamond():
    diamond = CausalGraph(n_nodes=5, edges=np.array([(0, 1), (0, 2), (1, 3), (2, 3)]), order=np.array([0, 4, 1, 2, 3]))
    assert np.flatnonzero(diamond.reached([1])).tolist() == [1, 3]
    assert [level.tolist() for level in diamond.levels] == [[0, 4], [1, 2], [3]]
    assert diamond.parents(3).tolist() == [1, 2]


def test_hash_ignores_names_and_knows_direction():
    fork = CausalGraph(n_nodes=3, edges=np.array([(0, 1), (0, 2)]), order=np.arange(3))
    renamed = fork.relabelled(np.array([2, 0, 1]))
    collider = CausalGraph(n_nodes=3, edges=np.array([(0, 2), (1, 2)]), order=np.arange(3))
    assert fork.structure_hash() == renamed.structure_hash() != collider.structure_hash()
    assert fork.same_structure(renamed)
    assert not fork.same_structure(collider)


def test_rewiring_keeps_order_and_number_of_parents(make_graph):
    graph = make_graph(nodes=40, k=3)
    other = rewired(graph, 0.5, np.random.default_rng(0))
    shared = (graph.adjacency() & other.adjacency()).sum() / len(graph.edges)
    assert 0.4 < shared < 0.75
    assert np.bincount(other.edges[:, 1]).tolist() == np.bincount(graph.edges[:, 1]).tolist()
    assert np.array_equal(rewired(graph, 0.0, np.random.default_rng(0)).edges, graph.edges)
