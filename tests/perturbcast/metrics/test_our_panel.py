"""Our own metrics against values worked out by hand, and their undefined cases."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as reference

from perturbcast.metrics import panel
from perturbcast.metrics.de_ranking import de_weights
from perturbcast.metrics.sliced_wasserstein import Config, crossed_distance

MEASURES = {measure.metric.id: measure for measure in panel("perturbcast")}


def _score(name, comparison):
    return MEASURES[f"perturbcast.{name}@1"].score(comparison)


def test_weights_by_hand(make_comparison):
    # |t| = 1, 5, 3: 0, 1, 0.5 of the range; squared 0, 1, 0.25 of 1.25
    comparison = make_comparison(delta=[[0.1, -0.5, 0.3]], error=0.01)
    np.testing.assert_allclose(de_weights(comparison.truth), [[0.0, 0.8, 0.2]])


def test_weights_of_equal_and_of_no_change(make_comparison):
    truth = make_comparison(delta=[[0.5, 0.5], [0.0, 0.0]]).truth
    np.testing.assert_allclose(de_weights(truth), [[0.5, 0.5], [0.0, 0.0]])


def test_weighted_error_and_r2_by_hand(make_comparison):
    # weights 0, 0.8, 0.2; errors 9, 0.1, 0.3: 0.8 * 0.01 + 0.2 * 0.09
    comparison = make_comparison(delta=[[0.1, -0.5, 0.3]], predicted_delta=[[9.1, -0.4, 0.6]], error=0.01)
    np.testing.assert_allclose(_score("weighted_mse", comparison), [0.026])
    # weighted mean -0.34; spread 0.8 * 0.16^2 + 0.2 * 0.64^2 = 0.1024
    np.testing.assert_allclose(_score("weighted_r2_delta", comparison), [1 - 0.026 / 0.1024])


def test_weighted_r2_is_that_of_scikit_learn(make_comparison):
    rng = np.random.default_rng(0)
    delta, guess = rng.normal(size=(2, 5, 30))
    comparison = make_comparison(delta=delta, predicted_delta=guess, error=rng.random((5, 30)))
    weights = de_weights(comparison.truth)
    expected = [reference.r2_score(d, g, sample_weight=w) for d, g, w in zip(delta, guess, weights, strict=True)]
    np.testing.assert_allclose(_score("weighted_r2_delta", comparison), expected)


def test_weighted_scores_ask_nothing_where_nothing_changed(make_comparison):
    comparison = make_comparison(delta=[[0.0, 0.0, 0.0], [0.5, 0.5, 0.5], [0.1, 0.5, 0.3]])
    assert np.isnan(_score("weighted_mse", comparison)).tolist() == [True, False, False]
    assert np.isnan(_score("weighted_r2_delta", comparison)).tolist() == [True, True, False]


def test_the_perturbed_reference_takes_off_what_train_has_in_common(make_comparison):
    rng = np.random.default_rng(0)
    shared, own = rng.normal(size=50), 0.1 * rng.normal(size=(4, 50))
    comparison = make_comparison(delta=shared + own, predicted_delta=np.tile(shared, (4, 1)), train_mean=2 + shared)
    assert (_score("pearson_delta_control", comparison) > 0.98).all()
    assert _score("pearson_delta_perturbed", comparison).tolist() == [0.0] * 4
    assert np.isnan(_score("pearson_delta_perturbed", make_comparison(delta=np.eye(3)))).all()


def test_inverse_rank_by_hand(make_comparison):
    # truths 0, 1, 5; predictions 0.9, 1.2, 0.1. Condition 0: 0.1 is nearer than its own 0.9, 1.2 is not
    comparison = make_comparison(delta=[[0.0], [1.0], [5.0]], predicted_delta=[[0.9], [1.2], [0.1]])
    assert _score("normalised_inverse_rank", comparison).tolist() == [0.5, 0.5, 0.0]
    alone = make_comparison(delta=[[0.0], [1.0]], contexts=["a", "b"])
    assert np.isnan(_score("normalised_inverse_rank", alone)).all()


@pytest.mark.parametrize("n", [2, 3, 10])
def test_a_constant_ranks_at_one_half_on_every_condition(make_comparison, n):
    delta = np.random.default_rng(n).normal(size=(n, 20))
    comparison = make_comparison(delta=delta, predicted_delta=np.tile(delta.mean(axis=0), (n, 1)))
    assert _score("normalised_inverse_rank", comparison).tolist() == [0.5] * n


def test_areas_are_those_of_scikit_learn(make_comparison):
    rng = np.random.default_rng(0)
    delta = np.where(rng.random((4, 60)) < 0.3, 1.0, 0.0)
    guess = np.round(delta + rng.normal(size=delta.shape), 1)  # with ties
    comparison = make_comparison(delta=delta, predicted_delta=guess, control=0.0)  # 0 keeps the ties
    for name, area in (("average_precision", reference.average_precision_score), ("roc_auc", reference.roc_auc_score)):
        expected = [area(d > 0, np.abs(g)) for d, g in zip(delta, guess, strict=True)]
        np.testing.assert_allclose(_score(f"de_recovery_{name}", comparison), expected)


def test_recovery_divides_by_the_truths_standard_error(make_comparison):
    # the largest predicted effect is on gene 2, which is measured badly; the surest is on the true gene 0
    comparison = make_comparison(delta=[[1.0, 0.0, 0.0]], predicted_delta=[[0.5, 0.0, 2.0]], error=[[0.01, 0.01, 9.0]])
    assert _score("de_recovery_average_precision", comparison).tolist() == [1.0]


def test_recovery_leaves_out_genes_that_never_vary(make_comparison):
    comparison = make_comparison(delta=[[1.0, 0.0, 5.0]], predicted_delta=[[0.5, 0.1, 9.0]], error=[[0.01, 0.01, 0.0]])
    assert _score("de_recovery_average_precision", comparison).tolist() == [1.0]
    measure = MEASURES["perturbcast.de_recovery_average_precision@1"]
    assert measure.of_rule(measure.metric.chance, comparison).tolist() == [0.5]
    everything = make_comparison(delta=[[1.0, 1.0], [0.0, 0.0]])
    assert np.isnan(_score("de_recovery_roc_auc", everything)).all(), "all, or none, are differential"


def test_sliced_distance_by_hand():
    # one direction; halves by turns: a 0 4 | 1 5, b 10 14 | 11 15. Across 11 + 9, within 1 + 1
    a, b = np.array([[0.0], [1.0], [4.0], [5.0]]), np.array([[10.0], [11.0], [14.0], [15.0]])
    assert crossed_distance(a, b) == pytest.approx((11 + 9 - 1 - 1) / 2)
    assert crossed_distance(a, a) == 0.0
    assert crossed_distance(a, b[:3]) == pytest.approx((11 + 9 - 1 - 1) / 2), "two cells of each are left"


@pytest.mark.parametrize("genes", [2, 50, 2000])
def test_sliced_distance_of_two_samples_is_zero_within_the_standard_error(make_comparison, genes):
    rng = np.random.default_rng(genes)
    groups = np.maximum(rng.normal(size=(2, 40, 20, genes)), 0)
    comparison = make_comparison(
        delta=np.zeros((40, genes)), cells=list(groups[0]), predicted_cells=list(groups[1]), control_cells=[]
    )
    values = _score("sliced_wasserstein", comparison)
    error = values.std(ddof=1) / np.sqrt(len(values))
    assert abs(values.mean()) < 3 * error
    # without the correction it is far from 0
    projected = groups[:, 0] @ np.linalg.qr(rng.normal(size=(genes, 2)))[0]
    assert np.abs(np.diff(np.sort(projected, axis=1), axis=0)).mean() > 5 * error


def test_sliced_distance_sees_means_and_spreads(make_comparison):
    rng = np.random.default_rng(0)
    truth, right, moved = rng.normal(size=(3, 150, 30))
    wide = 3 * rng.normal(size=(150, 30))
    predicted = [right, moved + 1.0, wide]
    comparison = make_comparison(
        delta=np.zeros((3, 30)), cells=[truth] * 3, predicted_cells=predicted, control_cells=[]
    )
    same, far, spread = _score("sliced_wasserstein", comparison)
    assert abs(same) < 0.05
    assert far > 0.3
    assert spread > 0.3


def test_one_cell_has_no_halves(make_comparison):
    cells = [np.ones((1, 3)), np.eye(3)]
    comparison = make_comparison(
        delta=np.zeros((2, 3)), cells=cells, predicted_cells=[np.eye(3), np.eye(3)], control_cells=[]
    )
    assert np.isnan(_score("sliced_wasserstein", comparison)).tolist() == [True, False]


def test_directions_have_length_one_and_a_seed(make_comparison):
    from perturbcast.metrics.sliced_wasserstein import _directions

    directions = _directions(50, Config())
    np.testing.assert_allclose(np.linalg.norm(directions, axis=0), 1.0, rtol=1e-6)
    np.testing.assert_array_equal(directions, _directions(50, Config()))
    assert not np.array_equal(directions, _directions(50, Config(seed=1)))
