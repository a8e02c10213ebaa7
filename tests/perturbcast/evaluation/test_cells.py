"""Draws are bounded, seeded, and a condition's own."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from perturbcast.evaluation.cells import MeasuredCells, MovedCells, select_rows


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


def test_some_genes_of_a_draw_are_the_same_cells():
    rng = np.random.default_rng(0)
    x = sp.random(90, 30, density=0.3, format="csr", dtype=np.float32, random_state=rng)
    controls = np.r_[5:40, 60:80]
    cells = MeasuredCells(x=x, rows=[controls, controls, np.arange(30, 60)], keys=["A", "B", "C"])
    moved = MovedCells(controls=cells, delta=rng.normal(size=(3, 30)), smallest=0.0)
    for source in (cells, moved):
        for limit in (20, 100):  # a draw of each condition's own, and all cells
            for row in (0, 1, 2, 0):
                genes = rng.permutation(30)[:7]
                whole = source.draw(row, limit=limit, seed=1)
                np.testing.assert_array_equal(source.draw_genes(row, genes, limit=limit, seed=1), whole[:, genes])


@pytest.mark.parametrize("rows", [[2, 3, 4], [4], [3, 2], [2, 4], []], ids=str)
def test_rows_are_those_asked_for_copied_or_not(rows):
    x = sp.random(6, 8, density=0.5, format="csr", random_state=np.random.default_rng(0))
    np.testing.assert_array_equal(select_rows(x, np.array(rows, dtype=int)).toarray(), x.toarray()[rows])
