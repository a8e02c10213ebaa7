"""The stored truth against fresh cells, and the switches that make effects unlearnable or shared."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from perturbcast.simulation import adjacency, compute_truth, design
from perturbcast.simulation.cells import condition_sizes, draw_condition

FRESH = 100_000


def moments(x):
    mean = np.asarray(x.mean(axis=0, dtype=np.float64)).ravel()
    return mean, np.asarray(x.multiply(x).mean(axis=0, dtype=np.float64)).ravel() - mean**2


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"dropout": 0.2, "batches": 3, "batch_spread": 0.5, "intervention": "knock_out"},
        {"family": "gp", "noise": "laplace"},
        {"systematic_shift": 0.3, "predictable_share": 0.4},
        {"nodes": 4, "perturbations": 2, "combinations": 1, "edges_per_node": 1.0, "graph": "erdos_renyi"},
    ],
    ids=["plain", "dropout, batches, knock-out", "gp with laplace noise", "switches", "4 genes, strongly coupled"],
)
def test_true_delta_is_the_mean_of_1e5_fresh_cells(changes, make_config):
    screen = design(make_config(truth_draws=4096, **changes))
    truth = compute_truth(screen)
    context, p = 1, len(screen.perturbations) - 1
    perturbed, variance = moments(draw_condition(screen, context, p, n=FRESH, seed=11))
    control, control_variance = moments(draw_condition(screen, context, None, n=FRESH, seed=12))
    fresh = np.sqrt((variance + control_variance) / FRESH)
    error = np.sqrt(fresh**2 + truth["delta_se"][context, p].astype(float) ** 2)
    z = (perturbed - control - truth["delta"][context, p]) / np.maximum(error, 1e-6)
    assert abs(z).max() < 4, f"a gene is {abs(z).max():.1f} standard errors off"
    assert np.sqrt(np.mean(z**2)) < 1.5
    assert truth["delta_se"][context, p].mean() < fresh.mean(), "the truth is closer than the fresh cells are"
    off = (control - truth["control_mean"][context]) / np.sqrt(
        control_variance / FRESH + truth["control_se"][context].astype(float) ** 2
    )
    assert abs(off).max() < 5


def test_truth_is_what_the_graph_says(make_config):
    screen = design(make_config(nodes=30))
    truth = compute_truth(screen)
    for context in range(2):
        graph = screen.world.graph(context)
        np.testing.assert_array_equal(adjacency(truth, context) != 0, graph.adjacency())
        edges = truth["edges"]
        here = edges["context"] == context
        np.testing.assert_array_equal(np.sign(edges["weight"][here]), edges["sign"][here])
        for p, perturbation in enumerate(screen.perturbations):
            downstream = graph.reached(perturbation.intervention.targets)
            assert not truth["total_effect"][context, p, ~downstream].any()
            assert (truth["total_effect"][context, p, list(perturbation.intervention.targets)] < -0.4).all()
    rank = np.argsort(truth["order"])
    assert (rank[truth["edges"]["parent"]] < rank[truth["edges"]["child"]]).all()


def test_linear_total_effect_is_exact(make_config):
    screen = design(make_config(family="linear", intervention="shift", context_shift=0.0, context_edges=0.0))
    truth = compute_truth(screen)
    total = np.linalg.inv(np.eye(20) - screen.world.models[0].linear_weights())
    for p, perturbation in enumerate(screen.perturbations):
        done = perturbation.intervention
        expected = sum(value * total[target] for target, value in zip(done.targets, done.values, strict=True))
        np.testing.assert_allclose(truth["total_effect"][0, p], expected, atol=1e-5)


def test_truth_does_not_depend_on_workers(make_config):
    screen = design(make_config())
    one, four = compute_truth(screen, workers=1), compute_truth(screen, workers=4)
    for name in ("delta", "delta_se", "control_mean", "total_effect"):
        assert one[name].tobytes() == four[name].tobytes()


def similarity_of_contexts(truth):
    a, b = truth["delta"][0], truth["delta"][1]
    return np.corrcoef(a.ravel(), b.ravel())[0, 1]


def test_without_predictable_share_contexts_have_nothing_in_common(make_config):
    sane = {"nodes": 40, "perturbations": 12, "combinations": 0}
    learnable = compute_truth(design(make_config(**sane)))
    drawn = compute_truth(design(make_config(**sane, predictable_share=0.0)))
    assert similarity_of_contexts(learnable) > 0.7
    assert abs(similarity_of_contexts(drawn)) < 0.1
    size = [np.sqrt((t["delta"] ** 2).mean()) for t in (learnable, drawn)]
    assert size[1] == pytest.approx(size[0], rel=0.4)
    names = [list(learnable["genes"]).index(p) for p in learnable["perturbations"]]
    own = drawn["delta"][:, np.arange(12), names]
    assert abs(own.mean()) < 0.5 * abs(learnable["delta"][:, np.arange(12), names].mean())


def test_systematic_shift_is_shared_by_all_perturbations(make_config):
    sane = {"nodes": 40, "perturbations": 10, "combinations": 0}
    plain, shifted = (compute_truth(design(make_config(**sane, systematic_shift=s)))["delta"] for s in (0.0, 0.5))
    difference = shifted - plain
    together = difference.reshape(-1, 40)
    assert np.corrcoef(together).mean() > 0.9
    mean = [delta.mean(axis=(0, 1)) for delta in (plain, shifted)]
    assert (mean[1] ** 2).sum() > 10 * (mean[0] ** 2).sum()


def test_shuffled_labels_all_have_the_mean_of_their_context(make_config):
    config = make_config(perturbations=5, combinations=0, cells=801)
    screen = design(config)
    plain = compute_truth(screen)["delta"]
    shuffled = compute_truth(dataclasses.replace(screen, config=dataclasses.replace(config, shuffle_labels=True)))
    sizes = condition_sizes(screen)[:, 1:]
    for context in range(2):
        expected = np.average(plain[context], axis=0, weights=sizes[context])
        np.testing.assert_allclose(shuffled["delta"][context], np.tile(expected, (5, 1)), atol=1e-6)
