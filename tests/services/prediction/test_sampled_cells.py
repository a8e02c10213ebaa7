"""Sampled cells: the mean is the predicted one exactly, the spread is the calibrated one, nothing is negative."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from perturbcast_client.messages import Condition, ControlCells
from prediction_service.sampled_cells import deviation, generator, sample

IFNB = Condition.from_label("IFNB", "B cells")


def draw(x, *, delta, spread, count=200, columns=slice(None), seed=0, condition=IFNB):
    return sample(
        ControlCells.of("B cells", x),
        columns=columns,
        delta=np.asarray(delta, dtype=float),
        spread=np.asarray(spread, dtype=float),
        count=count,
        generator=generator(seed, condition),
    ).astype(float)


def make_controls(cells=300, genes=40, seed=0):
    """Half of the genes are 0 in most cells."""
    rng = np.random.default_rng(seed)
    x = rng.gamma(2.0, 0.5, size=(cells, genes))
    x[:, ::2] *= rng.random((cells, (genes + 1) // 2)) < 0.2
    return x


@pytest.mark.parametrize("spread", [0.0, 0.3], ids=["no-spread", "spread"])
def test_the_mean_over_cells_is_drawn_controls_plus_delta_and_not_below_zero(spread):
    x, rng = make_controls(), np.random.default_rng(1)
    delta = rng.normal(0, 0.5, size=x.shape[1])
    cells = draw(x, delta=delta, spread=np.full(x.shape[1], spread))
    picked = generator(0, IFNB).integers(len(x), size=200)
    expected = np.maximum(x.astype(np.float64)[picked].mean(axis=0) + delta, 0)
    assert (expected == 0).any(), "some genes are driven to nothing"
    np.testing.assert_allclose(cells.mean(axis=0), expected, atol=1e-6)
    assert (cells >= 0).all()


def test_without_delta_and_spread_they_are_control_cells():
    x = make_controls().astype(np.float32)
    cells = draw(x, delta=np.zeros(40), spread=np.zeros(40), count=50)
    rows = {row.tobytes() for row in x}
    assert all(row.astype(np.float32).tobytes() in rows for row in cells)


def test_the_spread_adds_to_that_of_the_controls():
    rng = np.random.default_rng(3)
    x = 20 + rng.normal(0, 3.0, size=(20_000, 1))  # far from 0, so that nothing is clipped
    cells = draw(x, delta=[1.0], spread=[4.0], count=20_000)
    assert cells.std() == pytest.approx(5.0, rel=0.03)  # 3-4-5
    assert cells.mean() == pytest.approx(21.0, abs=0.1)


def test_by_hand():
    # two cells with 1 and 3 of a gene: to lower the mean from 2 to 1/2, 1 goes to 0 and 3 to 1
    x = np.array([[1.0], [3.0]])
    for seed in range(20):
        picked = generator(seed, IFNB).integers(2, size=2)
        if sorted(picked) == [0, 1]:
            break
    cells = draw(x, delta=[-1.5], spread=[0.0], count=2, seed=seed)
    assert sorted(cells[:, 0]) == [0.0, 1.0]


def test_cells_depend_on_seed_and_condition_alone():
    x = make_controls()
    one = draw(x, delta=np.zeros(40), spread=np.ones(40))
    np.testing.assert_array_equal(one, draw(x, delta=np.zeros(40), spread=np.ones(40)))
    assert (one != draw(x, delta=np.zeros(40), spread=np.ones(40), seed=1)).any()
    other = Condition.from_label("IFNG", "B cells")
    assert (one != draw(x, delta=np.zeros(40), spread=np.ones(40), condition=other)).any()


def test_sparse_and_dense_controls_give_the_same_cells():
    x = make_controls().astype(np.float32)
    columns = np.array([5, 3, 8])
    arguments = {"delta": [0.1, -0.2, 0.3], "spread": [0.1, 0.2, 0.3], "columns": columns}
    np.testing.assert_array_equal(draw(x, **arguments), draw(sp.csr_matrix(x), **arguments))


def test_the_deviation_is_the_half_width_over_the_quantile():
    variance, infinite = np.array([4.0]), np.array([np.inf])
    # the two-sided 90 % quantile of the normal distribution is 1.6449
    assert deviation(variance, {0.9: np.array([3.2897]), 0.5: np.array([1.0])})[0] == pytest.approx(2.0, rel=1e-4)
    assert deviation(variance, {0.9: infinite, 0.5: np.array([0.67449])})[0] == pytest.approx(1.0, rel=1e-4)
    assert deviation(variance, {0.9: infinite})[0] == 2.0
    assert deviation(variance, {})[0] == 2.0
