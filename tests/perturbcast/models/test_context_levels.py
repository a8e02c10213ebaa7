"""Context features beat context ids on unseen contexts where effects follow the context's state, and only there.

Ten genes; the knock-down of gene k lowers itself by 1 and gene k + 1 by what Hill regulation (exponent 4, half
occupancy at control level 1) makes of its loss: the response of k + 1 follows the level of k, which differs by context.
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import pytest
import torch

from perturbcast.evaluation import mean_interval
from perturbcast.models import Validation, cgio
from perturbcast.nn.intervention import perturbed_level

GENES, TARGETS = 10, 5
CONTEXTS = {"train": 16, "validation": 4, "unseen": 12}
KEPT = 0.3  # of a knocked-down gene
NOISE = 0.1  # sd of a train effect around its truth, the error that make_train states


def occupancy(level):
    return level**4 / (1 + level**4)


def delta(level, k, *, follows):
    """[gene] effect of the knock-down of gene k where control levels are ``level``."""
    lost = occupancy(level[k]) - occupancy(KEPT * level[k]) if follows else 0.5
    return -np.eye(GENES)[k] - lost * np.eye(GENES)[k + 1]


@pytest.fixture
def errors(make_train):
    """[unseen context] RMSE over knock-downs and genes, given the ``context`` of the Config."""

    @functools.cache
    def of(context, *, follows):
        levels = np.random.default_rng(3).uniform(0.3, 1.7, (sum(CONTEXTS.values()), GENES))
        noise = np.random.default_rng(4).normal(0, NOISE, (len(levels), TARGETS, GENES))
        ends = np.cumsum([0, *CONTEXTS.values()])
        part = {}
        for name, start, end in zip(CONTEXTS, ends[:-1], ends[1:], strict=True):
            noisy = name != "unseen"
            deltas = {
                (f"G{k}", f"c{i:02d}"): delta(levels[i], k, follows=follows) + noisy * noise[i, k]
                for i in range(start, end)
                for k in range(TARGETS)
            }
            part[name] = make_train(deltas, baseline={f"c{i:02d}": level for i, level in enumerate(levels)})
        held, unseen = part["validation"].effects, part["unseen"].effects
        validation = Validation(
            effects=held,
            metric="rmse",
            values=lambda answer: np.sqrt(((answer - held.delta) ** 2).mean(axis=1)),
            loss=lambda value: value,
        )
        train = dataclasses.replace(part["train"], validation=validation, ood_axes=("context",))
        config = cgio.Config(over="additive", context=context, width=4, steps=300, learning_rate=0.01, dropout=0.0)
        model = cgio.Model.fit(train, config, generator=np.random.default_rng(0))
        missed = model.predict(unseen.conditions, control=unseen.control).delta - unseen.delta
        return np.sqrt((missed.reshape(CONTEXTS["unseen"], -1) ** 2).mean(axis=1))

    return of


def test_where_effects_follow_the_state_of_the_context_features_beat_ids_on_unseen_contexts(errors):
    levels, ids = errors("levels", follows=True), errors("id", follows=True)
    _, high = mean_interval(levels - ids, seed=0)
    assert high < 0
    assert levels.mean() < 0.6 * ids.mean()


def test_where_effects_do_not_features_and_ids_are_level(errors):
    levels, ids = errors("levels", follows=False), errors("id", follows=False)
    low, high = mean_interval(levels - ids, seed=0)
    assert max(abs(low), abs(high)) < 0.01, "a hundredth of the effect; without a validation part it costs 0.012"


def test_the_level_of_a_perturbation_is_the_mean_of_its_measured_genes_and_0_without_one():
    profile = torch.tensor([[1.0, -2.0, 5.0]]).expand(3, -1)
    dose = torch.tensor([[0.0, -1.0, 0.0], [-1.0, 0.5, 0.0], [0.0, 0.0, 0.0]])
    assert perturbed_level(profile, dose).tolist() == [[-2.0], [-0.5], [0.0]]


def test_levels_of_perturbations_known_by_their_ids_alone_are_refused():
    with pytest.raises(ValueError, match=r"Levels are of perturbed genes.*perturbation = id\. Use perturbation"):
        cgio.Config(context="levels", perturbation="id")
