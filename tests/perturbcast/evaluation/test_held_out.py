"""Predictions of held-out conditions: true controls only, floors of train, cells from controls."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from perturbcast.errors import UsageError
from perturbcast.evaluation import evaluate_prediction, summarise, train_profile
from perturbcast.schema import Condition, Prediction
from perturbcast.stores import effects


def _prediction(data, conditions, *, delta=None, control=None, half=0.5):
    measured = effects(data, cells=data.obs.index, conditions=conditions)
    delta = measured.delta if delta is None else np.broadcast_to(delta, measured.delta.shape).astype(float)
    return Prediction(
        conditions=tuple(conditions),
        genes=data.genes,
        delta=delta,
        variance=np.full(delta.shape, 0.01),
        control=measured.control if control is None else control,
        intervals={0.9: np.full(delta.shape, half)},
        seen=np.zeros((len(conditions), 3), dtype=bool),
        notes=((),) * len(conditions),
        model="test",
    )


@pytest.fixture
def data(make_data):
    return make_data(genes=8)


@pytest.fixture
def conditions(data):
    return [c for c in data.conditions if c.context == "a"]


def _metrics(data, prediction, **options):
    scored = evaluate_prediction(data, prediction, cells=data.obs.index, **{"train_mean": None} | options)
    return summarise([scored]).metrics


def test_exact_deltas_reach_the_optima_of_means(data, conditions):
    metrics = _metrics(data, _prediction(data, conditions))
    for metric_id, row in metrics.items():
        if metric_id not in ("perturbcast.energy_distance@1", "perturbcast.coverage_90@1"):
            assert row["value"] == pytest.approx(row["optimum"], abs=1e-9), metric_id
    distance = metrics["perturbcast.energy_distance@1"]
    # controls moved by the true delta are cells of the true distribution: 0 within sampling error
    assert abs(distance["value"]) < 0.05
    assert distance["value"] < 0.2 * distance["floor"]["control"]
    assert metrics["perturbcast.coverage_90@1"]["value"] == 1.0


def test_the_predictions_own_controls_change_nothing(data, conditions):
    plain = _prediction(data, conditions, delta=-0.1)
    twisted = dataclasses.replace(plain, control=plain.control * 3 + 1)
    assert _metrics(data, plain) == _metrics(data, twisted)


def test_no_change_scores_as_its_floor(data, conditions):
    for metric_id, row in _metrics(data, _prediction(data, conditions, delta=0.0)).items():
        if metric_id != "perturbcast.coverage_90@1":
            assert row["value"] == row["floor"]["control"], metric_id


def test_train_mean_floor_is_the_score_of_that_profile(data, conditions):
    train = [c for c in data.conditions if c.context == "b"]
    profile = train_profile(data, cells=data.obs.index, conditions=train)
    controls = effects(data, cells=data.obs.index, conditions=conditions).control
    as_prediction = _prediction(data, conditions, delta=profile - controls)
    for metric_id, row in _metrics(data, as_prediction, train_mean=profile).items():
        if metric_id != "perturbcast.coverage_90@1":
            assert row["value"] == pytest.approx(row["floor"]["train_mean"], rel=1e-9, abs=1e-12), metric_id


def test_train_profile_gives_every_condition_one_vote(make_data):
    data = make_data(
        effects={("G0", "a"): [1, 0, 0, 0, 0, 0], ("G1", "a"): [0, 3, 0, 0, 0, 0]}, contexts=["a"], noise=0.0
    )
    keep = [b for i, b in enumerate(data.obs.index) if data.obs["perturbation"].iloc[i] != "G0" or i % 3 == 0]
    profile = train_profile(data, cells=keep, conditions=data.conditions)
    np.testing.assert_allclose(profile, [2.5, 3.5, 2, 2, 2, 2])


def test_train_profile_does_not_look_at_other_cells(data, conditions):
    train = [Condition("G0", "b")]
    cells = data.obs.index[(data.obs["perturbation"] == "G0") & (data.obs["context"] == "b")]
    profile = train_profile(data, cells=cells, conditions=train)
    expected = np.asarray(data.subset(cells).x.toarray(), dtype=float).mean(axis=0)
    np.testing.assert_allclose(profile, expected, rtol=1e-12)
    with pytest.raises(ValueError, match=r"G1 in b have none among the 30 given"):
        train_profile(data, cells=cells, conditions=[*train, Condition("G1", "b")])


def test_a_conditions_score_does_not_depend_on_its_company(data, conditions):
    alone = evaluate_prediction(
        data, _prediction(data, conditions[:1], delta=0.1), cells=data.obs.index, train_mean=None
    )
    among = evaluate_prediction(data, _prediction(data, conditions, delta=0.1), cells=data.obs.index, train_mean=None)
    for one, many in zip(alone.metrics, among.metrics, strict=True):
        if one.metric.id != "perturbench.cosine_rank_logfc@1":
            np.testing.assert_array_equal(one.per_condition, many.per_condition[:1])


def test_other_genes_are_refused(data, conditions):
    prediction = dataclasses.replace(_prediction(data, conditions), genes=("X", *data.genes[1:]))
    with pytest.raises(ValueError, match=r"2 are in one only: G0, X"):
        evaluate_prediction(data, prediction, cells=data.obs.index, train_mean=None)


def test_predicted_cells_are_not_negative(data, conditions):
    metrics = _metrics(data, _prediction(data, conditions, delta=-50.0))
    zeros = _metrics(data, _prediction(data, conditions, delta=-60.0))
    key = "perturbcast.energy_distance@1"
    assert metrics[key]["value"] == zeros[key]["value"], "both are cells of zeros"


def test_signatures_are_scored_by_their_panel_and_refused_by_every_other(data, conditions):
    signatures = dataclasses.replace(data, meta={**data.meta, "unit": "condition"})
    prediction = _prediction(signatures, conditions)
    for panel in ("spine", "all"):
        with pytest.raises(UsageError, match=rf"'made' are signatures .* '{panel}' asks .* --panel signatures"):
            _metrics(signatures, prediction, panel_name=panel)
    metrics = _metrics(signatures, prediction, panel_name="signatures", train_mean=np.full(8, 0.5))
    assert "perturbench.rmse_average@1" in metrics
    assert not [name for name in metrics if metrics[name]["value"] is None]
