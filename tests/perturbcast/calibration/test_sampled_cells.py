"""Sampled cells have the predicted mean and the stated spread, and are expression: never below zero."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from perturbcast.calibration import Calibration, calibrated_variance, generator_of, sample_cells
from perturbcast.schema import Condition


def make_controls(n=4000, seed=0):
    """Three genes: dense around 2, two cells in three at zero, and silent."""
    rng = np.random.default_rng(seed)
    dense = 2.0 + 0.3 * rng.standard_normal(n)
    sparse = np.where(rng.random(n) < 1 / 3, 1.5, 0.0)
    return sp.csr_matrix(np.stack([dense, sparse, np.zeros(n)], axis=1).astype(np.float32))


def draw(controls, delta, variance, *, count=4000, seed=0, **named):
    given = {"delta": np.array(delta), "variance": np.array(variance), "count": count}
    return sample_cells(controls, **given, generator=np.random.default_rng(seed), **named)


def test_the_mean_is_control_plus_delta_also_where_most_cells_are_zero():
    controls = make_controls()
    mean = controls.toarray().mean(axis=0, dtype=np.float64)
    for delta in ([0.4, 0.3, 0.2], [-0.4, -0.3, 0.0]):
        cells = draw(controls, delta, [0.0, 0.0, 0.0])
        np.testing.assert_allclose(cells.mean(axis=0, dtype=np.float64), mean + delta, atol=1e-5)
    # adding and clipping would leave gene 1 at mean - 0.1: only its expressing third goes down
    assert np.maximum(controls.toarray()[:, 1] - 0.3, 0).mean() > mean[1] - 0.11


def test_no_cell_is_below_zero_and_an_impossible_decrease_ends_there():
    cells = draw(make_controls(), [-9.0, -9.0, -1.0], [0.0, 0.0, 0.0])
    assert cells.tolist() == np.zeros((4000, 3)).tolist()
    assert (draw(make_controls(), [-0.5, 0.0, 0.0], [1.0, 1.0, 1.0]) >= 0).all()


def test_the_spread_is_that_of_the_controls_plus_that_of_the_effect():
    cells = draw(make_controls(), [0.5, 0.0, 0.0], [0.16, 0.0, 0.0])
    assert cells[:, 0].mean() == pytest.approx(2.5, abs=0.02)
    assert cells[:, 0].var() == pytest.approx(0.09 + 0.16, rel=0.07)


def test_signatures_may_be_negative():
    controls = np.array([[-0.5, 0.5]])
    np.testing.assert_allclose(draw(controls, [-0.25, 0.1], [0, 0], count=1, signed=True), [[-0.75, 0.6]], rtol=1e-6)


def test_each_control_is_used_once_while_there_are_enough():
    controls = np.arange(10.0)[:, None]
    assert sorted(draw(controls, [0.0], [0.0], count=10).ravel()) == list(range(10))
    assert draw(controls, [0.0], [0.0], count=25).shape == (25, 1)


def test_a_seed_decides_every_draw_and_a_condition_has_draws_of_its_own():
    controls, one, two = make_controls(50), Condition("A+B", "x"), Condition("C", "x")

    def cells(condition, seed):
        given = {"delta": np.zeros(3), "variance": np.ones(3), "count": 20}
        return sample_cells(controls, **given, generator=generator_of(condition, seed=seed))

    np.testing.assert_array_equal(cells(one, 1), cells(Condition("B+A", "x"), 1))
    assert not np.array_equal(cells(one, 1), cells(one, 2))
    assert not np.array_equal(cells(one, 1), cells(two, 1))


def test_calibrated_variance_has_the_calibrated_widths():
    sigma = np.array([[1.0, 0.5]])
    twice = {0.5: 2 * 0.6744898, 0.9: 2 * 1.6448536, 0.95: np.inf}  # twice as wide as a normal, one level unknown
    factors = Calibration(factors=twice, conditions=(), n_pairs=9, cells_sha256="", origin="")
    np.testing.assert_allclose(calibrated_variance(sigma**2, factors.half_widths(sigma**2)), 4 * sigma**2, rtol=1e-6)
    np.testing.assert_array_equal(calibrated_variance(sigma**2, {0.9: np.full((1, 2), np.inf)}), sigma**2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"delta": np.zeros(2)}, r"one value per gene of the controls \(3\); got \(2,\)"),
        ({"variance": np.array([1.0, -1.0, 1.0])}, "a variance is not negative"),
        ({"delta": np.array([np.nan, 0.0, 0.0])}, "finite"),
        ({"count": 0}, "at least one of one; got 5 controls and count 0"),
    ],
    ids=["delta", "variance", "nan", "count"],
)
def test_what_cannot_be_sampled_is_refused(changes, message):
    good = {"delta": np.zeros(3), "variance": np.ones(3), "count": 2, "generator": np.random.default_rng(0)}
    with pytest.raises(ValueError, match=message):
        sample_cells(make_controls(5), **(good | changes))
