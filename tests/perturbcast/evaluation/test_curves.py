"""The numbers of curves.json, by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest

from perturbcast.evaluation.curves import POINTS, interval_curve, risk_coverage
from perturbcast.metrics import Comparison, Truth
from perturbcast.schema import Condition


def make_comparison(errors, *, half_widths=None, variance=None):
    """A truth of no change beside predictions that are off by ``errors`` [condition, gene]."""
    errors = np.atleast_2d(np.asarray(errors, dtype=np.float64))
    truth = Truth(
        conditions=tuple(Condition(f"P{i}", "a") for i in range(len(errors))),
        genes=tuple(f"G{i}" for i in range(errors.shape[1])),
        mean=np.ones_like(errors),
        control=np.ones_like(errors),
        error=np.full_like(errors, 0.01),
    )
    return Comparison(
        truth=truth,
        predicted=1 + errors,
        half_widths={level: np.broadcast_to(half, errors.shape) for level, half in (half_widths or {}).items()},
        variance=None if variance is None else np.broadcast_to(variance, errors.shape),
    )


def test_interval_curve_by_hand():
    # of three errors 0, 1, 2 one lies within 0.5 and two within 1; of 0, 0, 3 two and two
    comparison = make_comparison([[0.0, 1.0, 2.0], [0.0, 0.0, 3.0]], half_widths={0.9: 1.0, 0.5: 0.5})
    assert interval_curve(comparison) == [
        {"level": 0.5, "coverage": pytest.approx(1 / 2), "mean_width": 1.0, "n_conditions": 2},
        {"level": 0.9, "coverage": pytest.approx(2 / 3), "mean_width": 2.0, "n_conditions": 2},
    ]
    assert interval_curve(comparison, np.array([1]))[0]["coverage"] == pytest.approx(2 / 3)
    assert interval_curve(comparison, np.array([True, False]))[0]["coverage"] == pytest.approx(1 / 3)


def test_infinite_intervals_promise_nothing():
    half = np.array([[1.0, np.inf, 1.0], [np.inf, np.inf, np.inf]])
    comparison = make_comparison([[0.0, 5.0, 2.0], [0.0, 0.0, 0.0]], half_widths={0.9: half, 0.95: np.inf})
    assert interval_curve(comparison) == [{"level": 0.9, "coverage": 0.5, "mean_width": 2.0, "n_conditions": 1}]
    assert interval_curve(comparison, np.array([1])) == []
    assert interval_curve(make_comparison([[0.0]])) == []


def test_risk_coverage_by_hand():
    # stated order: condition 2, then 0, then 1; risks 3, 1, 2
    comparison = make_comparison([[1.0], [2.0], [3.0]], variance=np.array([[0.2], [0.3], [0.1]]))
    assert risk_coverage(comparison) == {
        "coverage": pytest.approx([1 / 3, 2 / 3, 1.0]),
        "risk": pytest.approx([3.0, 2.0, 2.0]),
        "risk_unit": "RMSE of deltas",
    }


def test_equal_variances_give_a_flat_curve():
    comparison = make_comparison([[1.0], [2.0], [6.0]], variance=0.1)
    assert risk_coverage(comparison)["risk"] == pytest.approx([3.0, 3.0, 3.0])
    assert risk_coverage(make_comparison([[1.0]])) is None


def test_long_curves_are_thinned_and_end_at_all_conditions():
    rng = np.random.default_rng(0)
    comparison = make_comparison(rng.normal(size=(333, 4)), variance=rng.random((333, 1)))
    curve = risk_coverage(comparison)
    assert len(curve["coverage"]) == len(curve["risk"]) == POINTS
    assert curve["coverage"][-1] == 1.0
    assert curve["risk"][-1] == pytest.approx(
        np.sqrt(((comparison.predicted - comparison.truth.mean) ** 2).mean(axis=1)).mean()
    )
    json.dumps(curve)
