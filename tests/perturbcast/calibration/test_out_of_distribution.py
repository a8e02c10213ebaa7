"""A condition farther from train scores higher, and the parts of the score are what the table says."""

from __future__ import annotations

import numpy as np
import pytest

from perturbcast.calibration import Support
from perturbcast.schema import Condition

TRAIN = [Condition("A", "x"), Condition("B", "x"), Condition("A", "y"), Condition("C+D", "y")]
CONTROL = {"x": np.zeros(4), "y": np.full(4, 2.0)}  # neighbours are 2 apart: the unit


def _score(*conditions, control=None, train_control=CONTROL):
    rows = [CONTROL[c.context] for c in conditions] if control is None else control
    return Support.of(TRAIN, control_means=train_control).distance(conditions, control=np.array(rows))


@pytest.mark.parametrize(
    ("perturbation", "context", "expected"),
    [
        pytest.param("A", "x", 0.0, id="a condition of train"),
        pytest.param("B", "y", 0.25, id="both known, never together"),
        pytest.param("A+B", "x", 0.5, id="targets known, never together"),
        pytest.param("A+D", "x", 0.5, id="a target known from a combination"),
        pytest.param("A+Z", "x", 0.5, id="half of the targets new"),
        pytest.param("Z", "x", 1.0, id="the target new"),
    ],
)
def test_parts_of_the_perturbation(perturbation, context, expected):
    assert _score(Condition(perturbation, context)).tolist() == [expected]


def test_distance_is_in_units_of_neighbouring_train_contexts():
    # 3 away from y, the nearest: 1.5 units, and 1 for a context that train lacks
    assert _score(Condition("A", "z"), control=[np.full(4, 5.0)]).tolist() == [2.5]
    assert _score(Condition("A", "x"), control=[np.full(4, -0.5)]).tolist() == [0.25]


def test_an_unseen_context_scores_above_a_seen_one_and_a_farther_one_above_it():
    seen, near, far = _score(
        Condition("A", "x"), Condition("A", "near"), Condition("A", "far"), control=[np.zeros(4), np.ones(4), [9.0] * 4]
    )
    assert seen < near < far
    # even one that looks like a train context
    assert _score(Condition("A", "twin"), control=[np.zeros(4)])[0] > seen


def test_one_train_context_has_the_spread_of_its_profile_as_unit():
    profile = {"x": np.array([0.0, 0.0, 4.0, 4.0])}  # standard deviation 2
    assert _score(Condition("A", "z"), control=[profile["x"] + 1.0], train_control=profile).tolist() == [1.5]


def test_rows_do_not_depend_on_each_other():
    asked = [Condition("A", "x"), Condition("Z", "y"), Condition("A+B", "x")]
    together = _score(*asked)
    np.testing.assert_array_equal(together, [_score(c)[0] for c in asked])
    assert _score(control=np.empty((0, 4))).shape == (0,)
