"""Mean-based metrics against values worked out by hand, and their undefined cases."""

from __future__ import annotations

import numpy as np
import pytest

from perturbcast import catalog


def _score(name, comparison):
    module = catalog.load("metrics", name)
    return module.score(comparison, module.Config())


def test_rmse_and_mae(make_comparison):
    comparison = make_comparison(delta=[[3.0, 0.0], [1.0, 1.0]], predicted_delta=[[0.0, 4.0], [1.0, 2.0]])
    np.testing.assert_allclose(_score("perturbench_rmse_average", comparison), [np.sqrt(12.5), np.sqrt(0.5)])
    np.testing.assert_allclose(_score("celleval_mae", comparison), [3.5, 0.5])


def test_pearson_delta(make_comparison):
    # centred (-1, 0, 1) and (-1, 1, 0): 1 / 2
    comparison = make_comparison(delta=[[1.0, 2.0, 3.0]], predicted_delta=[[0.0, 2.0, 1.0]])
    np.testing.assert_allclose(_score("celleval_pearson_delta", comparison), [0.5])


def test_pearson_is_undefined_only_where_the_truth_is_constant(make_comparison):
    comparison = make_comparison(
        delta=[[0.1, 0.1, 0.1], [1.0, 2.0, 3.0]],
        predicted_delta=[[0.0, 2.0, 1.0], [0.3, 0.3, 0.3]],
        control=[[0.7, 2.1, 13.3]] * 2,
    )
    scores = _score("celleval_pearson_delta", comparison)
    assert np.isnan(scores[0])
    assert scores[1] == 0.0


def test_cosine_of_log_fold_changes(make_comparison):
    # control 0.3: log2(m + .1) - log2(.4) of m = .7, .1, .3 is 1, -1, 0; of .7, .3, .1 it is 1, 0, -1
    comparison = make_comparison(delta=[[0.4, -0.2, 0.0]], predicted_delta=[[0.4, 0.0, -0.2]], control=0.3)
    np.testing.assert_allclose(_score("perturbench_cosine_logfc", comparison), [0.5])


def test_predicted_means_below_zero_are_read_as_zero(make_comparison):
    below, at = (
        make_comparison(delta=[[0.4, -0.2]], predicted_delta=[[0.4, low]], control=0.3) for low in (-9.0, -0.3)
    )
    np.testing.assert_allclose(
        _score("perturbench_cosine_logfc", below), _score("perturbench_cosine_logfc", at), rtol=1e-12
    )


def test_rank_counts_the_predictions_that_come_first(make_comparison):
    delta = np.eye(4)
    shifted = np.roll(delta, 1, axis=0)  # every condition is given another one's answer: 1 ahead, 2 tied of 4
    comparison = make_comparison(delta=delta, predicted_delta=shifted)
    np.testing.assert_allclose(_score("perturbench_cosine_rank_logfc", comparison), (1 + 2 / 2) / 4)


def test_rank_of_a_constant_predictor_is_exactly_chance(make_comparison):
    rng = np.random.default_rng(0)
    delta = rng.normal(size=(9, 40))
    constant = np.tile(delta.mean(axis=0), (9, 1))
    comparison = make_comparison(delta=delta, predicted_delta=constant, contexts=["a"] * 5 + ["b"] * 4)
    module = catalog.load("metrics", "perturbench_cosine_rank_logfc")
    expected = [0.4] * 5 + [0.375] * 4  # (n - 1) / 2n, towards 0.5 for many conditions
    assert module.score(comparison, module.Config()).tolist() == expected
    assert module.chance(comparison, module.Config()).tolist() == expected


def test_rank_is_within_a_context_and_undefined_for_one_alone(make_comparison):
    comparison = make_comparison(delta=np.eye(3), contexts=["a", "a", "b"])
    scores = _score("perturbench_cosine_rank_logfc", comparison)
    assert scores[:2].tolist() == [0.0, 0.0]
    assert np.isnan(scores[2])


def test_shuffled_answers_have_no_skill(make_comparison):
    rng = np.random.default_rng(5)
    delta = rng.normal(size=(200, 60))
    shuffled = delta[rng.permutation(200)]
    comparison = make_comparison(delta=delta, predicted_delta=shuffled)
    for name in ("celleval_pearson_delta", "perturbench_cosine_rank_logfc"):
        module = catalog.load("metrics", name)
        scores = module.score(comparison, module.Config())
        chance = module.METRIC.chance
        chance = chance(comparison, module.Config()) if callable(chance) else chance
        standard_error = scores.std(ddof=1) / np.sqrt(len(scores))
        assert abs((scores - chance).mean()) < 3.5 * standard_error, name


def test_coverage_counts_finite_intervals(make_comparison):
    # misses 0.1, 0.3, exactly the width, and a gene without a finite interval
    comparison = make_comparison(
        delta=[[1.0, 1.0, 1.0, 9.0]],
        predicted_delta=[[1.1, 1.3, 0.8, 0.0]],
        half_widths={0.5: 0.01, 0.9: [[0.2, 0.2, 0.2, np.inf]]},
    )
    np.testing.assert_allclose(_score("coverage_90", comparison), [2 / 3])


@pytest.mark.parametrize("half_widths", [{}, {0.9: np.inf}, {0.8: 1.0}], ids=["none", "infinite", "another level"])
def test_coverage_is_undefined_without_a_finite_interval(make_comparison, half_widths):
    assert np.isnan(_score("coverage_90", make_comparison(delta=[[1.0]], half_widths=half_widths))).all()


def test_coverage_of_an_honest_interval_is_its_level(make_comparison):
    # measured = predicted + N(0, s): the half width 1.645 s holds 90 %
    rng = np.random.default_rng(0)
    predicted = rng.normal(size=(20, 500))
    measured = predicted + 0.2 * rng.standard_normal(predicted.shape)
    comparison = make_comparison(delta=measured, predicted_delta=predicted, half_widths={0.9: 1.6449 * 0.2})
    assert _score("coverage_90", comparison).mean() == pytest.approx(0.9, abs=3 * 0.3 / 100)
