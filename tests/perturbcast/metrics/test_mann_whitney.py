"""The Mann-Whitney tests agree with scipy's for any mix of zeros, ties and signs."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from scipy.stats import false_discovery_control, mannwhitneyu

from perturbcast.metrics.mann_whitney import adjusted, measured_expression, predicted_expression, surety
from perturbcast.metrics.ranks import average_precision


def _compare(make_comparison, cells, controls, **options):
    mean, control = cells.mean(axis=0), controls.mean(axis=0)
    options = {"predicted_cells": [cells]} | options
    return make_comparison(
        delta=[mean - control], control=[control], cells=[cells], control_cells=[controls], **options
    )


def _expected(cells, controls):
    test = mannwhitneyu(cells, controls, axis=0, method="asymptotic", use_continuity=True)
    return np.where(np.isnan(test.pvalue), 1.0, test.pvalue)


@pytest.mark.parametrize(
    "draw",
    [
        lambda rng, n: rng.poisson(0.7, size=(n, 40)).astype(float),
        lambda rng, n: np.round(rng.normal(size=(n, 40)), 1) * (rng.random((n, 40)) < 0.5),
        lambda rng, n: rng.normal(size=(n, 40)),
        lambda rng, n: np.round(rng.normal(size=(n, 40))) - 1.0,
    ],
    ids=["counts", "both signs with zeros", "no ties", "negative with zeros"],
)
@pytest.mark.parametrize(("n", "m"), [(25, 60), (3, 7)])
def test_p_values_are_those_of_scipy(make_comparison, draw, n, m):
    rng = np.random.default_rng(n)
    cells, controls = (draw(rng, k).astype(np.float32).astype(np.float64) for k in (n, m))
    cells[:, 0] = controls[:, 0] = 0.0  # silent
    cells[:, 1] = controls[:, 1] = 3.0  # the same in every cell
    cells[:, 2], controls[:, 2] = 1.0, 0.0  # in one group alone
    found = measured_expression(_compare(make_comparison, cells, controls))
    np.testing.assert_allclose(found.p_value[0], _expected(cells, controls), rtol=1e-9)
    np.testing.assert_allclose(found.fdr[0], false_discovery_control(found.p_value[0]), rtol=1e-12)
    assert found.p_value[0, :2].tolist() == [1.0, 1.0]


def test_predicted_cells_are_tested_against_the_true_controls(make_comparison):
    rng = np.random.default_rng(0)
    cells, predicted, controls = (rng.poisson(2.0, size=(20, 15)).astype(float) for _ in range(3))
    comparison = _compare(make_comparison, cells, controls, predicted_cells=[predicted])
    np.testing.assert_allclose(predicted_expression(comparison).p_value[0], _expected(predicted, controls), rtol=1e-9)


def test_log2_fold_changes_by_hand(make_comparison):
    # expm1(log(4)) = 3 over expm1(log(2.5)) = 1.5 is 2; a gene in one group alone; a gene in none
    comparison = make_comparison(
        delta=[[np.log(4) - np.log(2.5), np.log(2), -np.log(2), 0.0]],
        control=[[np.log(2.5), 0.0, np.log(2), 0.0]],
        cells=[np.ones((3, 4))],
        predicted_cells=[np.ones((3, 4))],
        control_cells=[np.ones((4, 4))],
    )
    np.testing.assert_allclose(measured_expression(comparison).log2_fold_change, [[1.0, np.inf, -np.inf, 0.0]])


def test_adjusted_by_hand():
    # sorted .01 .02 .04 .5 times 4 / rank: .04 .04 .0533 .5
    np.testing.assert_allclose(adjusted(np.array([[0.02, 0.5, 0.01, 0.04]])), [[0.04, 0.5, 0.04, 0.16 / 3]])


def test_surety_is_clipped_at_ten():
    np.testing.assert_allclose(surety(np.array([1.0, 0.01, 1e-30])), [0.0, 2.0, 10.0], rtol=1e-6)


def test_fdrs_that_the_reference_ties_are_tied():
    """Two FDRs that cell-eval 0.8.2 met: other float32 numbers, the same -log10 by its rounding (not by numpy's)."""
    low, high = 0.00027654776931740344, 0.00027654782752506435
    assert np.float32(low) < np.float32(high)
    scores = surety(np.array([low, high, 0.5]))
    # tied, the two enter together: one wanted of two found; apart, the wanted one would be alone and the area 1
    assert average_precision(np.array([True, False, False]), scores) == 0.5


def test_cells_that_several_conditions_share_are_tested_once(make_comparison, monkeypatch):
    cells = np.random.default_rng(0).poisson(1.0, size=(10, 5)).astype(float)
    sides = {name: [cells] * 3 for name in ("cells", "predicted_cells", "control_cells")}
    comparison = make_comparison(delta=np.zeros((3, 5)), **sides)
    looked = []
    matrix = type(comparison.truth.cells).matrix
    monkeypatch.setattr(
        type(comparison.truth.cells), "matrix", lambda self, row: looked.append(row) or matrix(self, row)
    )
    assert (measured_expression(comparison).p_value == 1.0).all()
    assert len(looked) == 2, "the controls once, the group once"


def test_numba_is_imported_by_the_first_test_alone():
    """Looking for metrics and loading panels must not pay for it: many stages are short."""
    code = (
        "import sys; from perturbcast.metrics import panel, metric; import perturbcast.stages.evaluate; "
        "panel('all'); metric('celleval.mae@1'); "
        "print([name for name in ('numba', 'scipy.stats', 'matplotlib', 'mlflow') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
