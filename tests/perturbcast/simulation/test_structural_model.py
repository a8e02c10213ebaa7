"""do() on structural models: who moves, by how much, and that standardisation does not erase it."""

from __future__ import annotations

import numpy as np
import pytest
from CausalDisco.analytics import r2_sortability, var_sortability

from perturbcast import catalog
from perturbcast.errors import UsageError
from perturbcast.simulation import Intervention, draw_intervention, draw_model, draw_with_values
from perturbcast.simulation.families import mechanism_family
from perturbcast.simulation.mechanisms import gpcde
from perturbcast.simulation.noise import draw_noise
from perturbcast.simulation.structural_model import regrafted

FAMILIES = catalog.names("simulation.mechanisms")
ALL = slice(None)


def make_model(graph, family="linear", *, seed=0, **options):
    return draw_model(
        graph, family, mechanism_family(family).Config(), generator=np.random.default_rng(seed), **options
    )


def do(target, value, kind="hard"):
    return Intervention(kind=kind, targets=(target,), values=(value,))


def noise_of(model, n, *, seed=1):
    return draw_noise("gaussian", (model.graph.n_nodes, n), np.random.default_rng(seed))


@pytest.mark.parametrize("family", FAMILIES)
def test_observational_mean_0_and_sd_1(family, make_graph):
    for seed in range(5):
        model = make_model(make_graph(nodes=20, seed=seed), family, seed=seed, batch=20_000)
        values = model.evaluate(noise_of(model, 20_000))
        assert np.isfinite(values).all()
        assert abs(values.mean(axis=1)).max() < 0.05
        # Fourth moments set the error of an sd; cubes and squares have large ones.
        assert abs(values.std(axis=1) - 1).max() < (0.15 if family in ("square", "pnl", "mixture") else 0.05)


@pytest.mark.parametrize("family", FAMILIES)
def test_non_descendants_are_bit_equal_and_descendants_move(family, make_graph):
    for seed in range(8):
        model = make_model(make_graph(nodes=15, seed=seed), family, seed=seed, batch=1000)
        noise = noise_of(model, 300)
        base = model.evaluate(noise)
        target = int(np.bincount(model.graph.edges[:, 0], minlength=15).argmax())
        values = model.evaluate(noise, [(ALL, do(target, 2.0))])
        downstream = model.graph.reached([target])
        assert base[~downstream].tobytes() == values[~downstream].tobytes()
        children = model.graph.edges[model.graph.edges[:, 0] == target, 1]
        assert (abs(values - base)[children].mean(axis=1) > 0.02).all()
        assert (values[target] == 2.0).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_computing_only_what_is_downstream_changes_nothing(family, make_graph):
    model = make_model(make_graph(nodes=15), family, batch=1000)
    noise = noise_of(model, 200)
    blocks = [(slice(50, 100), do(3, 1.5, "shift")), (slice(100, 150), do(7, 0.2, "knock_down"))]
    np.testing.assert_array_equal(
        model.evaluate(noise, blocks), model.evaluate(noise, blocks, base=model.evaluate(noise))
    )


def test_blocks_touch_their_own_columns_only(make_chain):
    model = make_model(make_chain(3))
    noise = noise_of(model, 90)
    values = model.evaluate(noise, [(slice(30, 60), do(0, 3.0))])
    base = model.evaluate(noise)
    np.testing.assert_array_equal(values[:, :30], base[:, :30])
    np.testing.assert_array_equal(values[:, 60:], base[:, 60:])
    assert (values[2, 30:60] != base[2, 30:60]).all()


@pytest.mark.parametrize("noise", ["gaussian", "laplace"])
def test_linear_effects_are_the_inverse_of_identity_minus_weights(noise, make_graph):
    for seed in range(10):
        model = make_model(make_graph(nodes=12, seed=seed), seed=seed, noise=noise)
        total = np.linalg.inv(np.eye(12) - model.linear_weights())  # [cause, effect]
        target = int(np.bincount(model.graph.edges[:, 0], minlength=12).argmax())
        draws = noise_of(model, 4000)
        high, low = (model.evaluate(draws, [(ALL, do(target, value))]) for value in (1.5, -1.0))
        np.testing.assert_allclose((high - low).mean(axis=1) / 2.5, total[target], atol=1e-9)
        # Against *independent* observational draws: three standard errors.
        shifted = model.evaluate(noise_of(model, 4000, seed=9), [(ALL, do(target, 1.0, "shift"))])
        difference = shifted - model.evaluate(noise_of(model, 4000, seed=10))
        error = difference.std(axis=1) / np.sqrt(4000)
        assert (abs(difference.mean(axis=1) - total[target]) < 4 * error).all()


def test_standardisation_keeps_the_effect(make_chain):
    model = make_model(make_chain(4), seed=3)
    weights = model.linear_weights()
    noise = noise_of(model, 5000)
    effect = (model.evaluate(noise, [(ALL, do(0, 2.0, "shift"))]) - model.evaluate(noise)).mean(axis=1)
    expected = 2.0 * np.cumprod([1.0, weights[0, 1], weights[1, 2], weights[2, 3]])
    np.testing.assert_allclose(effect, expected, atol=1e-9)
    assert abs(effect[3]) > 0.2


