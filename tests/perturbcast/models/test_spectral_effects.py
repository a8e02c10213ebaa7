"""Spectral effects: programmes are borrowed apart, outlying conditions count less, sizes follow the exact gradient."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.optimize import approx_fprime

from perturbcast.models import random_effects, spectral_effects
from perturbcast.schema import Condition

GENES = 30


def pattern(seed, scale=1.0):
    return scale * np.random.default_rng(1000 + seed).normal(size=GENES)


def make(make_train, effect, *, contexts="abc", targets=6, axes=("context",)):
    """Train conditions whose delta is ``effect(target, context)``."""
    deltas = {(f"T{t}", c): effect(t, c) for c in contexts for t in range(targets)}
    baseline = {c: np.random.default_rng(ord(c)).uniform(0, 2, GENES) for c in contexts}
    return dataclasses.replace(make_train(deltas, baseline=baseline), ood_axes=axes)


def fit(train, plugin=spectral_effects, **fields):
    return plugin.Model.fit(train, plugin.Config(**fields), generator=np.random.default_rng(0))


def ask(model, *pairs):
    asked = [Condition(*pair) for pair in pairs]
    return model.predict(asked, control=np.ones((len(asked), GENES)))


def sizes(**fields):
    """Three conditions that share one effect; the third is hidden. The first two have orthogonal deltas 2 and 1."""
    given = {
        "blocks": np.ones((1, 3, 3)),
        "gram": np.array([[4.0, 0.0, 1.0], [0.0, 1.0, 1.0], [1.0, 1.0, 2.0]]),
        "error": np.zeros((2, 3)),
        "outlying": np.ones(3),
        "groups": [(np.array([2]), np.array([True, True, False]))],
        "edges": [1],
        "pull": 0.0,
    }
    return spectral_effects._Sizes(**given | fields)


def test_each_band_is_shrunk_by_its_own_sizes():
    """By hand: a shared effect of size w and noise t gives each of two conditions w / (2w + t)."""
    logs = np.log([[1.0, 1.0, 1.0], [1.0, 2.0, 1.0]])  # w, t, s of the first axis, then of the other
    weight = sizes().weights(logs, np.array([0, 1]), np.array([2]))
    np.testing.assert_allclose(weight[:, 0], [1 / 3, 1 / 4])


def test_an_outlying_condition_counts_less():
    """By hand, with d = 1 and 3: (w 11' + tD)^-1 w1 = [3, 1] / 7 at w = t = 1."""
    weight = sizes(edges=[], error=np.zeros((1, 3)), outlying=np.array([1.0, 3.0, 1.0])).weights(
        np.zeros((1, 3)), np.array([0, 1]), np.array([2])
    )
    np.testing.assert_allclose(weight[:, 0], [3 / 7, 1 / 7])
    np.testing.assert_allclose(
        spectral_effects._outlying(np.array([1.0] * 9 + [11.0])), [0.75] * 9 + [3.25], err_msg="ten pseudo-conditions"
    )


def test_the_gradient_is_that_of_the_loss(make_train, monkeypatch):
    seen = []
    learned = spectral_effects._Sizes.learned
    monkeypatch.setattr(
        spectral_effects._Sizes,
        "learned",
        lambda self, start, *, steps: (seen.append(self), learned(self, start, steps=steps))[1],
    )
    fit(make(make_train, lambda t, c: pattern(t) + pattern(100 * ord(c) + t, 0.7)), profile=True)
    (one,) = seen
    rng = np.random.default_rng(0)
    origin = rng.normal(size=one.error.shape[0] * (len(one.blocks) + 2))
    at = origin + rng.normal(size=len(origin))
    parts = [spectral_effects._projections(one.gram[np.ix_(s, s)], one.edges) for _, s in one.groups]
    numeric = approx_fprime(at, lambda logs: one.loss(logs, origin, parts)[0], 1e-6)
    np.testing.assert_allclose(one.loss(at, origin, parts)[1], numeric, rtol=1e-4, atol=1e-6)


def programmes(t, c):
    """One strong programme that targets drive alike in every context, and as much that no context repeats."""
    return 2.5 * np.cos(1.3 * t) * pattern(0) + pattern(100 * ord(c) + t)


def test_a_programme_that_repeats_is_told_from_noise_that_does_not(make_train):
    train = make(make_train, programmes, contexts="abcd")
    truth = np.stack([2.5 * np.cos(1.3 * t) * pattern(0) for t in range(6)])
    pairs = [(f"T{t}", "new") for t in range(6)]
    model = fit(train, bands=2, first=1)
    of_target, of_target_here = model.size[:, 3], model.size[:, 4]
    assert of_target[0] > 3 * of_target[1], "the strong axis repeats"
    assert of_target_here[1] > 3 * of_target_here[0], "the others do not"
    errors = [
        np.sqrt(((ask(one, *pairs).delta - truth) ** 2).mean()) for one in (model, fit(train, plugin=random_effects))
    ]
    assert errors[0] < 0.8 * errors[1]


def test_shuffled_labels_give_no_skill(make_train):
    order = {c: np.random.default_rng(ord(c)).permutation(12) for c in "abcd"}
    truth = np.stack([pattern(t) for t in range(12)])
    pairs = [(f"T{t}", "new") for t in range(12)]
    right, dealt = (
        np.sqrt(((ask(fit(make(make_train, effect, contexts="abcd", targets=12)), *pairs).delta - truth) ** 2).mean())
        for effect in (lambda t, c: pattern(t), lambda t, c: pattern(order[c][t]))
    )
    nothing = np.sqrt((truth**2).mean())
    assert right < 0.2 * nothing
    assert dealt > 0.9 * nothing, "a few of the dealt labels are right by chance"


def test_a_new_target_is_told_by_others_of_its_context(make_train):
    shared = {c: pattern(ord(c)) for c in "abc"}
    model = fit(make(make_train, lambda t, c: shared[c] + pattern(t, 0.2), axes=("perturbation",)))
    answer = ask(model, ("NEW", "a"))
    assert np.corrcoef(answer.delta[0], shared["a"])[0, 1] > 0.95
    assert answer.notes == (("NEW is not in train: the effect of any target stands in",),)


def test_a_few_strong_targets_do_not_stand_for_a_new_one(make_train):
    """Two of ten targets are strong; the mean of all is far from what the other eight have in common."""
    common, strong = pattern(1), pattern(2, 4.0)
    train = make(
        make_train,
        lambda t, c: common + pattern(10 * t + ord(c), 0.3) + (strong if t < 2 else 0),
        targets=10,
        contexts="ab",
        axes=("perturbation",),
    )
    away = [
        np.abs(ask(fit(train, plugin=plugin), ("NEW", "a")).delta[0] - common).mean()
        for plugin in (random_effects, spectral_effects)
    ]
    assert away[1] < 0.75 * away[0]


def test_no_train_conditions_and_impossible_parameters_are_refused(make_train):
    train = make(make_train, programmes)
    with pytest.raises(ValueError, match="fitted on train conditions; there are none"):
        fit(dataclasses.replace(train, effects=train.effects.select(np.zeros(18, dtype=bool))))
    with pytest.raises(ValueError, match=r"ratio, groups and conditions >= 2; got 4, 2, 60, 1, 40 and 160"):
        spectral_effects.Config(ratio=1)
    with pytest.raises(ValueError, match=r"at least 0; got -0\.1"):
        spectral_effects.Config(pull=-0.1)
