"""Tables and mappings read without anndata are what anndata reads."""

import sys

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
from anndata.io import read_elem

from perturbcast.stores.plain_elements import read_element


@pytest.fixture
def path(tmp_path):
    index = pd.Index(["a/1", "b", "ü"], name="barcode")
    obs = pd.DataFrame(
        {
            "text": pd.array(["x", "y", "x"], dtype=object),
            "ordered": pd.Categorical(["low", None, "high"], categories=["low", "high"], ordered=True),
            "dose": np.array([0.5, np.nan, 2.0], dtype=np.float32),
            "count": np.array([1, 2, 3], dtype=np.int16),
            "is_control": [True, False, False],
        },
        index=index,
    )
    data = anndata.AnnData(X=np.zeros((3, 2), dtype=np.float32), obs=obs, var=pd.DataFrame(index=["G1", "G2"]))
    data.uns = {"perturbcast": {"dataset": "made", "n": 3, "share": 0.5, "steps": np.array(["p", "q"], dtype=object)}}
    data.write_h5ad(tmp_path / "made.h5ad")
    return tmp_path / "made.h5ad"


def test_the_usual_forms_are_what_anndata_reads(path, monkeypatch):
    with h5py.File(path) as file:
        theirs = {name: read_elem(file[name]) for name in ("obs", "var", "uns")}
        monkeypatch.setitem(sys.modules, "anndata.io", None)  # an import would fail
        ours = {name: read_element(file[name]) for name in theirs}
    pd.testing.assert_frame_equal(ours["obs"], theirs["obs"])
    pd.testing.assert_frame_equal(ours["var"], theirs["var"])
    assert (ours["obs"].index.name, ours["var"].index.name) == ("barcode", None)
    for name, value in theirs["uns"]["perturbcast"].items():
        found = ours["uns"]["perturbcast"][name]
        assert type(found) is type(value)
        np.testing.assert_array_equal(found, value)


def test_another_form_is_left_to_anndata(path):
    with h5py.File(path, "r+") as file:
        anndata.io.write_elem(file["uns"], "nullable", pd.array([1, None], dtype="Int64"))
        found = read_element(file["uns"])
    assert found["nullable"].tolist() == [1, pd.NA]
    assert found["perturbcast"]["dataset"] == "made"


def test_a_table_without_its_index_is_an_error(path):
    with h5py.File(path, "r+") as file:
        del file["obs/barcode"]
        with pytest.raises(KeyError):
            read_element(file["obs"])
