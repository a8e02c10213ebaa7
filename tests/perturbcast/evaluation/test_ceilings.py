"""Ceilings are what the cells allow: halves share none, replicates are as noisy as the truth, test moves no weight."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from perturbcast.evaluation.ceilings import best_weight, ceilings_of
from perturbcast.evaluation.held_out import interpolation_weight, measure
from perturbcast.evaluation.replicates import halves, replicate
from perturbcast.schema import content_hash

PERTURBATIONS = tuple(f"G{i}" for i in range(12))
TRAIN_MEAN = np.full(12, 2.0)


@pytest.fixture(scope="module")
def data(make_data):
    """12 conditions of 60 cells; gene k falls by 0.5 in condition k, the noise of a cell is 0.4."""
    return make_data(perturbations=PERTURBATIONS, contexts=("a",), genes=12, cells=60, noise=0.4)


@pytest.fixture(scope="module")
def measured(data):
    return measure(data, cells=data.obs.index, conditions=data.conditions, train_mean=TRAIN_MEAN)


def _rmse(a, b):
    return float(np.sqrt(((a - b) ** 2).mean()))


def test_halves_share_no_cell_and_lose_none(measured):
    divided = halves(measured, seed=0)
    for whole, first, second in zip(measured.cells.rows, divided.first.rows, divided.truth.cells.rows, strict=True):
        assert len(first) == len(second) == 30
        assert sorted([*first, *second]) == sorted(whole)
    np.testing.assert_allclose((divided.first_mean + divided.truth.mean) / 2, measured.truth.mean, rtol=1e-6)


def test_a_draw_is_the_conditions_own(data, measured):
    alone = measure(data, cells=data.obs.index, conditions=data.conditions[3:4], train_mean=None)
    np.testing.assert_array_equal(halves(alone, seed=0).first.rows[0], halves(measured, seed=0).first.rows[3])
    np.testing.assert_array_equal(replicate(alone, seed=0).mean[0], replicate(measured, seed=0).mean[3])
    assert (replicate(alone, seed=1).mean[0] != replicate(measured, seed=0).mean[3]).any()


def test_errors_of_ceilings_are_those_of_sampling(measured):
    """A mean of 60 cells is off by 0.4 / sqrt(60); controls add the same. Halves are off by twice that, twice."""
    found, _ = ceilings_of(measured, halves(measured, seed=0), weight=0.5, seed=0)
    single = 0.4 / np.sqrt(60)
    again = found["resampled"]
    assert _rmse(again.delta, again.truth.delta) == pytest.approx(single * np.sqrt(2), rel=0.15)
    half = found["split_half"]
    assert _rmse(half.predicted, half.truth.mean) == pytest.approx(2 * single, rel=0.15)
    np.testing.assert_allclose(half.truth.error.mean(), 3 * single**2, rtol=0.1)


def test_the_measured_answer_is_as_good_as_an_oracle(make_data):
    """The oracle knows the exact effects; errors of the resampled ceiling are as large, on average over screens."""
    oracles, ceilings = [], []
    for seed in range(10):
        data = make_data(perturbations=PERTURBATIONS, contexts=("a",), genes=12, cells=60, noise=0.4, seed=seed)
        measured = measure(data, cells=data.obs.index, conditions=data.conditions, train_mean=None)
        exact = np.zeros((12, 12))
        exact[np.arange(12), [int(c.perturbation[1:]) for c in data.conditions]] = -0.5
        oracles.append(_rmse(exact, measured.truth.delta))
        again = ceilings_of(measured, halves(measured, seed=seed), weight=None, seed=seed)[0]["resampled"]
        ceilings.append(_rmse(again.delta, again.truth.delta))
    assert np.mean(ceilings) == pytest.approx(np.mean(oracles), rel=0.1)


def test_the_weight_is_the_least_squares_one(measured):
    divided = halves(measured, seed=0)
    weight = best_weight(divided, train_mean=TRAIN_MEAN)

    def error(w):
        return _rmse(w * divided.first_mean + (1 - w) * TRAIN_MEAN, divided.truth.mean)

    assert 0 < weight < 1
    assert error(weight) < min(error(weight - 0.02), error(weight + 0.02), error(0.0), error(1.0))


def test_interpolated_uses_the_weight_for_means_and_cells(measured):
    divided = halves(measured, seed=0)
    comparison = ceilings_of(measured, divided, weight=0.25, seed=0)[0]["interpolated"]
    np.testing.assert_allclose(comparison.predicted, 0.25 * divided.first_mean + 0.75 * TRAIN_MEAN)
    drawn = comparison.cells.draw(0, limit=1000, seed=0)
    np.testing.assert_allclose(drawn.mean(axis=0), comparison.predicted[0], atol=1e-3)
    assert "interpolated" not in ceilings_of(measured, divided, weight=None, seed=0)[0]


def test_test_cells_do_not_move_the_weight(data):
    validation = data.obs.index[data.obs["perturbation"].isin(PERTURBATIONS[:4])]
    conditions = [c for c in data.conditions if c.perturbation in PERTURBATIONS[:4]]
    x = data.x.tolil(copy=True)
    held = np.flatnonzero(~data.obs.index.isin(validation) & ~data.obs["is_control"])
    x[held] = np.random.default_rng(0).random((len(held), x.shape[1])) * 5
    x = x.tocsr().astype(np.float32)
    other = dataclasses.replace(data, x=x, meta={**data.meta, "content_hash": content_hash(x, data.genes, data.obs)})
    found = [
        interpolation_weight(d, cells=validation, conditions=conditions, train_mean=TRAIN_MEAN, seed=0)
        for d in (data, other)
    ]
    assert found[0] == found[1]


def test_a_condition_of_three_cells_has_no_halves(make_data):
    few = make_data(cells=3, contexts=("a",), genes=6)
    measured = measure(few, cells=few.obs.index, conditions=few.conditions, train_mean=None)
    divided = halves(measured, seed=0)
    assert not divided.divided.any()
    assert ceilings_of(measured, divided, weight=None, seed=0)[1]["split_half"].all()
