"""The oracle: the stored truth, and nothing where there is none."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from perturbcast.errors import UnanswerableError
from perturbcast.models import truth
from perturbcast.models.interface import from_state, to_state
from perturbcast.schema import Condition

TRUTH = {
    "contexts": np.array(["a", "b"]),
    "perturbations": np.array(["G1", "G1+G2"]),
    "genes": np.array(["G2", "G1"]),
    "delta": np.arange(8.0).reshape(2, 2, 2),
    "delta_se": np.full((2, 2, 2), 0.1),
}


def fitted(make_train, stored=TRUTH):
    train = make_train({("G1", "a"): [1.0, 2.0]}, genes=["G1", "G2"])
    return truth.Model.fit(dataclasses.replace(train, truth=stored), truth.Config(), generator=np.random.default_rng(0))


def test_predicts_the_stored_delta_in_the_order_of_the_genes(make_train):
    model = fitted(make_train)
    for oracle in (model, from_state(truth.Model, *to_state(model))):
        answer = oracle.predict([Condition("G2+G1", "b"), Condition("G1", "a")], control=np.ones((2, 2)))
        np.testing.assert_array_equal(answer.delta, [[7.0, 6.0], [1.0, 0.0]])
        np.testing.assert_allclose(answer.variance, 0.1**2 + 0.01)


def test_measured_data_is_refused(make_train):
    with pytest.raises(ValueError, match="this dataset has none"):
        fitted(make_train, stored=None)


def test_missing_genes_are_refused(make_train):
    with pytest.raises(ValueError, match="1 are missing, first 'G1'"):
        fitted(make_train, stored={**TRUTH, "genes": np.array(["G2", "G3"])})


def test_a_condition_that_was_not_simulated_is_refused(make_train):
    with pytest.raises(UnanswerableError, match="'G9 in a' was not"):
        fitted(make_train).predict([Condition("G9", "a")], control=np.ones((1, 2)))
