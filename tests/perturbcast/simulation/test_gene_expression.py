"""Hill networks: steady states by hand, effects that travel, and the half-saturation that stays put."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from perturbcast.simulation import CausalGraph, Intervention, gene_expression
from perturbcast.simulation.gene_expression import Config, GeneExpression, Network

ALL = slice(None)


def make_world(graph, *, strength=None, basal=None, half=None, seed=0, contexts=1, **fields):
    """A drawn world, or the stated network where strength, basal and half are given."""
    config = Config(**fields)
    if strength is None:
        return gene_expression.build(graph, config, n_contexts=contexts, seed=np.random.SeedSequence(seed))
    network = Network(graph=graph, strength=np.array(strength), basal=np.array(basal))
    return GeneExpression(config=config, networks=(network,), half=np.array(half), abundance=np.ones(graph.n_nodes))


def knock(target, value=0.2):
    return Intervention(kind="knock_down", targets=(target,), values=(value,))


def test_steady_state_of_a_chain_by_hand(make_chain):
    # 0 activates 1 (K = 3), 1 represses 2 (K = 2); decay 0.5, n = 2.
    world = make_world(
        make_chain(3), strength=[3.0, -2.0], basal=[1.0, 0.5, 0.1], half=[2.0, 4.0, 1.0], decay=0.5, noise=0.0
    )
    x0 = 1.0 / 0.5
    x1 = (0.5 + 3 * x0**2 / (2**2 + x0**2)) / 0.5
    x2 = (0.1 + 2 * (1 - x1**2 / (4**2 + x1**2))) / 0.5
    np.testing.assert_allclose(world.latent(0, np.zeros((3, 2), dtype=np.float32))[:, 0], [x0, x1, x2], rtol=1e-6)
    halved = 0.5 * x0
    y1 = (0.5 + 3 * halved**2 / (4 + halved**2)) / 0.5
    down = world.latent(0, np.zeros((3, 2), dtype=np.float32), [(ALL, knock(0, 0.5))])
    np.testing.assert_allclose(down[:2, 0], [halved, y1], rtol=1e-6)
    assert down[2, 0] > x2  # less of a repressor


def test_other_hill_exponents_by_hand(make_chain):
    world = make_world(make_chain(2), strength=[3.0], basal=[1.0, 0.5], half=[2.0, 1.0], decay=1.0, hill=4.0, noise=0.0)
    expected = 0.5 + 3 * 1 / (2.0**4 + 1)
    assert world.latent(0, np.zeros((2, 1), dtype=np.float32))[1, 0] == pytest.approx(expected, rel=1e-6)


def test_spread_is_that_of_the_linear_noise_approximation(make_chain):
    world = make_world(make_chain(2), strength=[1.0], basal=[2.0, 1.0], half=[1.0, 1.0], decay=0.8, noise=0.5)
    x = world.latent(0, world.noise(400_000, np.random.default_rng(0)))[0].astype(np.float64)
    assert x.mean() == pytest.approx(2 / 0.8, rel=0.005)
    assert x.var() == pytest.approx(0.5**2 * 2 / 0.8, rel=0.02)


def test_regulators_are_half_open_in_the_reference_network(make_graph):
    graph = make_graph("scale_free_transposed", nodes=30)
    world = make_world(graph, context_shift=0.0, context_edges=0.0, noise=0.0)
    steady = world.latent(0, np.zeros((30, 1), dtype=np.float32))[:, 0]
    np.testing.assert_allclose(steady, world.half, rtol=1e-5)


def test_knock_down_moves_children_and_travels_further(make_graph):
    moved_far = 0
    for seed in range(20):
        graph = make_graph("scale_free_transposed", nodes=40, seed=seed)
        world = make_world(graph, seed=seed)
        target = int(np.bincount(graph.edges[:, 0], minlength=40).argmax())
        noise = world.noise(500, np.random.default_rng(seed))
        wild = world.latent(0, noise)
        effect = world.effect(world.latent(0, noise, [(ALL, knock(target))]), wild)
        own = world.graph(0)
        children = set(own.edges[own.edges[:, 0] == target, 1])
        further = set(np.flatnonzero(own.reached([target]))) - children - {target}
        # A child may be reached with both signs at once; estimating the half-saturation again leaves all at 0.
        assert min(abs(effect[list(children)])) > 0.01
        assert np.median(abs(effect[list(children)])) > 0.1
        moved_far += any(abs(effect[gene]) > 0.02 for gene in further)
        outside = ~own.reached([target])
        assert not effect[outside].any()
    assert moved_far >= 18


def test_children_of_a_knock_down_follow_its_sign(make_chain):
    for strength, sign in ((3.0, -1), (-3.0, 1)):
        world = make_world(make_chain(2), strength=[strength], basal=[2.0, 0.5], half=[2.5, 1.0])
        noise = world.noise(200, np.random.default_rng(0))
        effect = world.effect(world.latent(0, noise, [(ALL, knock(0))]), world.latent(0, noise))
        assert np.sign(effect[1]) == sign
        assert effect[0] == pytest.approx(-0.8, abs=0.05)


def test_knock_out_leaves_no_molecule(make_graph):
    world = make_world(make_graph("scale_free_transposed", nodes=20))
    noise = world.noise(100, np.random.default_rng(0))
    silent = world.latent(0, noise, [(ALL, world.intervention("knock_out", (5,), np.random.default_rng(0)))])
    assert not silent[5].any()
    assert np.isfinite(silent).all()


def test_non_descendants_are_bit_equal_and_downstream_only_is_the_same(make_graph):
    graph = make_graph("scale_free_transposed", nodes=40)
    world = make_world(graph, contexts=2)
    noise = world.noise(300, np.random.default_rng(0))
    wild = world.latent(1, noise)
    for target in range(0, 40, 7):
        blocks = [(slice(100, 300), knock(target))]
        whole = world.latent(1, noise, blocks)
        outside = ~world.graph(1).reached([target])
        assert whole[outside].tobytes() == wild[outside].tobytes()
        assert whole[:, :100].tobytes() == wild[:, :100].tobytes()
        np.testing.assert_array_equal(world.latent(1, noise, blocks, base=wild), whole)


def test_one_more_context_leaves_the_others(make_graph):
    graph = make_graph(nodes=20)
    two, three = (make_world(graph, contexts=n) for n in (2, 3))
    noise = two.noise(50, np.random.default_rng(0))
    np.testing.assert_array_equal(two.latent(1, noise), three.latent(1, noise))
    np.testing.assert_array_equal(two.half, three.half)


def test_contexts_differ_in_baseline_edges_and_effects(make_graph):
    graph = make_graph("scale_free_transposed", nodes=40)
    world = make_world(graph, contexts=2, context_edges=0.3)
    a, b = (set(map(tuple, world.graph(c).edges.tolist())) for c in (0, 1))
    assert 0.2 < len(a & b) / len(a) < 0.9
    noise = world.noise(300, np.random.default_rng(0))
    target = int(np.bincount(graph.edges[:, 0]).argmax())
    effects = [world.effect(world.latent(c, noise, [(ALL, knock(target))]), world.latent(c, noise)) for c in (0, 1)]
    assert 0.2 < np.corrcoef(*effects)[0, 1] < 0.99
    same = make_world(graph, contexts=2, context_edges=0.0, context_shift=0.0)
    np.testing.assert_array_equal(same.latent(0, noise), same.latent(1, noise))


def test_basal_rate_of_zero_is_refused(make_chain):
    with pytest.raises(ValueError, match="Every basal rate is positive"):
        make_world(make_chain(2), strength=[1.0], basal=[1.0, 0.0], half=[1.0, 1.0])


def test_signs_and_weights_belong_to_edges():
    graph = CausalGraph(n_nodes=3, edges=np.array([(1, 2), (0, 2)]), order=np.arange(3))
    world = make_world(graph, strength=[2.0, -1.5], basal=[1.0, 1.0, 1.0], half=[1.0, 1.0, 1.0])
    weight, sign = world.weights(0)
    assert dict(zip(map(tuple, graph.edges.tolist()), weight, strict=True)) == {(0, 2): 2.0, (1, 2): -1.5}
    assert sign.tolist() == [1, -1]
    assert dataclasses.is_dataclass(world)
