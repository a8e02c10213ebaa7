"""A comparison refuses what it cannot mean, and tests the truth once for all metrics."""

from __future__ import annotations

import numpy as np
import pytest

from perturbcast.metrics import Comparison


def test_nan_in_a_prediction_is_refused(make_comparison):
    with pytest.raises(ValueError, match=r"'prediction' has 1 entries that are not"):
        make_comparison(delta=[[1.0, 2.0]], predicted_delta=[[np.nan, 2.0]])


def test_wrong_shape_is_refused(make_comparison):
    truth = make_comparison(delta=[[1.0, 2.0]]).truth
    with pytest.raises(ValueError, match=r"= \(1, 2\); 'prediction' came as \(1, 3\)"):
        Comparison(truth=truth, predicted=np.zeros((1, 3)))


def test_negative_half_width_is_refused(make_comparison):
    with pytest.raises(ValueError, match=r"not negative and not NaN; those of level 0\.9"):
        make_comparison(delta=[[1.0]], half_widths={0.9: -1.0})


def test_differential_genes_by_hand(make_comparison):
    # z = 0, 2, 3, 10 and a gene that never varies; p = 1, .0455, .0027, 0: of 4 tests at 5 % the bounds are
    # .0125, .025, .0375, .05, so the two largest z pass and .0455 does not
    comparison = make_comparison(delta=[[0.0, 0.2, 0.3, 1.0, 5.0]], error=[[0.01, 0.01, 0.01, 0.01, 0.0]])
    assert comparison.truth.differential(fdr=0.05).tolist() == [[False, False, True, True, False]]
    assert comparison.truth.differential(fdr=0.1).tolist() == [[False, True, True, True, False]]


def test_false_discoveries_stay_at_the_rate(make_comparison):
    # nothing is differential: a condition with any discovery is a false one, in 5 % of conditions
    delta = np.random.default_rng(0).normal(scale=0.1, size=(2000, 50))
    found = make_comparison(delta=delta).truth.differential(fdr=0.05).any(axis=1).mean()
    assert found == pytest.approx(0.05, abs=3 * np.sqrt(0.05 * 0.95 / 2000))


def test_shared_work_is_done_once(make_comparison):
    truth = make_comparison(delta=[[1.0]]).truth
    calls = []
    for _ in range(2):
        assert truth.shared("key", lambda: calls.append(1) or 7) == 7
    assert calls == [1]
