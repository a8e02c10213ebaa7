"""Metrics of the reference panels against values worked out by hand, and their undefined cases."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from perturbcast.evaluation.cells import MeasuredCells, MovedCells
from perturbcast.metrics import Comparison, panel
from perturbcast.metrics.ranks import membership, mid_ranks, position, spearman

MEASURES = {measure.metric.id: measure for measure in panel("all")}


def _score(metric_id, comparison):
    return MEASURES[f"{metric_id}@1"].score(comparison)


def test_position_counts_ties_half():
    distances = np.array([[0.0, 1.0, 1.0, 2.0]] * 4)
    assert position(distances, np.arange(4), tie=0.0).tolist() == [0.0, 1.5, 1.5, 3.0]


def test_membership_shares_the_edge():
    assert membership(np.array([5.0, 1.0, 1.0, 0.0]), 2).tolist() == [1.0, 0.5, 0.5, 0.0]


def test_spearman_by_hand_and_undefined():
    assert mid_ranks(np.array([3.0, 1.0, 3.0])).tolist() == [2.5, 1.0, 2.5]
    # ranks (1, 2, 3) and (1, 3, 2): 1 - 6 * 2 / (3 * 8)
    assert spearman(np.array([1.0, 2.0, 9.0]), np.array([0.0, np.inf, 5.0])) == pytest.approx(0.5)
    assert np.isnan(spearman(np.array([1.0, 2.0]), np.array([1.0, 1.0])))
    assert np.isnan(spearman(np.array([1.0]), np.array([1.0])))


def test_squared_and_absolute_errors(make_comparison):
    comparison = make_comparison(delta=[[3.0, 0.0]], predicted_delta=[[0.0, 4.0]])
    for name in ("perturbench.mse_average", "celleval.mse", "celleval.mse_delta", "scperturbench.mse_all"):
        assert _score(name, comparison).tolist() == [12.5]
    for name in ("perturbench.mae_average", "celleval.mae_delta"):
        assert _score(name, comparison).tolist() == [3.5]
    assert _score("gears.l2_top1000", comparison).tolist() == [5.0]


def test_r2_divides_by_the_spread_of_the_prediction(make_comparison):
    # control 2: truth (3, 2, 1), prediction (4, 2, 0): error 2 over spread 8
    comparison = make_comparison(delta=[[1.0, 0.0, -1.0]], predicted_delta=[[2.0, 0.0, -2.0]])
    np.testing.assert_allclose(_score("perturbench.r2_score_average", comparison), [0.75])
    flat = make_comparison(delta=[[1.0, 0.0, -1.0], [1.0, 1.0, 1.0]], predicted_delta=[[0.0] * 3, [1.0] * 3])
    assert _score("perturbench.r2_score_average", flat).tolist() == [0.0, 1.0]


def test_rank_by_rmse_of_swapped_answers(make_comparison):
    delta = np.array([[0.0], [1.0], [5.0]])
    comparison = make_comparison(delta=delta, predicted_delta=delta[[1, 0, 2]])
    np.testing.assert_allclose(_score("perturbench.rmse_rank_average", comparison), [1 / 3, 1 / 3, 0.0])


@pytest.mark.parametrize("distance", ["l1", "l2", "cosine"])
def test_discrimination_of_swapped_answers(make_comparison, distance):
    delta = np.array([[1.0, 0.2, 0.0], [0.2, 1.0, 0.0], [-5.0, -5.0, 0.0]])
    comparison = make_comparison(delta=delta, predicted_delta=delta[[1, 0, 2]])
    np.testing.assert_allclose(
        _score(f"celleval.discrimination_score_{distance}", comparison), [2 / 3, 2 / 3, 1.0], atol=1e-12
    )


def test_discrimination_leaves_the_target_out_of_its_own_query(make_comparison):
    # G0's prediction is nearer to the truth of B but for gene G0, which is not looked at
    options = {"delta": [[-9.0, 1.0], [0.0, 3.0]], "predicted_delta": [[0.0, 1.0], [0.0, 3.0]], "labels": ["G0", "B"]}
    comparison = make_comparison(**options)
    measure = MEASURES["celleval.discrimination_score_l2@1"]
    assert measure.score(comparison).tolist() == [1.0, 1.0]
    config = type(measure.config)(distance="l2", exclude_target=False)
    assert measure.module.score(comparison, config).tolist() == [0.5, 1.0]


def test_all_genes_give_a_constant_exactly_chance(make_comparison):
    rng = np.random.default_rng(0)
    delta = rng.normal(size=(9, 30))
    delta[np.arange(9), np.arange(9)] -= 8.0  # each target is what moves most
    labels = [f"G{k}" for k in range(9)]
    comparison = make_comparison(delta=delta, predicted_delta=np.tile(delta.mean(axis=0), (9, 1)), labels=labels)
    measure = MEASURES["celleval.discrimination_score_l1@1"]
    chance = measure.of_rule(measure.metric.chance, comparison)
    assert measure.score(comparison).mean() > chance.mean() + 0.1, "the reference lifts a constant predictor"
    config = type(measure.config)(exclude_target=False)
    assert measure.module.score(comparison, config).mean() == pytest.approx(chance.mean(), abs=1e-12)


def test_centroid_accuracy_by_hand(make_comparison):
    # the prediction 1.2 of condition 0 is farther from 0 than from 1, nearer than to 5: one of two others
    comparison = make_comparison(delta=[[0.0], [1.0], [5.0]], predicted_delta=[[1.2], [1.0], [2.9]])
    assert _score("systema.centroid_accuracy", comparison).tolist() == [0.5, 1.0, 0.5]


def test_the_perturbed_reference_pays_nothing_for_the_shared_effect(make_comparison):
    rng = np.random.default_rng(0)
    shared, own = rng.normal(size=50), 0.1 * rng.normal(size=(4, 50))
    comparison = make_comparison(delta=shared + own, predicted_delta=np.tile(shared, (4, 1)), train_mean=2 + shared)
    assert (_score("systema.pearson_delta_control", comparison) > 0.98).all()
    assert _score("systema.pearson_delta_perturbed", comparison).tolist() == [0.0] * 4


def test_the_perturbed_reference_needs_the_train_mean(make_comparison):
    assert np.isnan(_score("systema.pearson_delta_perturbed", make_comparison(delta=np.eye(3)))).all()


def test_top_sets_are_chosen_by_the_truths_t(make_comparison):
    # 25 genes; the last five are the least sure, and the prediction is wrong in those alone
    error = np.r_[np.full(20, 0.01), np.full(5, 100.0)]
    wrong = np.ones((1, 25))
    wrong[0, 20:] = -7.0
    comparison = make_comparison(delta=np.ones((1, 25)), predicted_delta=wrong, error=[error])
    assert _score("gears.mse_top20_de", comparison).tolist() == [0.0]
    assert _score("scperturbench.mse_top100", comparison)[0] == pytest.approx(5 * 64 / 25)


def test_interaction_magnitude_by_hand(make_comparison):
    # A + B is measured as d_a + d_b (magnitude sqrt 2) and predicted as 3 d_a + 4 d_b (magnitude 5)
    a, b = np.array([1.0, 0.0, 1.0]), np.array([0.0, 1.0, 1.0])
    comparison = make_comparison(
        delta=[a, b, a + b, a], predicted_delta=[a, b, 3 * a + 4 * b, a], labels=["A", "B", "A+B", "A+C"]
    )
    scores = _score("gears.genetic_interaction_magnitude", comparison)
    assert np.isnan(scores).tolist() == [True, True, False, True]
    assert scores[2] == pytest.approx(5 - np.sqrt(2))


def _groups(*means, n=60, genes=8, seed=0):
    rng = np.random.default_rng(seed)
    return [mean + rng.gamma(2.0, size=(n, genes)) for mean in means]


def test_top_sets_of_significant_genes_by_hand(make_comparison):
    # measured: genes 0, 1, 2 up by 4, 3, 2; predicted: 0, 3 and 1, in that order
    measured, predicted = (np.zeros(8) for _ in range(2))
    measured[:3], predicted[[0, 3, 1]] = (4.0, 3.0, 2.0), (4.0, 3.0, 2.0)
    controls = _groups(0.0)[0]
    cells, guess = controls + measured, controls + predicted  # genes without an effect are the same: p = 1
    comparison = make_comparison(
        delta=[cells.mean(axis=0) - controls.mean(axis=0)],
        predicted_delta=[guess.mean(axis=0) - controls.mean(axis=0)],
        control=[controls.mean(axis=0)],
        cells=[cells],
        predicted_cells=[guess],
        control_cells=[controls],
    )
    assert _score("celleval.de_nsig_counts_real", comparison).tolist() == [3.0]
    assert _score("celleval.de_nsig_counts_pred", comparison).tolist() == [3.0]
    for name in ("celleval.overlap_at_N", "celleval.precision_at_500", "celleval.de_sig_genes_recall"):
        np.testing.assert_allclose(_score(name, comparison), [2 / 3])
    measure = MEASURES["celleval.overlap_at_N@1"]
    # the top two of the truth are 0 and 1, those of the prediction 0 and 3
    assert measure.module.score(comparison, type(measure.config)(top=2)).tolist() == [0.5]


def test_no_significant_gene_is_listed_and_not_counted(make_comparison):
    cells, controls = _groups(0.0, 0.0)
    comparison = make_comparison(
        delta=np.zeros((1, 8)), cells=[controls], predicted_cells=[cells], control_cells=[controls]
    )
    for name in ("overlap_at_N", "precision_at_50"):
        measure = MEASURES[f"celleval.{name}@1"]
        assert measure.score(comparison).tolist() == [0.0]
        assert measure.metric.counts(comparison, measure.config).tolist() == [False]
    for name in ("de_sig_genes_recall", "de_direction_match", "de_spearman_lfc_sig", "pr_auc", "roc_auc"):
        assert np.isnan(_score(f"celleval.{name}", comparison)).all(), name


def test_e_distance_of_the_v_statistic_by_hand(make_comparison):
    # |a - b| = 3, 4, 2, 3: mean 3; |a - a'| over all four pairs with the zeros: 1/2 on either side
    a, b = np.array([[0.0], [1.0]]), np.array([[3.0], [4.0]])
    comparison = make_comparison(delta=[[1.0]], cells=[a], predicted_cells=[b], control_cells=[b])
    assert _score("scperturbench.edistance_all", comparison)[0] == pytest.approx(2 * 3 - 0.5 - 0.5)


def test_divergence_of_gaussians_by_hand(make_comparison):
    # means 0 and 2, both with standard deviation 1: KL + KL = 2 + 2; log2(1 + 4)
    a, b = np.array([[-1.0], [1.0]]), np.array([[1.0], [3.0]])
    comparison = make_comparison(delta=[[1.0]], cells=[a], predicted_cells=[b], control_cells=[b])
    assert _score("scperturbench.sym_kldiv_all", comparison)[0] == pytest.approx(np.log2(5), rel=1e-6)


def test_transport_between_far_points_is_their_squared_distance(make_comparison):
    a, b = np.full((3, 2), 1.0), np.full((4, 2), 4.0)
    comparison = make_comparison(delta=[[1.0, 1.0]], cells=[a], predicted_cells=[b], control_cells=[b])
    assert _score("scperturbench.wasserstein_top100", comparison)[0] == pytest.approx(18.0)
    measure = MEASURES["scperturbench.wasserstein_top100@1"]
    assert measure.of_rule(measure.metric.optimum, comparison).tolist() == [0.0]


def test_far_conditions_are_predicted_far(make_comparison):
    cells = _groups(0.5, 1.0, 3.0, seed=1)
    controls = _groups(0.0, seed=2)[0]
    options = {"delta": np.zeros((3, 8)), "cells": cells, "control_cells": [controls] * 3}
    right = make_comparison(predicted_cells=cells, **options)
    turned = make_comparison(predicted_cells=cells[::-1], **options)
    np.testing.assert_allclose(_score("celleval.pearson_edistance", right), 1.0)
    assert (_score("celleval.pearson_edistance", turned) < 0).all()
    same = make_comparison(predicted_cells=[controls] * 3, **options)
    assert _score("celleval.pearson_edistance", same).tolist() == [0.0] * 3


def test_scaled_means_by_hand(make_comparison):
    # all cells of the truth: 0, 0, 2, 2 (sd 2 / sqrt 3), so means of 2 and 0 are sqrt(3) / 2 off the centre
    low, high = np.zeros((2, 1)), np.full((2, 1), 2.0)
    comparison = make_comparison(delta=[[2.0]], cells=[high], predicted_cells=[low], control_cells=[low])
    np.testing.assert_allclose(_score("perturbench.rmse_scaled", comparison), [np.sqrt(3) / 2])


def test_moved_cells_hold_all_controls_and_unmoved_ones_are_the_controls():
    x = sp.csr_matrix(np.array([[1.0, 0.0], [3.0, 2.0]], dtype=np.float32))
    rows = np.arange(2)
    controls = MeasuredCells(x=x, rows=[rows, rows], keys=["a", "b"])
    moved = MovedCells(controls=controls, delta=np.array([[0.0, 0.0], [-2.0, 1.0]]), smallest=0.0)
    assert moved.key(0) == controls.key(0) == controls.key(1) != moved.key(1)
    assert moved.matrix(1).toarray().tolist() == [[0.0, 1.0], [1.0, 3.0]]
    assert moved.matrix(0).toarray().tolist() == x.toarray().tolist()


def test_a_truth_is_tested_once_for_all_predictions(make_comparison):
    cells, controls = _groups(1.0, 0.0)
    first = make_comparison(delta=np.ones((1, 8)), cells=[cells], predicted_cells=[cells], control_cells=[controls])
    other = Comparison(truth=first.truth, predicted=first.predicted, cells=first.truth.control_cells)
    for comparison in (first, other):
        _score("celleval.overlap_at_N", comparison)
    assert len([key for key in first.truth._shared if key == "measured expression"]) == 1
    assert _score("celleval.de_sig_genes_recall", other).tolist() == [0.0]
