"""Random effects: sizes are learned from hidden conditions by the exact gradient, and noise is shrunk away."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.optimize import approx_fprime

from perturbcast.models import random_effects
from perturbcast.models.cross_fitting import hidden_groups
from perturbcast.schema import Condition

GENES = 30


def make(make_train, effect, *, contexts="abc", targets=6, noise=0.0, axes=("context",), error=0.01, seed=0):
    """Train conditions whose delta is ``effect(target, context)`` plus noise."""
    rng = np.random.default_rng(seed)
    deltas = {(f"T{t}", c): effect(t, c) + noise * rng.normal(size=GENES) for c in contexts for t in range(targets)}
    baseline = {c: np.random.default_rng(ord(c)).uniform(0, 2, GENES) for c in contexts}
    train = make_train(deltas, baseline=baseline)
    effects = dataclasses.replace(train.effects, error=np.full_like(train.effects.delta, error))
    return dataclasses.replace(train, effects=effects, ood_axes=axes)


def fit(train, **fields):
    config = random_effects.Config(**fields)
    return random_effects.Model.fit(train, config, generator=np.random.default_rng(0))


def of_target(seed, scale=1.0):
    return scale * np.random.default_rng(1000 + seed).normal(size=GENES)


def ask(model, *pairs, control=1.0):
    asked = [Condition(*pair) for pair in pairs]
    return model.predict(asked, control=np.full((len(asked), GENES), control))


def test_the_gradient_is_that_of_the_loss(make_train, monkeypatch):
    seen = []
    learned = random_effects._Sizes.learned
    monkeypatch.setattr(
        random_effects._Sizes, "learned", lambda self, *, steps: (seen.append(self), learned(self, steps=steps))[1]
    )
    fit(make(make_train, lambda t, c: of_target(t), noise=0.5), profile=True)
    (sizes,) = seen
    origin = np.array([-1.0] * len(sizes.blocks) + [-1.0, 0.0])
    at = origin + np.random.default_rng(0).normal(size=len(origin))
    numeric = approx_fprime(at, lambda logs: sizes.loss(logs, origin)[0], 1e-6)
    np.testing.assert_allclose(sizes.loss(at, origin)[1], numeric, rtol=1e-4, atol=1e-6)


def test_what_repeats_between_contexts_is_carried_to_a_new_one(make_train):
    model = fit(make(make_train, lambda t, c: of_target(t)))
    answer = ask(model, ("T0", "new"), ("T1", "new")).delta
    assert np.corrcoef(answer[0], of_target(0))[0, 1] > 0.95
    assert np.abs(answer[0] - of_target(0)).mean() < np.abs(of_target(0)).mean() / 3


def test_what_does_not_repeat_is_shrunk_to_no_change(make_train):
    """Here train says nothing about a new context; a mean over contexts is 0.6 away from no change."""
    train = make(make_train, lambda t, c: of_target(100 * ord(c) + t))
    answer = ask(fit(train), ("T0", "new")).delta
    mean = train.effects.delta[[c.perturbation == "T0" for c in train.effects.conditions]].mean(axis=0)
    assert np.sqrt((answer**2).mean()) < 0.4 * np.sqrt((mean**2).mean())


def test_a_new_target_is_told_by_others_of_its_context(make_train):
    shared = {c: of_target(ord(c)) for c in "abc"}
    model = fit(make(make_train, lambda t, c: shared[c] + of_target(t, 0.2), axes=("perturbation",)))
    answer = ask(model, ("NEW", "a"))
    assert np.corrcoef(answer.delta[0], shared["a"])[0, 1] > 0.95
    assert answer.notes == (("NEW is not in train: the effect of any target stands in",),)


def test_a_noisy_condition_counts_less(make_train):
    train = make(make_train, lambda t, c: of_target(t), contexts="ab")
    error = train.effects.error.copy()
    wrong = next(i for i, c in enumerate(train.effects.conditions) if (c.perturbation, c.context) == ("T0", "b"))
    train.effects.delta[wrong] = -of_target(0)
    error[wrong] = 25.0
    known = dataclasses.replace(train, effects=dataclasses.replace(train.effects, error=error))
    told, blind = (ask(fit(one), ("T0", "new")).delta[0] for one in (known, train))
    assert of_target(0) @ told > of_target(0) @ blind + 1.0


def test_effects_that_follow_the_control_profile_reach_beyond_the_contexts_of_train(make_train):
    level = {"a": -1.0, "b": 0.0, "c": 1.0}
    pattern = of_target(0)
    train = make(make_train, lambda t, c: (2 + level[c]) * pattern)
    train.effects.control[:] = [np.full(GENES, 1 + level[c.context]) for c in train.effects.conditions]
    far = [
        np.abs(ask(fit(train, profile=profile), ("T0", "new"), control=3.0).delta - 4 * pattern).mean()
        for profile in (False, True)
    ]
    assert far[1] < far[0] / 2


def test_the_same_whatever_the_generator_and_the_order_of_genes(make_train):
    train = make(make_train, lambda t, c: of_target(t), noise=0.3)
    one = ask(fit(train), ("T0", "new")).delta
    np.testing.assert_array_equal(one, ask(fit(train), ("T0", "new")).delta)


def test_the_stated_variance_is_that_of_hidden_conditions(make_train):
    sure = fit(make(make_train, lambda t, c: of_target(t))).variance.mean()
    unsure = fit(make(make_train, lambda t, c: of_target(100 * ord(c) + t))).variance.mean()
    assert unsure > 3 * sure
    assert unsure == pytest.approx(1.0, rel=0.4), "what is not repeated has the variance of the effects themselves"


def test_no_train_conditions_and_impossible_parameters_are_refused(make_train):
    train = make(make_train, lambda t, c: of_target(t))
    none = dataclasses.replace(train, effects=train.effects.select(np.zeros(18, dtype=bool)))
    with pytest.raises(ValueError, match="fitted on train conditions; there are none"):
        fit(none)
    with pytest.raises(ValueError, match=r"groups and conditions >= 2 .* got 0.003, 40, 1 and 60"):
        random_effects.Config(conditions=1)


def test_many_groups_are_dealt_together_and_hide_each_other():
    train = [Condition(f"T{t}", c) for t in range(10) for c in "ab"]
    alone = hidden_groups(train, ("perturbation",))
    assert [len(rows) for rows, _ in alone] == [2] * 10
    together = hidden_groups(train, ("perturbation",), most=4)
    assert sorted(row for rows, _ in together for row in rows) == list(range(20))
    for rows, seen in together:
        hidden = {train[i].perturbation for i in rows}
        assert {train[i].perturbation for i in np.flatnonzero(seen)} == {f"T{t}" for t in range(10)} - hidden
