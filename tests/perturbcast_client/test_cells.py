"""Control cells, dense and sparse: the same numbers, and a sparse matrix is refused unless it is canonical."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from perturbcast_client import ControlCells
from perturbcast_client.cells import CsrMatrix

X = np.array([[0.0, 1.5, 0.0], [0.0, 0.0, 0.0], [2.0, 0.0, 0.25], [0.0, 0.0, 4.0]])


def test_mean_and_rows_are_those_of_the_dense_matrix():
    sparse, dense = ControlCells.of("c", sp.csc_matrix(X)), ControlCells.of("c", X)
    assert isinstance(sparse.expression, CsrMatrix)
    np.testing.assert_array_equal(sparse.mean(), X.mean(axis=0))
    np.testing.assert_array_equal(dense.mean(), X.mean(axis=0))
    picked = np.array([3, 0, 3])
    np.testing.assert_array_equal(sparse.rows(picked), X[picked])
    np.testing.assert_array_equal(dense.rows(picked), X[picked])
    assert sparse.shape == dense.shape == (4, 3)


def test_what_scipy_holds_twice_is_summed_and_the_callers_matrix_is_left_alone():
    matrix = sp.csr_matrix((np.ones(3), np.array([2, 0, 2]), np.array([0, 3])), shape=(1, 3))
    np.testing.assert_array_equal(ControlCells.of("c", matrix).mean(), [1, 0, 2])
    assert matrix.nnz == 3


def test_integers_become_float32_and_doubles_stay():
    assert ControlCells.of("c", sp.csr_matrix(X.astype(int))).expression.data.dtype == np.float32
    assert ControlCells.of("c", X.astype(int).tolist()).expression.dtype == np.float32
    assert ControlCells.of("c", sp.csr_matrix(X)).expression.data.dtype == np.float64


def test_cells_without_a_single_value_are_all_zero():
    assert ControlCells.of("c", sp.csr_matrix((2, 3))).mean().tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"indptr": np.array([0.0, 1.0])}, "indptr: int32 or int64 .*got float64"),
        ({"indices": np.array([[0]])}, r"indices: .*shape \(1, 1\)"),
        ({"data": np.array([1])}, "data: float32 or float64 .*got int64"),
        ({"shape": (0, 3)}, "indptr: .*more than the 0 cells; got 2"),
    ],
    ids=["pointers", "axes", "values", "cells"],
)
def test_a_matrix_of_other_types_is_refused(fields, says):
    base = {"indptr": np.array([0, 1]), "indices": np.array([0]), "data": np.array([1.0]), "shape": (1, 3)}
    with pytest.raises(ValueError, match=f"^{says}"):
        CsrMatrix(**{**base, **fields})
