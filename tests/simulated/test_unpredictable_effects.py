"""Where effects follow from nothing, no model beats its floor on held-out conditions; the oracle still does.

Two floors, because two things can be had without knowing what a perturbation does:

- For errors and the rank the floor is no change. (The rank of a constant answer is chance.)
- Correlations and overlaps also reward what all conditions share. Measured deltas subtract the same control
  cells as train deltas, and log shares fall on average when anything moves; both are seen here: with 100 control
  cells a context and nothing to learn the mean train delta has a Pearson of 0.03 to 0.04, with 900 one of 0.00.
  Their floor is the model's own answers handed to conditions of the same context in random order.
"""

from __future__ import annotations

import numpy as np
import pytest

pytestmark = pytest.mark.slow

# half of the cells are controls: their shared sampling error must not pass for a skill
SANE = {"contexts": 3, "cells": 2100, "control_share": 0.5, "systematic_shift": 0.0}
RULES = ["unseen_perturbation", "unseen_combination"]
NO_CHANGE = (
    "perturbench.rmse_average@1",
    "celleval.mae@1",
    "perturbcast.energy_distance@1",
    "perturbench.cosine_rank_logfc@1",
)
OWN_ANSWERS = ("celleval.pearson_delta@1", "perturbench.cosine_logfc@1", "perturbcast.de_overlap_top50@1")


def above_floor(these, model, metric):
    """Loss minus that of the floor [seed]; below 0 the model beats it."""
    if metric in NO_CHANGE:
        return these.losses(model, metric) - these.losses("control", metric)
    return these.losses(model, metric) - these.losses(model, metric, mixed_up=True)


@pytest.mark.parametrize("rule", RULES)
def test_no_learned_model_beats_its_floor(rule, screens, interval):
    these = screens(rule, predictable_share=0.0, **SANE)
    asked = [(model, metric) for model in these.learned for metric in (*NO_CHANGE, *OWN_ANSWERS)]
    beaten = []
    for model, metric in asked:
        low, high = interval(above_floor(these, model, metric), of=len(asked))
        if high < -1e-12:  # beyond rounding of means over conditions
            beaten.append(f"{model} beats the floor of {metric}: {low:.4f} to {high:.4f}")
    assert not beaten, "\n".join(beaten)


@pytest.mark.parametrize("rule", RULES)
def test_truth_beats_every_model_and_floor(rule, screens):
    these = screens(rule, predictable_share=0.0, **SANE)
    for metric in (*NO_CHANGE, *OWN_ANSWERS):
        rivals = np.array([these.losses(model, metric) for model in these.models if model != "truth"])
        assert (these.losses("truth", metric) < rivals).all(), metric


@pytest.mark.parametrize("metric", [*NO_CHANGE, *OWN_ANSWERS])
def test_where_effects_follow_the_graph_the_same_test_finds_skill(metric, screens, interval):
    """The control of the test above: sums of single effects predict combinations, and are seen to."""
    these = screens("unseen_combination", **SANE)
    asked = len(these.learned) * len((*NO_CHANGE, *OWN_ANSWERS))
    assert interval(above_floor(these, "additive", metric), of=asked)[1] < 0
