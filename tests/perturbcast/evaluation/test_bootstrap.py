"""The interval of a mean holds the true mean about as often as it says."""

from __future__ import annotations

import numpy as np
import pytest

from perturbcast.evaluation import mean_interval


@pytest.mark.parametrize("n", [6, 30])
def test_normal_values_are_covered_at_the_level(n):
    rng = np.random.default_rng(n)
    held = 0
    for repeat in range(600):
        low, high = mean_interval(rng.normal(3.0, 1.0, size=n), seed=repeat, resamples=1000)
        held += low <= 3.0 <= high
    assert held / 600 == pytest.approx(0.95, abs=0.03)  # the plain percentile interval holds 0.88 at n = 6


def test_level_decides_the_width():
    values = np.random.default_rng(0).normal(size=40)
    wide, narrow = (mean_interval(values, seed=0, level=level) for level in (0.95, 0.5))
    assert wide[0] < narrow[0] < values.mean() < narrow[1] < wide[1]


def test_one_condition_has_no_interval():
    assert mean_interval(np.array([0.3]), seed=0) is None


def test_constant_values_have_an_interval_of_no_width():
    assert mean_interval(np.full(5, 0.25), seed=0) == (0.25, 0.25)


def test_nan_is_refused():
    with pytest.raises(ValueError, match=r"1 of 2 are not"):
        mean_interval(np.array([1.0, np.nan]), seed=0)


def test_the_seed_decides(monkeypatch):
    values = np.random.default_rng(0).normal(size=20)
    whole = mean_interval(values, seed=1)
    assert mean_interval(values, seed=1) == whole
    assert mean_interval(values, seed=2) != whole
