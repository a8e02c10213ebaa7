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
        "control": np.ones(shape),
        "train_control": np.ones((2, genes)),
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
    (factor,) = make_calibration(scale=scale).factors[level]
    fresh = scale * np.random.default_rng(1).standard_normal(200_000)
    assert np.mean(np.abs(fresh) <= factor) == pytest.approx(level, abs=0.02)


def test_quantile_by_hand():
    made = make_calibration(
        measured=np.arange(1.0, 10.0)[:, None],
        predicted=np.zeros((9, 1)),
        variance=np.full((9, 1), 4.0),
        control=np.ones((9, 1)),
    )
    assert made.factors[0.5] == (5 / 2,)  # rank ceil(10 * 0.5) = 5 of |d| / 2
    assert made.factors[0.9] == (9 / 2,)
    assert math.isinf(made.factors[0.95][0])  # rank 10 of 9: no finite interval holds 95 %
    assert np.isinf(made.half_widths(np.ones((1, 1)), control=np.ones((1, 1)))[0.95]).all()
    assert np.isinf(made.half_widths(np.zeros((1, 1)), control=np.ones((1, 1)))[0.95]).all()


@pytest.mark.parametrize("part", ["train", "test"])
def test_a_cell_of_another_part_is_refused(part):
    with pytest.raises(ValueError, match=rf"in no other part of the split; 1 are, first '{part}7'"):
        make_calibration(cells=["c1", f"{part}7"], forbidden=["x", f"{part}7"])


def _coverage(made, *, level, measured, control):
    half = made.half_widths(np.ones_like(measured), control=control)[level]
    return (np.abs(measured) <= half).mean()


def test_groups_by_expression_hold_where_one_factor_does_not():
    """Silent genes are predicted well by saying nothing; the model states one variance for all."""
    rng = np.random.default_rng(0)
    expression = np.tile(np.repeat([0.0, 1.0, 2.0, 3.0], 50), (30, 1))
    measured, fresh = (expression + 0.1) * rng.standard_normal((2, *expression.shape))
    options = {"genes": 200, "measured": measured, "predicted": np.zeros((30, 200)), "variance": np.ones((30, 200))}
    one = make_calibration(**options, control=expression, train_control=np.full((2, 200), 9.0))
    four = make_calibration(**options, control=expression, train_control=expression[:2])
    assert one.edges == ()
    assert four.edges == (0.75, 1.5, 2.25)
    assert four.pairs == (1500,) * 4
    for low in (0.0, 3.0):
        rows = expression[0] == low
        of_group = {"level": 0.9, "measured": fresh[:, rows], "control": expression[:, rows]}
        assert _coverage(four, **of_group) == pytest.approx(0.9, abs=0.02)
        assert abs(_coverage(one, **of_group) - 0.9) > 0.09


@pytest.mark.parametrize(("conditions", "groups"), [(20, 4), (16, 3), (10, 2), (9, 1)])
def test_there_are_as_many_groups_as_hold_200_pairs(conditions, groups):
    expression = np.tile(np.arange(40.0), (conditions, 1))
    made = make_calibration(conditions=conditions, control=expression, train_control=expression[:1])
    assert len(made.pairs) == groups
    assert sum(made.pairs) == 40 * conditions


def test_many_silent_genes_share_one_group():
    expression = np.tile(np.r_[np.zeros(30), np.arange(1.0, 11.0)], (50, 1))
    made = make_calibration(control=expression, train_control=expression[:1])
    assert made.edges[0] == 0.0
    assert made.pairs[0] == 50 * 30, "a gene at the edge is below it"


@pytest.mark.parametrize("conditions", [3, 9])
def test_pairs_of_one_condition_are_not_independent_and_the_bound_says_what_that_costs(conditions):
    """Where a condition's genes err all alike, n pairs are worth as little as m conditions."""
    rng = np.random.default_rng(0)
    held = []
    for repeat in range(1500):
        size = np.abs(rng.standard_normal((conditions + 1, 1))) * np.ones((1, 20))
        made = make_calibration(conditions=conditions, genes=20, measured=size[1:], seed=repeat)
        held.append(_coverage(made, level=0.8, measured=size[:1], control=np.ones((1, 20))))
    bound = made.least_coverage(0.8)
    assert bound == pytest.approx(0.8 * conditions / (conditions + 1))
    error = np.std(held) / np.sqrt(len(held))
    assert np.mean(held) > bound - 3 * error
    if conditions == 3:
        assert np.mean(held) < 0.8 - 3 * error, "the level itself is not reached: the record must not promise it"


def test_a_validation_or_train_cell_is_refused_as_well():
    with pytest.raises(ValueError, match="Calibrate on the 'calibration' part only"):
        make_calibration(cells=["v1"], forbidden=["v1", "t1"])
