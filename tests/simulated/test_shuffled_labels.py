"""With labels shuffled, of the data or of the predictions, nothing tells one perturbation from another.

What all perturbed cells share survives a shuffle within contexts, so skill here is what is specific to a
perturbation: the rank against chance, and the Pearson of deltas against the same answers in random order.
"""

from __future__ import annotations

import numpy as np
import pytest

pytestmark = pytest.mark.slow

RANK, PEARSON = "perturbench.cosine_rank_logfc@1", "celleval.pearson_delta@1"
RULES = ["in_distribution", "unseen_context"]
ROUNDING = 1e-12  # of means over conditions: a constant answer is at chance exactly
SANE = {"contexts": 3, "cells": 1350}


@pytest.mark.parametrize("rule", RULES)
def test_shuffled_data_leave_no_model_any_skill(rule, screens, interval):
    these = screens(rule, shuffle_labels=True, **SANE)
    asked = len(these.models) + len(these.learned)
    for model in these.models:
        low, high = interval(these.losses(model, RANK) - these.chance(RANK), of=asked)
        assert low - ROUNDING <= 0 <= high + ROUNDING, f"rank of {model} is {low:.4f} to {high:.4f} from chance"
    for model in these.learned:  # the others give one answer per context, in whatever order
        specific = these.losses(model, PEARSON, mixed_up=True) - these.losses(model, PEARSON)
        low, high = interval(specific, of=asked)
        assert low - ROUNDING <= 0 <= high + ROUNDING, (
            f"Pearson of {model} is {low:.4f} to {high:.4f} above that of mixed-up answers"
        )


def test_shuffled_data_leave_no_network_any_skill(screens, interval):
    these, few = screens("in_distribution", shuffle_labels=True, **SANE), range(8)
    for model in these.by_gradient:
        off = these.losses(model, RANK, seeds=few) - these.chance(RANK, seeds=few)
        low, high = interval(off, of=len(these.by_gradient))
        assert low - ROUNDING <= 0 <= high + ROUNDING, f"rank of {model} is {low:.4f} to {high:.4f} from chance"
        assert high - low < 0.3, "an interval that could hold anything says nothing"


def test_shuffled_data_leave_the_oracle_one_answer_per_context(screens):
    these = screens("in_distribution", shuffle_labels=True, **SANE)
    np.testing.assert_allclose(these.losses("truth", RANK), these.chance(RANK))


@pytest.mark.parametrize("model", ["mean_delta", "truth"])
def test_without_the_shuffle_there_is_clear_skill(model, screens):
    """On every screen: the rank is under a quarter of chance, and the Pearson 0.2 above mixed-up answers."""
    these = screens("in_distribution", **SANE)
    assert (these.losses(model, RANK) < these.chance(RANK) / 4).all()
    assert (these.losses(model, PEARSON, mixed_up=True) - these.losses(model, PEARSON) > 0.2).all()


@pytest.mark.parametrize("model", ["mean_delta", "linear", "truth"])
def test_answers_to_other_conditions_rank_at_chance(model, screens, interval):
    these = screens("in_distribution", **SANE)
    low, high = interval(these.losses(model, RANK, mixed_up=True) - these.chance(RANK), of=3)
    assert low - ROUNDING <= 0 <= high + ROUNDING
    assert high - low < 0.1, "an interval that could hold anything says nothing"
