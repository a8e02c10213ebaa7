"""A dataset on disk gives back the same cells, has a hash over its content, and cannot be edited unnoticed."""

from __future__ import annotations

import dataclasses

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest

from perturbcast.errors import UsageError
from perturbcast.schema import content_hash
from perturbcast.stores import h5ad
from perturbcast.stores.contract import to_contract


@pytest.fixture
def made(make_adata, make_mapping):
    mapping = make_mapping(covariates={"batch": "line"})
    return to_contract(make_adata(), mapping, dataset="mine", source={"perturbation_type": {"a/b": "CRISPRi"}})


def test_round_trip(made, tmp_path):
    data, counts = made
    h5ad.write(data, tmp_path / "d.h5ad", counts=counts)
    read = h5ad.read(tmp_path / "d.h5ad")
    assert (read.genes, read.hash, read.conditions) == (data.genes, data.hash, data.conditions)
    assert read.meta["targets"] == {"KLF1+MYC": ["KLF1", "MYC"], "TP53": ["TP53"]}
    assert read.meta["perturbation_type"] == {"a/b": "CRISPRi"}
    assert list(read.meta["preprocessing"]) == data.meta["preprocessing"]
    np.testing.assert_array_equal(read.x.toarray(), data.x.toarray())
    stored = anndata.read_h5ad(tmp_path / "d.h5ad")
    np.testing.assert_array_equal(stored.layers["counts"].toarray(), counts.toarray())


def test_gene_names_of_the_other_namespace_are_columns_of_var(made, tmp_path):
    names = [f"ENSG{i}" for i in range(5)]
    h5ad.write(dataclasses.replace(made[0], meta={**made[0].meta, "ensembl_id": names}), tmp_path / "d.h5ad")
    assert h5ad.read(tmp_path / "d.h5ad").meta["ensembl_id"] == names
    stored = anndata.read_h5ad(tmp_path / "d.h5ad")
    assert stored.var["ensembl_id"].tolist() == names
    assert "ensembl_id" not in stored.uns["perturbcast"]


def test_equal_content_gives_equal_bytes(made, tmp_path):
    for name in ("one", "two"):
        h5ad.write(made[0], tmp_path / f"{name}.h5ad", counts=made[1])
    assert (tmp_path / "one.h5ad").read_bytes() == (tmp_path / "two.h5ad").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["one.h5ad", "two.h5ad"]


def test_truth_of_a_simulation_is_kept(made, tmp_path):
    truth = {"adjacency": np.eye(3), "delta": {"values": np.ones((2, 3))}}
    h5ad.write(dataclasses.replace(made[0], truth=truth), tmp_path / "d.h5ad")
    read = h5ad.read(tmp_path / "d.h5ad").truth
    np.testing.assert_array_equal(read["adjacency"], truth["adjacency"])
    np.testing.assert_array_equal(read["delta"]["values"], truth["delta"]["values"])


@pytest.mark.parametrize("what", ["value", "gene", "barcode", "label", "context", "batch"])
def test_the_hash_is_over_everything(made, what):
    data = made[0]
    x, genes, obs = data.x.copy(), list(data.genes), data.obs.copy()
    if what == "value":
        x.data[5] += 1e-3
    elif what == "gene":
        genes[2] = "other"
    elif what == "barcode":
        obs.index = ["other", *obs.index[1:]]
    else:
        column = {"label": "perturbation"}.get(what, what)
        obs[column] = ["other", *obs[column].astype(str)[1:]]
    assert content_hash(x, genes, obs) != content_hash(data.x, data.genes, data.obs)


def test_the_hash_does_not_depend_on_other_columns(made):
    data = made[0]
    assert content_hash(data.x, data.genes, data.obs.assign(n_umis=1)) == data.hash


def test_an_edited_file_is_refused(made, tmp_path):
    path = tmp_path / "d.h5ad"
    h5ad.write(made[0], path)
    adata = anndata.read_h5ad(path)
    adata.X.data[0] += 1
    adata.write_h5ad(path)
    with pytest.raises(ValueError, match=r"not edited after import; .* Import it again"):
        h5ad.read(path)


def test_other_files_say_what_to_do(make_adata, tmp_path):
    make_adata().write_h5ad(tmp_path / "raw.h5ad")
    with pytest.raises(ValueError, match=r"not\. Run 'perturbcast import-h5ad .*raw\.h5ad --map"):
        h5ad.read(tmp_path / "raw.h5ad")
    (tmp_path / "broken.h5ad").write_bytes(b"\x89HDF\r\n\x1a\nrest")
    with pytest.raises(ValueError, match=r"whole \.h5ad file; .* cannot be read"):
        h5ad.read(tmp_path / "broken.h5ad")
    pd.DataFrame({"a": [1]}).to_csv(tmp_path / "table.h5ad")
    with h5py.File(tmp_path / "other.h5ad", "w") as file:
        file["table"] = [1, 2]
    for name in ("table", "other"):
        with pytest.raises(ValueError, match=rf"whole \.h5ad file; .*{name}\.h5ad cannot be read"):
            h5ad.read(tmp_path / f"{name}.h5ad")
    with pytest.raises(UsageError, match="does not exist"):
        h5ad.read(tmp_path / "absent.h5ad")


def test_a_failed_write_leaves_nothing_and_keeps_the_old(made, tmp_path, monkeypatch):
    path = tmp_path / "d.h5ad"
    h5ad.write(made[0], path)
    before = path.read_bytes()

    def full(*_, **__):
        raise OSError("No space left on device")

    monkeypatch.setattr(anndata.AnnData, "write_h5ad", full)
    with pytest.raises(OSError, match="No space left"):
        h5ad.write(made[0], path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["d.h5ad"]
