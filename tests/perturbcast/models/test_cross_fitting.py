"""A train condition is described by what would be known of it at test, and by nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from perturbcast.models.cross_fitting import Describer, describe_train, visible
from perturbcast.schema import Condition

TRAIN = [Condition(*pair) for pair in [("A", "x"), ("B", "x"), ("A+B", "x"), ("A", "y"), ("C", "y")]]


def make_describer(**values):
    return Describer(**{"over": "additive", "scale": 1.0, "level": 0.0, "spread": 1.0, "signs": {}} | values)


@pytest.mark.parametrize(
    ("axes", "condition", "seen"),
    [
        (("context",), TRAIN[0], [False, False, False, True, True]),
        (("perturbation",), TRAIN[0], [False, True, False, False, True]),
        (("perturbation",), TRAIN[2], [False, False, False, False, True]),
        (("combination",), TRAIN[2], [True, True, False, True, True]),
        (("combination",), TRAIN[0], [False, True, True, False, True]),
        ((), TRAIN[3], [True, True, True, False, True]),
        (("context", "perturbation"), TRAIN[1], [False, False, False, True, True]),
    ],
    ids=[
        "context",
        "perturbation",
        "both targets",
        "combination",
        "same label elsewhere",
        "in distribution",
        "two axes",
    ],
)
def test_what_will_be_new_is_hidden(axes, condition, seen):
    assert visible(TRAIN, axes)[TRAIN.index(condition)].tolist() == seen


def test_where_nothing_would_be_left_only_the_condition_itself_is_hidden():
    one = [condition for condition in TRAIN if condition.context == "x"]
    assert visible(one, ("context",))[0].tolist() == [False, True, True]


def test_the_base_of_a_train_condition_does_not_know_it(make_train):
    deltas = {("A", "x"): [1.0, 0.0], ("A", "y"): [3.0, 0.0], ("B", "x"): [0.0, 2.0]}
    train = make_train(deltas)
    described = describe_train(make_describer(), train.effects, axes=("context",))(np.arange(3))
    np.testing.assert_allclose(described.base[0], [3.0, 0.0], err_msg="A in x is told by A in y")
    other = make_train(deltas | {("A", "x"): [9.0, 9.0]})
    again = describe_train(make_describer(), other.effects, axes=("context",))(np.arange(3))
    np.testing.assert_array_equal(again.base[0], described.base[0])
    np.testing.assert_array_equal(again.features[0], described.features[0])


@pytest.mark.parametrize("over", ["", "random_effects"])
def test_conditions_are_described_alike_in_any_company(make_train, over):
    """Of several hidden groups, to the last bit: a batch of training is what all rows at once would be."""
    rng = np.random.default_rng(0)
    train = make_train({(name, context): rng.normal(size=3) for name in "ABC" for context in "xyz"})
    described = describe_train(make_describer(over=over), train.effects, axes=("context",))
    assert len(described.levels) == 3
    whole, some = described(np.arange(9)), described(np.array([7, 0, 4]))
    for name in ("base", "features"):
        np.testing.assert_array_equal(getattr(some, name), getattr(whole, name)[[7, 0, 4]])
    assert some.notes == tuple(whole.notes[i] for i in (7, 0, 4))
    assert np.abs(whole.features[0, :, 4] - whole.features[4, :, 4]).min() > 1e-3, "each of its own group's means"
    assert whole.base.any() == bool(over)


def test_features_say_which_targets_were_seen_alone_and_with_which_sign(make_train):
    train = make_train({("A", "x"): [1.0, 0.0], ("B", "y"): [0.0, 2.0], ("A", "y"): [1.0, 1.0]})
    describer = make_describer(signs={"x": 1.0, "y": -1.0})
    asked = [Condition(name, "x") for name in ("A", "B", "A+B", "C")]
    coverage = describer.among(train.effects)(asked, np.ones((4, 2))).features[:, 0, 6:10]
    np.testing.assert_allclose(coverage, [[1, 0, 0, 1], [0, 1, 0, -1], [0.5, 0.5, 1, 0], [0, 0, 0, 0]])


def test_a_context_that_train_does_not_hold_has_the_sign_of_most():
    """A fixed default once turned every effect of a held-out context round."""
    assert make_describer(signs={"a": 1.0, "b": 1.0}).sign("new") == 1.0
    assert make_describer(signs={"a": -1.0, "b": -1.0, "c": 1.0}).sign("new") == -1.0
