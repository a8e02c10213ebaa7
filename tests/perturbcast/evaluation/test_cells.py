"""Draws are bounded, seeded, and a condition's own."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from perturbcast.evaluation.cells import MeasuredCells, MovedCells


@pytest.fixture
def cells():
    """100 numbered cells of one gene; two conditions of 50 each."""
    x = sp.csr_matrix(np.arange(100, dtype=np.float32)[:, None])
    return MeasuredCells(x=x, rows=[np.arange(50), np.arange(50, 100)], keys=["A in a", "B in a"])


def _numbers(drawn):
    return drawn[:, 0].astype(int).tolist()


def test_no_more_than_the_limit_and_none_twice(cells):
    drawn = _numbers(cells.draw(0, limit=20, seed=0))
    assert len(drawn) == len(set(drawn)) == 20
    assert max(drawn) < 50
    assert _numbers(cells.draw(0, limit=50, seed=0)) == list(range(50))


def test_the_seed_decides(cells):
    assert _numbers(cells.draw(0, limit=20, seed=1)) == _numbers(cells.draw(0, limit=20, seed=1))
    assert _numbers(cells.draw(0, limit=20, seed=1)) != _numbers(cells.draw(0, limit=20, seed=2))


def test_conditions_are_drawn_apart_and_whatever_their_place(cells):
    first, second = (_numbers(cells.draw(row, limit=20, seed=0)) for row in (0, 1))
    assert [n - 50 for n in second] != first
    turned = MeasuredCells(x=cells.x, rows=cells.rows[::-1], keys=cells.keys[::-1])
    assert _numbers(turned.draw(0, limit=20, seed=0)) == second


def test_moved_cells_are_controls_plus_delta_and_no_lower_than_allowed(cells):
    moved = MovedCells(controls=cells, delta=np.array([[-10.0], [0.5]]), smallest=0.0)
    controls = cells.draw(0, limit=20, seed=0)
    np.testing.assert_array_equal(moved.draw(0, limit=20, seed=0), np.maximum(controls - 10, 0))
    np.testing.assert_array_equal(moved.draw(1, limit=20, seed=0), cells.draw(1, limit=20, seed=0) + 0.5)
