"""The E-distance is unbiased: two samples of one population are 0 apart, whatever the number of genes."""

from __future__ import annotations

import numpy as np
import pytest

from perturbcast.metrics.distances import TILE, distance_sum
from perturbcast.metrics.energy_distance import Config, energy_distance, score


def test_by_hand():
    # |a - b| = 3, 4, 2, 3: mean 3; |a - a'| = 1; |b - b'| = 1
    a, b = np.array([[0.0], [1.0]], dtype=np.float32), np.array([[3.0], [4.0]], dtype=np.float32)
    assert energy_distance(a, b) == pytest.approx(2 * 3 - 1 - 1)


@pytest.mark.parametrize("genes", [1, 2, 50, 2000])
def test_halves_of_the_same_cells_are_zero_within_the_standard_error(genes):
    rng = np.random.default_rng(genes)
    values = []
    for _ in range(60):
        cells = np.maximum(rng.normal(size=(80, genes)), 0).astype(np.float32)
        values.append(energy_distance(cells[:40], cells[40:]))
    assert abs(np.mean(values)) < 3 * np.std(values, ddof=1) / np.sqrt(len(values))
    # the V-statistic, which counts each cell's distance to itself, is far from 0
    within = distance_sum(cells[:40], cells[:40])
    assert 2 * within / (40 * 39) - 2 * within / 40**2 > 5 * np.std(values, ddof=1) / np.sqrt(len(values))


def test_identical_cells_are_exactly_zero_apart():
    cells = np.random.default_rng(0).normal(size=(30, 50)).astype(np.float32)
    assert energy_distance(cells, cells) == 0.0
    assert energy_distance(cells, cells[::-1]) == 0.0


def test_one_shared_cell_is_not_two_observations():
    a = np.array([[0.0], [2.0]], dtype=np.float32)
    b = np.array([[0.0], [4.0]], dtype=np.float32)
    # pairs across without the shared cell: 4, 2, 2; within a 2, within b 4
    assert energy_distance(a, b) == pytest.approx(2 * 8 / 3 - 2 - 4)


def test_a_collapsed_prediction_is_worse_than_a_spread_one():
    # right mean, no spread, against right mean and right spread
    rng = np.random.default_rng(0)
    truth, spread = rng.normal(size=(2, 150, 30)).astype(np.float32)
    collapsed = np.zeros((150, 30), dtype=np.float32)
    assert energy_distance(truth, collapsed) > energy_distance(truth, spread) + 1.0


def test_tiles_add_up_to_the_whole():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(TILE + 37, 7)), rng.normal(size=(2 * TILE + 5, 7))
    whole = np.sqrt(((a[:, None, :] - b[None, :, :]) ** 2).sum(axis=2)).sum()
    assert distance_sum(a.astype(np.float32), b.astype(np.float32)) == pytest.approx(whole, rel=1e-5)


def test_groups_of_one_cell_are_undefined(make_comparison):
    cells = [np.ones((1, 3)), np.eye(3)]
    comparison = make_comparison(delta=np.zeros((2, 3)), cells=cells, predicted_cells=[np.eye(3), np.eye(3)])
    assert np.isnan(score(comparison, Config())).tolist() == [True, False]


def test_means_alone_are_refused(make_comparison):
    with pytest.raises(ValueError, match="this comparison holds means only"):
        score(make_comparison(delta=[[1.0]]), Config())
