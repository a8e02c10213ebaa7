"""Controls inside a prediction play no part: copying or twisting them changes no score of any panel."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from perturbcast.evaluation import evaluate_prediction
from perturbcast.schema import Prediction
from perturbcast.stores import effects


@pytest.mark.parametrize("twist", ["copied", "scaled", "shuffled"])
def test_the_predictions_own_controls_change_nothing(make_data, twist):
    data = make_data(genes=12)
    measured = effects(data, cells=data.obs.index, conditions=data.conditions)
    shape = measured.delta.shape
    plain = Prediction(
        conditions=data.conditions,
        genes=data.genes,
        delta=0.5 * measured.delta,
        variance=np.full(shape, 0.01),
        control=measured.control,
        intervals={0.9: np.full(shape, 0.2)},
        seen=np.zeros((shape[0], 3), dtype=bool),
        notes=((),) * shape[0],
        model="test",
    )
    twisted = {
        "copied": np.tile(measured.control[:1], (shape[0], 1)),
        "scaled": 3 * measured.control + 1,
        "shuffled": measured.control[:, ::-1],
    }[twist]
    one, other = (
        evaluate_prediction(data, prediction, cells=data.obs.index, train_mean=None, panel_name="all")
        for prediction in (plain, dataclasses.replace(plain, control=twisted))
    )
    for first, second in zip(one.metrics, other.metrics, strict=True):
        np.testing.assert_array_equal(first.per_condition, second.per_condition, err_msg=first.metric.id)
