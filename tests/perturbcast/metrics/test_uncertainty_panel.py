"""Metrics of stated errors against values worked out by hand, and their undefined cases."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy import integrate, stats

from perturbcast.evaluation.curves import interval_curve, risk_coverage
from perturbcast.metrics import Comparison, panel

MEASURES = {measure.metric.id: measure for measure in panel("uncertainty")}


def _score(name, comparison):
    return MEASURES[f"perturbcast.{name}@1"].score(comparison)


def test_nll_is_the_normal_density(make_comparison):
    comparison = make_comparison(delta=[[1.0, 0.0]], predicted_delta=[[0.0, 0.5]], variance=[[4.0, 0.25]])
    expected = -np.mean([stats.norm.logpdf(1, 0, 2), stats.norm.logpdf(0, 0.5, 0.5)])
    np.testing.assert_allclose(_score("gaussian_nll", comparison), [expected])


def test_nll_is_least_at_the_true_variance(make_comparison):
    delta = 0.3 * np.random.default_rng(0).standard_normal((1, 20_000))
    values = [
        float(_score("gaussian_nll", make_comparison(delta=delta, predicted_delta=0 * delta, variance=v))[0])
        for v in (0.03, 0.09, 0.27)
    ]
    assert values[1] < values[2] < values[0], "too little variance costs more than too much"


def test_crps_is_the_integral_it_stands_for(make_comparison):
    comparison = make_comparison(delta=[[1.3]], predicted_delta=[[0.4]], variance=0.49)
    below, _ = integrate.quad(lambda x: stats.norm.cdf(x, 0.4, 0.7) ** 2, -10, 1.3)
    above, _ = integrate.quad(lambda x: (1 - stats.norm.cdf(x, 0.4, 0.7)) ** 2, 1.3, 10)
    np.testing.assert_allclose(_score("gaussian_crps", comparison), [below + above], rtol=1e-7)


def test_crps_of_no_variance_is_the_absolute_error(make_comparison):
    comparison = make_comparison(delta=[[1.0, 0.0]], predicted_delta=[[0.0, 3.0]], variance=0.0)
    np.testing.assert_allclose(_score("gaussian_crps", comparison), [2.0], atol=1e-3)  # the floor is 0.001 wide


@pytest.mark.parametrize(("percent", "expected"), [(50, 1 / 4), (80, 2 / 4), (90, 2 / 3), (95, np.nan)])
def test_coverage_by_hand(make_comparison, percent, expected):
    # errors 0.1, 1, 2, 3; the 90 % interval of the last gene is infinite
    half = {0.5: 0.5, 0.8: 1.0, 0.9: [[1.5, 1.5, 1.5, np.inf]], 0.95: np.inf}
    comparison = make_comparison(delta=[[0.1, 1.0, 2.0, 3.0]], predicted_delta=np.zeros((1, 4)), half_widths=half)
    np.testing.assert_allclose(_score(f"coverage_{percent}", comparison), [expected])
    width = {50: 1.0, 80: 2.0, 90: 3.0, 95: np.nan}[percent]
    np.testing.assert_allclose(_score(f"interval_width_{percent}", comparison), [width])


def test_ece_by_hand_and_conditions_may_make_up_for_each_other(make_comparison):
    # at 50 %: 1 and 0 of the genes, 0.5 on the whole: exact. At 90 %: 1 and 0.5, 0.75 on the whole: 0.15 off
    half = {0.5: [[9.0, 9.0], [0.0, 0.0]], 0.9: [[9.0, 9.0], [0.0, 9.0]]}
    comparison = make_comparison(delta=np.ones((2, 2)), predicted_delta=np.zeros((2, 2)), half_widths=half)
    parts = _score("interval_ece", comparison)
    assert parts.mean() == pytest.approx((0 + 0.15) / 2)
    curve = interval_curve(comparison)
    assert parts.mean() == pytest.approx(np.mean([abs(row["coverage"] - row["level"]) for row in curve]))


def test_risk_coverage_area_is_the_mean_of_its_curve(make_comparison):
    rng = np.random.default_rng(1)
    delta = rng.normal(size=(30, 6))
    variance = rng.integers(1, 5, size=(30, 1)) / 10  # many ties
    comparison = make_comparison(delta=delta, predicted_delta=0 * delta, variance=variance)
    parts = _score("risk_coverage_area", comparison)
    assert parts.mean() == pytest.approx(np.mean(risk_coverage(comparison)["risk"]))
    # in whatever order the file has them
    order = rng.permutation(30)
    again = make_comparison(delta=delta[order], predicted_delta=0 * delta, variance=variance[order])
    np.testing.assert_allclose(_score("risk_coverage_area", again), parts[order])


def test_risk_coverage_area_by_hand(make_comparison):
    # risks 1, 2, 6 in the stated order: means 1, 1.5, 3
    options = {"delta": [[1.0], [2.0], [6.0]], "predicted_delta": np.zeros((3, 1))}
    good = make_comparison(**options, variance=[[0.1], [0.2], [0.3]])
    assert _score("risk_coverage_area", good).mean() == pytest.approx((1 + 1.5 + 3) / 3)
    tied = make_comparison(**options, variance=0.1)
    assert _score("risk_coverage_area", tied).tolist() == [1.0, 2.0, 6.0], "one variance is a random order: chance"


def test_auroc_by_hand_with_a_tie(make_comparison):
    # new: 3, 1; known: 1, 0. Pairs in order: 3 > 1, 3 > 0, 1 = 1 (half), 1 > 0
    comparison = make_comparison(delta=np.eye(4), ood_score=[3, 1, 1, 0], novel=[True, True, False, False])
    parts = _score("ood_auroc", comparison)
    assert parts.mean() == pytest.approx(3.5 / 4)
    assert parts.tolist() == [1.0, 0.75, 0.75, 1.0]


@pytest.mark.parametrize("novel", [[True] * 3, [False] * 3, None])
def test_auroc_of_one_class_is_undefined_and_says_why(make_comparison, novel):
    comparison = make_comparison(delta=np.eye(3), ood_score=[3, 1, 1], novel=novel)
    assert np.isnan(_score("ood_auroc", comparison)).all()
    assert "all conditions of the fold are new" in MEASURES["perturbcast.ood_auroc@1"].metric.undefined_when


def test_a_prediction_that_states_nothing_is_undefined_throughout(make_comparison):
    plain = make_comparison(delta=np.eye(3))
    for measure in MEASURES.values():
        assert np.isnan(measure.score(plain)).all(), measure.metric.id


def test_bad_statements_are_refused(make_comparison):
    good = make_comparison(delta=np.eye(3))
    with pytest.raises(ValueError, match="variance is not negative"):
        dataclasses.replace(good, variance=-np.ones((3, 3)))
    with pytest.raises(ValueError, match=r"'ood_score' has one finite value per condition \(3\); it came as \(2,\)"):
        dataclasses.replace(good, ood_score=np.ones(2))
    with pytest.raises(ValueError, match=r"'variance' came as \(3,\)"):
        Comparison(truth=good.truth, predicted=good.predicted, variance=np.ones(3))
