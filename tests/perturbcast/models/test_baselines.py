"""Each baseline against a prediction worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from perturbcast.models import additive, control, linear, mean_delta, nearest, train_mean
from perturbcast.schema import Condition

RNG = np.random.default_rng(0)
ONE = np.ones((1, 2))


def ask(module, train, condition, *, given=ONE, config=None):
    model = module.Model.fit(train, config or module.Config(), generator=np.random.default_rng(0))
    return model.predict([condition], control=given)


def test_control_predicts_no_change_and_its_spread_is_the_mean_square(make_train):
    train = make_train({("A", "a"): [3.0, 1.0], ("B", "a"): [1.0, 1.0]})
    answer = ask(control, train, Condition("C", "z"))
    assert answer.delta.tolist() == [[0.0, 0.0]]
    typical = np.median([5.0, 1.0])
    np.testing.assert_allclose(answer.variance[0], [(10 + typical) / 3, (2 + typical) / 3])


def test_mean_delta_falls_back_from_pair_to_perturbation_to_all_and_says_so(make_train):
    train = make_train({("A", "a"): [2.0, 0.0], ("A", "b"): [4.0, 0.0], ("B", "a"): [0.0, 6.0]})
    for condition, delta, note in [
        (Condition("A", "a"), [2.0, 0.0], ()),
        (Condition("A", "c"), [3.0, 0.0], ("mean of A over 2 train contexts",)),
        (Condition("C", "a"), [2.0, 2.0], ("mean of all 3 train conditions",)),
    ]:
        answer = ask(mean_delta, train, condition)
        np.testing.assert_allclose(answer.delta[0], delta)
        assert answer.notes[0] == note
    answer = ask(mean_delta, train, Condition("A", "a"), config=mean_delta.Config(level="global"))
    np.testing.assert_allclose(answer.delta[0], [2.0, 2.0])


def test_train_mean_is_the_mean_profile_minus_the_control_asked_about(make_train):
    train = make_train({("A", "a"): [1.0, 0.0], ("B", "b"): [0.0, 1.0]}, baseline={"a": [1.0, 1.0], "b": [3.0, 3.0]})
    answer = ask(train_mean, train, Condition("C", "z"), given=np.array([[5.0, 0.0]]))
    np.testing.assert_allclose(answer.delta[0], [(2.0 + 3.0) / 2 - 5.0, (1.0 + 4.0) / 2 - 0.0])


def test_additive_sums_singles_of_the_same_context(make_train):
    train = make_train({("A", "a"): [1.0, 0.0], ("B", "a"): [0.0, 2.0], ("A", "b"): [9.0, 9.0]})
    answer = ask(additive, train, Condition("B+A", "a"))
    np.testing.assert_allclose(answer.delta[0], [1.0, 2.0])
    assert answer.notes[0] == ()


def test_additive_counts_missing_singles(make_train):
    train = make_train({("A", "a"): [1.0, 0.0], ("B", "a"): [0.0, 2.0]})
    answer = ask(additive, train, Condition("A+C+D", "a"))
    np.testing.assert_allclose(answer.delta[0], np.array([1.0, 0.0]) + 2 * np.array([0.5, 1.0]))
    assert [note.split()[0] for note in answer.notes[0]] == ["C", "D"]


def test_additive_learns_how_far_combinations_interact(make_train):
    singles = {("A", "a"): [1.0, 0.0], ("B", "a"): [0.0, 1.0]}
    adds = make_train(singles | {("A+B", "a"): [1.0, 1.0], ("A+B", "b"): [1.0, 1.0]})
    interacts = make_train(singles | {("A+B", "a"): [4.0, 1.0], ("A+B", "b"): [-2.0, 1.0]})
    quiet, loud = (ask(additive, train, Condition("A+B", "a")).variance[0, 0] for train in (adds, interacts))
    assert loud > quiet + 5


@pytest.mark.parametrize("module", [additive, nearest, mean_delta], ids=lambda module: module.__name__.split(".")[-1])
def test_a_single_of_other_contexts_is_as_uncertain_as_effects_differ_between_contexts(make_train, module):
    """Around their means A lies 1 off in the first gene and B 2 in the second: 2 and 8 over two degrees of freedom."""
    train = make_train({("A", "a"): [1.0, 0.0], ("A", "b"): [3.0, 0.0], ("B", "a"): [0.0, 2.0], ("B", "b"): [0.0, 6.0]})
    between = (np.array([2.0, 8.0]) + np.median([1.0, 4.0])) / 3
    answer = ask(module, train, Condition("A", "z"))
    np.testing.assert_allclose(answer.delta[0], [2.0, 0.0])
    np.testing.assert_allclose(answer.variance[0], between * (1 + 1 / 2) + 0.01)


def test_linear_recovers_a_bilinear_truth_for_a_target_never_perturbed(make_train):
    """Two programmes; a gene's response and the effect of hitting it follow its programme weights."""
    weights = RNG.standard_normal((30, 2))
    effects = weights @ np.diag([1.0, -0.5]) @ weights.T  # [gene, target]
    names = [f"G{i}" for i in range(30)]
    train = make_train({(names[t], "a"): effects[:, t] for t in range(24)}, genes=names, baseline={"a": np.zeros(30)})
    config = linear.Config(components=2, ridge=1e-6)
    model = linear.Model.fit(train, config, generator=np.random.default_rng(0))
    asked = [Condition(name, "a") for name in names[24:]]
    answer = model.predict(asked, control=np.zeros((6, 30)))
    assert np.corrcoef(answer.delta.ravel(), effects[:, 24:].T.ravel())[0, 1] > 0.95
    shuffled = np.corrcoef(answer.delta[::-1].ravel(), effects[:, 24:].T.ravel())[0, 1]
    assert shuffled < 0.5, "the skill is about which target was hit"
    assert answer.notes == ((),) * 6


def test_linear_gives_different_targets_different_predictions_and_unmeasured_ones_the_mean(make_train):
    names = [f"G{i}" for i in range(8)]
    deltas = {(names[t], "a"): RNG.standard_normal(8) for t in range(6)}
    train = make_train(deltas, genes=names)
    given = np.ones((1, 8))
    six, seven, drug = (ask(linear, train, Condition(name, "a"), given=given) for name in ("G6", "G7", "IFNB"))
    assert np.abs(six.delta - seven.delta).max() > 1e-3
    np.testing.assert_allclose(drug.delta[0], np.mean(list(deltas.values()), axis=0))
    assert "IFNB is not a measured gene" in drug.notes[0][0]
    assert (drug.variance >= six.variance).all()


@pytest.mark.parametrize("values", [{"components": 0}, {"ridge": 0.0}], ids=str)
def test_linear_refuses_impossible_parameters(values):
    with pytest.raises(ValueError, match="components >= 1 and ridge > 0"):
        linear.Config(**values)


def test_stated_variance_is_of_effect_estimates(make_train):
    """Effects drawn with variance 0.25 around a mean: mean_delta states 0.25 + sampling, for a new perturbation."""
    effects = 0.5 * RNG.standard_normal((400, 50))
    train = make_train({(f"P{i}", "a"): effects[i] for i in range(400)})
    answer = ask(mean_delta, train, Condition("NEW", "a"), given=np.ones((1, 50)))
    assert answer.variance.mean() == pytest.approx(0.25 * (1 + 1 / 400) + 0.01, rel=0.02)
