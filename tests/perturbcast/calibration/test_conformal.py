"""Intervals hold what they promise where conditions are exchangeable, and admit it where they cannot."""

from __future__ import annotations

import math

import numpy as np
import pytest

from perturbcast.calibration import calibrate
from perturbcast.schema import Condition


def make_calibration(*, conditions=50, genes=40, scale=1.0, seed=0, **changes):
    rng = np.random.default_rng(seed)
    shape = (conditions, genes)
    values = {
        "measured": scale * rng.standard_normal(shape),
        "predicted": np.zeros(shape),
        "variance": np.ones(shape),
        "conditions": [Condition(f"P{i}", "a") for i in range(conditions)],
        "cells": ["c1"],
        "forbidden": ["t1"],
        "origin": "a test",
    }
    return calibrate(**(values | changes))


@pytest.mark.parametrize("scale", [0.3, 1.0, 4.0])
@pytest.mark.parametrize("level", [0.5, 0.8, 0.9, 0.95])
def test_coverage_is_the_level_whatever_the_stated_variance(scale, level):
    """The model states variance 1 and the truth has scale**2: calibration mends it."""
    factor = make_calibration(scale=scale).factors[level]
    fresh = scale * np.random.default_rng(1).standard_normal(200_000)
    assert np.mean(np.abs(fresh) <= factor) == pytest.approx(level, abs=0.02)


def test_quantile_by_hand():
    made = make_calibration(
        measured=np.arange(1.0, 10.0)[:, None], predicted=np.zeros((9, 1)), variance=np.full((9, 1), 4.0)
    )
    assert made.factors[0.5] == 5 / 2  # rank ceil(10 * 0.5) = 5 of |d| / 2
    assert made.factors[0.9] == 9 / 2
    assert math.isinf(made.factors[0.95])  # rank 10 of 9: no finite interval holds 95 %
    assert np.isinf(made.half_widths(np.ones((1, 1)))[0.95]).all()
    assert np.isinf(made.half_widths(np.zeros((1, 1)))[0.95]).all()


@pytest.mark.parametrize("part", ["train", "test"])
def test_a_cell_of_another_part_is_refused(part):
    with pytest.raises(ValueError, match=rf"in no other part of the split; 1 are, first '{part}7'"):
        make_calibration(cells=["c1", f"{part}7"], forbidden=["x", f"{part}7"])
