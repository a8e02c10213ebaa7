"""What is read without anndata is what anndata reads; what has another form is left to it."""

from __future__ import annotations

import sys

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from perturbcast.evaluation import stored_cells
from perturbcast.evaluation.stored_cells import read_stored_cells

LABELS = {
    "categories": pd.Categorical(["b", "a", "b", None]),
    "text": ["x", "y", "x", "z"],
    "numbers": [3, 1, 2, 0],
    "flags": [True, False, True, True],
}


def _write(path, x, **columns):
    obs = pd.DataFrame({**LABELS, **columns}, index=[f"cell{i}" for i in range(4)])
    obs["text"] = obs["text"].astype(object)
    file = anndata.AnnData(x, obs=obs, var=pd.DataFrame(index=["G1", "G0"]))
    file.layers["counts"] = sp.csr_matrix(np.ones((4, 2)))
    file.write_h5ad(path)
    return path


def _text(labels):
    return [None if code < 0 else labels.names[code] for code in labels.codes]


@pytest.mark.parametrize("form", [sp.csr_matrix, sp.csc_matrix, np.asarray], ids=["csr", "csc", "dense"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_the_usual_forms_need_no_anndata(tmp_path, monkeypatch, form, dtype):
    x = form(np.array([[0, 1], [2, 0], [0, 0], [3, 4]], dtype=dtype))
    path = _write(tmp_path / "cells.h5ad", x)
    wanted = anndata.read_h5ad(path)
    monkeypatch.setattr(stored_cells, "_by_anndata", lambda *_: pytest.fail("anndata was asked"))
    found = read_stored_cells(path, columns=["categories", "text", "numbers", "absent"])
    assert type(found.x) is type(wanted.X)
    assert found.x.dtype == wanted.X.dtype
    np.testing.assert_array_equal(sp.csr_matrix(found.x).toarray(), sp.csr_matrix(wanted.X).toarray())
    assert list(found.labels) == ["categories", "text", "numbers"]
    for name in found.labels:
        assert _text(found.labels[name]) == [None if pd.isna(x) else str(x) for x in wanted.obs[name]]
    assert found.columns == tuple(wanted.obs.columns)
    assert found.barcodes.tolist() == wanted.obs_names.tolist()
    assert found.genes.tolist() == ["G1", "G0"]


def test_a_nullable_column_is_read_by_anndata(tmp_path):
    path = _write(tmp_path / "cells.h5ad", np.ones((4, 2)), nullable=pd.array([1, None, 2, 3], dtype="Int64"))
    found = read_stored_cells(path, columns=["nullable"])
    assert _text(found.labels["nullable"]) == ["1", None, "2", "3"]
    assert "anndata" in sys.modules
