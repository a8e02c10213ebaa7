"""Predictors that know nothing score chance, or the run stops; and what weak metrics reward is seen."""

from __future__ import annotations

import dataclasses
import types

import numpy as np
import pytest

from perturbcast.evaluation import evaluate_predictions
from perturbcast.evaluation.degenerate import check_untwisted, degenerate_of
from perturbcast.evaluation.held_out import compared, measure
from perturbcast.evaluation.references import bounds_of
from perturbcast.metrics import Measure, metric, panel
from perturbcast.schema import Prediction

PERTURBATIONS = tuple(f"G{i}" for i in range(8))


@pytest.fixture(scope="module")
def data(make_data):
    return make_data(perturbations=PERTURBATIONS, contexts=("a", "b"), genes=12, cells=25)


@pytest.fixture(scope="module")
def measured(data):
    return measure(data, cells=data.obs.index, conditions=data.conditions, train_mean=None)


@pytest.fixture(scope="module")
def bounds(measured):
    return bounds_of(measured, panel=panel("all"), complete=True, weight=None, seed=0)


def _planted(score, **changes):
    """A metric that a plugin could bring."""
    own = dataclasses.replace(metric("systema.centroid_accuracy@1"), id="planted.metric@1", **changes)
    return Measure(metric=own, config=None, module=types.SimpleNamespace(__name__="planted", score=score))


def test_a_constant_is_at_chance_exactly_and_shuffled_labels_are_not_the_own(measured, bounds):
    exact = [measure.metric.id for measure in panel("all") if measure.metric.discrimination == "exact"]
    assert {"perturbench.rmse_rank_average@1", "perturbench.cosine_rank_logfc@1", "systema.centroid_accuracy@1"} <= set(
        exact
    )
    chance = {
        name: 0.5 if name.startswith("systema") else 7 / 16 for name in exact if not name.startswith("perturbcast")
    }
    for name, expected in chance.items():
        assert bounds.metrics[name].degenerate["constant"].mean() == pytest.approx(expected, abs=1e-12), name
    shuffled = degenerate_of(measured, seed=0)[0]["shuffled_labels"].predicted
    for row, condition in enumerate(measured.truth.conditions):
        same = [k for k in range(len(shuffled)) if (measured.truth.mean[k] == shuffled[row]).all()]
        assert len(same) == 1
        assert same[0] != row
        assert measured.truth.conditions[same[0]].context == condition.context


def test_exact_means_without_spread_are_not_punished_by_our_de_score(bounds):
    assert bounds.metrics["perturbcast.de_overlap_top50@1"].degenerate["means_without_spread"].mean() == 1.0
    distance = bounds.metrics["perturbcast.energy_distance@1"].degenerate["means_without_spread"]
    assert (distance > 0.1).all(), "cells without spread are not the measured ones"


def test_a_metric_that_a_constant_can_game_stops_the_run(measured):
    gamed = _planted(lambda comparison, config: np.full(len(comparison.truth.conditions), 0.6))
    with pytest.raises(
        ValueError, match=r"planted\.metric@1 gives 'constant' 0\.6 where chance is 0\.5 .*mend planted"
    ):
        bounds_of(measured, panel=[gamed], complete=True, weight=None, seed=0)
    bounds_of(measured, panel=[gamed], complete=False, weight=None, seed=0)  # nothing degenerate is scored


def test_a_metric_that_sees_labels_in_shuffled_answers_stops_the_run(make_data):
    many = make_data(perturbations=[f"G{i}" for i in range(60)], contexts=("a",), genes=60, cells=5)
    measured = measure(many, cells=many.obs.index, conditions=many.conditions, train_mean=None)

    def leaky(comparison, config):
        same = np.ptp(comparison.predicted, axis=0).max() < 1e-9
        return np.full(len(comparison.truth.conditions), 0.5 if same else 1.0)

    with pytest.raises(ValueError, match=r"gives 'shuffled_labels' 1 where chance is 0\.5"):
        bounds_of(measured, panel=[_planted(leaky)], complete=True, weight=None, seed=0)


def test_a_discrimination_metric_without_chance_is_refused(measured):
    silent = _planted(lambda comparison, config: np.zeros(len(comparison.truth.conditions)), chance=None)
    with pytest.raises(ValueError, match=r"planted\.metric@1 declares none"):
        bounds_of(measured, panel=[silent], complete=True, weight=None, seed=0)


def test_alone_in_a_context_no_label_can_be_swapped(make_data):
    single = make_data(perturbations=("G0",), contexts=("a", "b"), genes=6)
    measured = measure(single, cells=single.obs.index, conditions=single.conditions, train_mean=None)
    found = bounds_of(measured, panel=panel("spine"), complete=True, weight=None, seed=0)
    for name in ("shuffled_labels", "constant"):
        assert np.isnan(found.metrics["celleval.mae@1"].degenerate[name]).all()


def _prediction(measured, **changes):
    shape = measured.truth.mean.shape
    given = {
        "conditions": measured.truth.conditions,
        "genes": measured.truth.genes,
        "delta": 0.5 * measured.truth.delta,
        "variance": np.full(shape, 0.01),
        "control": measured.truth.control,
        "intervals": {0.9: np.full(shape, 0.3)},
        "seen": np.zeros((shape[0], 3), dtype=bool),
        "notes": ((),) * shape[0],
        "model": "test",
    }
    return Prediction(**(given | changes))


def test_twisted_controls_score_as_the_model_itself(data, measured):
    answers = {"m": _prediction(measured), "other": _prediction(measured, control=measured.truth.control * 9)}
    found = evaluate_predictions(data, answers, cells=data.obs.index, train_mean=None)
    for one, other in zip(found["m"].scored.metrics, found["other"].scored.metrics, strict=True):
        np.testing.assert_array_equal(one.per_condition, other.per_condition)
        if one.metric.needs != "intervals":
            np.testing.assert_array_equal(one.degenerate["twisted_controls"], one.per_condition)


def test_a_comparison_that_looks_at_the_predictions_controls_is_refused(measured):
    plain = compared(measured, _prediction(measured))
    bought = dataclasses.replace(plain, predicted=plain.predicted + 0.1)
    with pytest.raises(ValueError, match="own controls play no part"):
        check_untwisted(plain, bought)
