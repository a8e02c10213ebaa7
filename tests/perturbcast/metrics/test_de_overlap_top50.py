"""The DE score asks for the truth's surest genes and cannot be bought with dispersion."""

from __future__ import annotations

import numpy as np
import pytest

from perturbcast.metrics import de_overlap_top50
from perturbcast.metrics.de_overlap_top50 import Config, chance, score


def test_overlap_by_hand(make_comparison):
    # truly differential: genes 0, 1, 2 (z = 10, 8, 6); the prediction's three surest are 0, 3, 4
    comparison = make_comparison(
        delta=[[1.0, 0.8, 0.6, 0.0, 0.0, 0.0]], predicted_delta=[[1.0, 0.0, 0.1, 0.5, 0.4, 0.0]], error=0.01
    )
    np.testing.assert_allclose(score(comparison, Config()), [1 / 3])
    np.testing.assert_allclose(chance(comparison, Config()), [3 / 6])


def test_at_most_fifty_genes_are_asked_for(make_comparison):
    delta = np.concatenate([np.linspace(2, 1, 80), np.zeros(20)])[None, :]
    predicted = delta.copy()
    predicted[0, :25] = 0.0  # misses 25 of the truth's top 50
    np.testing.assert_allclose(score(make_comparison(delta=delta, predicted_delta=predicted), Config()), [0.5])
    np.testing.assert_allclose(chance(make_comparison(delta=delta), Config()), [0.5])


def test_the_surest_genes_are_not_the_largest(make_comparison):
    # gene 0 changes most but is measured badly; gene 1 is the surest
    comparison = make_comparison(delta=[[3.0, 1.0, 0.0]], predicted_delta=[[0.0, 1.0, 0.0]], error=[[9.0, 0.01, 0.01]])
    assert score(comparison, Config()).tolist() == [1.0]


def test_the_prediction_is_ranked_by_the_truths_standard_error(make_comparison):
    # its largest delta is on the badly measured gene 2 (2 / 3), its surest on the true gene 0 (0.5 / 0.1)
    comparison = make_comparison(delta=[[1.0, 0.0, 0.0]], predicted_delta=[[0.5, 0.0, 2.0]], error=[[0.01, 0.01, 9.0]])
    assert score(comparison, Config()).tolist() == [1.0]


def test_ties_share_the_places_left(make_comparison):
    # one true gene; the prediction is the same for all four: a quarter of a place each
    comparison = make_comparison(delta=[[1.0, 0.0, 0.0, 0.0]], predicted_delta=[[0.5, 0.5, 0.5, 0.5]])
    np.testing.assert_allclose(score(comparison, Config()), [0.25])


def test_scaling_the_prediction_changes_nothing(make_comparison):
    rng = np.random.default_rng(0)
    delta = rng.normal(size=(5, 40))
    predicted = delta + rng.normal(size=delta.shape)
    plain, scaled = (make_comparison(delta=delta, predicted_delta=f * predicted) for f in (1.0, 7.0))
    np.testing.assert_array_equal(score(plain, Config()), score(scaled, Config()))


def test_a_condition_without_true_change_is_undefined(make_comparison):
    comparison = make_comparison(delta=[[0.01, 0.0], [1.0, 0.0]])
    assert np.isnan(score(comparison, Config())).tolist() == [True, False]
    assert np.isnan(chance(comparison, Config())).tolist() == [True, False]


def test_genes_that_never_vary_take_no_part(make_comparison):
    # a claim about a silent gene is neither asked for nor able to push out another
    comparison = make_comparison(delta=[[1.0, 0.0, 0.0]], predicted_delta=[[1.0, 99.0, 0.0]], error=[[0.01, 0.0, 0.01]])
    assert score(comparison, Config()).tolist() == [1.0]


def test_exact_means_without_spread_reach_the_optimum(make_comparison):
    # the case that per-cell tests on predicted cells score near 0: every predicted cell is the exact mean
    delta = np.random.default_rng(1).normal(size=(4, 60))
    exact = make_comparison(delta=delta, predicted_cells=[np.tile(2 + d, (30, 1)) for d in delta])
    assert score(exact, Config()).tolist() == [1.0] * 4


def test_needs_means_only():
    assert de_overlap_top50.METRIC.needs == "means"
    with pytest.raises(TypeError):
        Config(top=10)