def test_kinds_of_intervention_by_hand(make_chain):
    model = make_model(make_chain(2))
    noise = noise_of(model, 50)
    x = model.evaluate(noise)
    assert (model.evaluate(noise, [(ALL, do(1, -1.5))])[1] == -1.5).all()
    np.testing.assert_array_equal(model.evaluate(noise, [(ALL, do(1, 2.0, "shift"))])[1], x[1] + 2.0)
    np.testing.assert_array_equal(model.evaluate(noise, [(ALL, do(1, 0.3, "knock_down"))])[1], 0.3 * x[1])
    np.testing.assert_array_equal(model.evaluate(noise, [(ALL, do(1, 3.0, "activation"))])[1], 3.0 * x[1])
    np.testing.assert_array_equal(model.evaluate(noise, [(ALL, do(1, 1.0, "noise_only"))])[1], noise[1])
    both = Intervention(kind="hard", targets=(0, 1), values=(1.0, -2.0))
    np.testing.assert_array_equal(model.evaluate(noise, [(ALL, both)])[:, 0], [1.0, -2.0])


def test_drawn_values_are_in_sd_units_and_never_near_0():
    values = [draw_intervention("hard", (0,), np.random.default_rng(s)).values[0] for s in range(200)]
    assert min(abs(v) for v in values) >= 1
    assert 0.3 < np.mean([v > 0 for v in values]) < 0.7
    factors = [draw_intervention("knock_down", (0,), np.random.default_rng(s)).values[0] for s in range(200)]
    assert 0.1 <= min(factors) < max(factors) <= 0.5


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "erase"}, "'erase' is not"),
        ({"targets": (2, 1), "values": (1.0, 1.0)}, "ascending"),
        ({"targets": ()}, "at least one"),
        ({"values": (float("nan"),)}, "finite"),
        ({"kind": "knock_down", "values": (1.5,)}, "lie in 0 to 1"),
    ],
    ids=["kind", "order", "no target", "nan", "factor"],
)
def test_impossible_interventions_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        Intervention(**{"kind": "hard", "targets": (1,), "values": (1.0,), **fields})


def test_sortability_as_published(make_graph):
    # Linear models at d = 20: raw variances give the order away, z-scoring leaves R2 high, iSCM does not.
    raw_variance, z_scored, internal = [], [], []
    for seed in range(20):
        graph = make_graph("erdos_renyi", nodes=20, k=2, seed=seed)
        raw = make_model(graph, seed=seed, standardise=False)
        x = raw.evaluate(noise_of(raw, 2000)).T
        raw_variance.append(var_sortability(x, graph.adjacency()))
        z_scored.append(r2_sortability(x / x.std(axis=0), graph.adjacency()))
        model = make_model(graph, seed=seed)
        internal.append(r2_sortability(model.evaluate(noise_of(model, 2000)).T, graph.adjacency()))
    assert np.mean(raw_variance) > 0.9
    assert 0.77 - 0.05 < np.mean(z_scored) < 0.92 + 0.05
    assert np.mean(internal) < 0.65


def test_exact_draw_is_joint_and_refuses_other_rows(make_graph):
    graph = make_graph(nodes=6)
    noise = draw_noise("gaussian", (6, 240), np.random.default_rng(0))
    target = int(np.bincount(graph.edges[:, 0], minlength=6).argmax())
    noise[:, 120:] = noise[:, :120]
    model, values = draw_with_values(
        graph,
        "gpcde",
        gpcde.Config(exact=True),
        noise=noise,
        generator=np.random.default_rng(0),
        blocks=[(slice(120, 240), do(target, 2.0))],
    )
    downstream = model.graph.reached([target])
    # One function for both environments: the same input rows give the same value, up to the jitter on the diagonal.
    np.testing.assert_allclose(values[~downstream, :120], values[~downstream, 120:], atol=0.02)
    assert (abs(values[downstream, :120] - values[downstream, 120:]).mean(axis=1) > 0.05).all()
    with pytest.raises(ValueError, match="exists for the rows that it was drawn for"):
        model.evaluate(noise)


def test_square_without_standardisation_is_refused(make_chain):
    with pytest.raises(ValueError, match="Standardise inside the model"):
        make_model(make_chain(8), "square", standardise=False)


def test_unknown_family_names_the_known_ones(make_chain):
    with pytest.raises(UsageError, match=r"'linaer' is unknown. Did you mean 'linear'"):
        draw_model(make_chain(), "linaer", None, generator=np.random.default_rng(0))


def test_linear_weights_of_another_family_are_refused(make_chain):
    with pytest.raises(ValueError, match="node 1 is 'gp'"):
        make_model(make_chain(2), "gp").linear_weights()


def test_slopes_of_a_linear_model_are_its_weights(make_graph):
    model = make_model(make_graph(nodes=8))
    noise = noise_of(model, 200)
    mean, error = model.slopes(model.evaluate(noise), noise)
    parent, child = model.graph.edges.T
    np.testing.assert_allclose(mean, model.linear_weights()[parent, child], atol=1e-9)
    assert error.max() < 1e-9


def test_regrafting_keeps_mechanisms_of_unchanged_nodes(make_graph):
    from perturbcast.simulation.rewiring import rewired

    graph = make_graph(nodes=20)
    generator = np.random.default_rng(0)
    noise = draw_noise("gaussian", (20, 500), generator)
    config = mechanism_family("gp").Config()
    model, values = draw_with_values(graph, "gp", config, noise=noise, generator=generator)
    other_graph = rewired(graph, 0.3, np.random.default_rng(1))
    other = regrafted(
        model, other_graph, "gp", config, noise=noise, values=values, offset=np.zeros(20), generator=generator
    )
    same = [np.array_equal(graph.parents(i), other_graph.parents(i)) for i in range(20)]
    assert [a is b for a, b in zip(model.mechanisms, other.mechanisms, strict=True)] == same
    assert 0 < sum(same) < 20
