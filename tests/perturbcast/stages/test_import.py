"""The import commands, as a person types them."""

from __future__ import annotations

import json

import anndata
import numpy as np
import pandas as pd
import pytest

from perturbcast.stores import h5ad


def write_source(path, *, cells=25, drop=()):
    rows = [(label, line) for line in ("K562", "RPE1") for label in ("NT", "TP53", "MYC") for _ in range(cells)]
    obs = pd.DataFrame(rows, columns=["gene", "line"], index=[f"bc{i}" for i in range(len(rows))]).drop(
        columns=list(drop)
    )
    x = np.random.default_rng(0).poisson(2.0, (len(rows), 4)).astype(np.float32) + 1
    anndata.AnnData(X=x, obs=obs, var=pd.DataFrame(index=list("ABCD"))).write_h5ad(path)


@pytest.mark.parametrize(
    "words",
    [
        ["--map", "perturbation=gene", "context=line", "--control", "NT"],
        ["--map", "perturbation=gene", "--map", "context=line", "--control", "NT"],
        ["perturbation=gene", "context=line", "--control", "NT"],
    ],
    ids=["one --map", "two --map", "no --map"],
)
@pytest.mark.parametrize("first", [True, False], ids=["file first", "file last"])
def test_anyones_anndata(call, tmp_path, words, first):
    write_source(tmp_path / "mine.h5ad")
    done = call("import-h5ad", *(["mine.h5ad", *words] if first else [*words, "mine.h5ad"]))
    assert done.code == 0, done.err
    data = h5ad.read(tmp_path / "artifacts/datasets/mine.h5ad")
    assert sorted({c.perturbation for c in data.conditions}) == ["MYC", "TP53"]
    assert "150 cells x 4 genes, 4 conditions in 2 contexts" in done.out


def test_a_missing_column_lists_the_columns_present(call, tmp_path):
    write_source(tmp_path / "mine.h5ad")
    done = call("import-h5ad", "mine.h5ad", "--map", "perturbation=target", "context=line", "--control", "NT")
    assert done.code == 2
    assert "'target' was mapped to perturbation, and obs does not have it; present: gene, line" in done.err
    assert "Traceback" not in done.err
    assert not (tmp_path / "artifacts").exists(), "nothing half-written"


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--map", "perturbation=gene", "--control", "NT"], 2, "context missing. Add --map context=COLUMN"),
        (["--map", "perturbation=gene", "context=line"], 2, "none was given. Add --control LABEL"),
        (["--map", "perturbation:gene", "--control", "NT"], 2, "A mapping is ROLE=COLUMN"),
        (["--map", "perturbation=gene", "context=line", "--control", "DMSO"], 2, "labels DMSO; column 'gene'"),
        (
            ["--map", "perturbation=gene", "context=line", "--control", "NT", "--min-cells", "99"],
            1,
            "Lower --min-cells",
        ),
        (["--map", "perturbation=gene", "context=line", "--control", "NT", "--cells", "9"], 2, "No such option"),
        (
            ["--map", "perturbation=gene", "context=line", "--control", "NT", "--name", "a/b"],
            2,
            "is a path. Give --name",
        ),
        (
            ["--map", "perturbation=gene", "context=line", "--control", "NT", "--dose-unit", "uM"],
            2,
            "dose is not mapped",
        ),
        (["--map", "perturbation=gene", "batches=b", "--control", "NT"], 2, "got 'mine.h5ad', 'batches=b'"),
    ],
    ids=[
        "no context",
        "no control",
        "malformed",
        "unknown control",
        "too few cells",
        "unknown option",
        "path as name",
        "unit of nothing",
        "unknown role",
    ],
)
def test_bad_requests_have_one_error_and_leave_nothing(call, tmp_path, words, code, message):
    write_source(tmp_path / "mine.h5ad")
    done = call("import-h5ad", "mine.h5ad", *words)
    assert (done.code, "Traceback" in done.err) == (code, False), done.err
    assert message in done.err
    assert not (tmp_path / "artifacts").exists()


def repeat_gene(adata):
    adata.var_names = ["A", "A", "C", "D"]


def set_value(adata, value):
    adata.X[0, 0] = value


def lose_controls(adata):
    adata.obs.loc[adata.obs["line"] == "RPE1", "gene"] = "TP53"


@pytest.mark.filterwarnings("ignore:.*names are not unique:UserWarning")
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (repeat_gene, "Gene names are unique; repeated: A."),
        (lambda a: set_value(a, np.nan), "1 NaN or infinite entries"),
        (lambda a: set_value(a, -1), "the smallest entry of X is -1"),
        (lambda a: set_value(a, 0.5), "import it with --scale log1p"),
        (lose_controls, "RPE1 hold none"),
    ],
    ids=["repeated gene", "NaN", "negative", "not counts", "context without controls"],
)
def test_bad_content_has_one_error_and_leaves_nothing(call, tmp_path, spoil, message):
    write_source(tmp_path / "mine.h5ad")
    adata = anndata.read_h5ad(tmp_path / "mine.h5ad")
    adata.obs = adata.obs.astype(str)
    spoil(adata)
    adata.write_h5ad(tmp_path / "mine.h5ad")
    done = call("import-h5ad", "mine.h5ad", "--map", "perturbation=gene", "context=line", "--control", "NT")
    assert done.code == 1
    assert message in done.err
    assert done.err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["mine.h5ad"]


def test_a_file_that_is_no_anndata(call, tmp_path):
    (tmp_path / "mine.h5ad").write_text("a,b")
    done = call("import-h5ad", "mine.h5ad", "--map", "perturbation=gene", "context=line", "--control", "NT")
    assert done.code == 1
    assert "mine.h5ad cannot be read" in done.err


def test_datasets_lists_where_each_file_is(call, shared, monkeypatch):
    monkeypatch.setenv("PERTURBCAST_DATA", str(shared / "data"))
    rows = {row["name"]: row for row in json.loads(call("datasets", "--json").out)}
    assert rows["kang2018"]["file"] == str(shared / "data/kang2018_pbmc_ifnb.h5ad")
    assert {name: row["state"] for name, row in rows.items()} == {
        "gasperini2019": "found",
        "kang2018": "found",
        "kang2018_unperturbed": "found",
        "norman2019_mcfaline2023": "found",
        "op3_2023": "found",
        "papalexi2021": "found",
        "simulated": "made",
        "tahoe100m": "found",
    }
    monkeypatch.setenv("PERTURBCAST_DATA", "nowhere")
    rows = {row["name"]: row for row in json.loads(call("datasets", "--json").out)}
    assert rows["kang2018"]["state"] == "absent"
    assert "it is not in nowhere, ../shared/data" in rows["kang2018"]["file"]


@pytest.mark.parametrize("name", ["kang2018", "norman2019_mcfaline2023", "papalexi2021", "gasperini2019"])
def test_import_twice_gives_the_same_bytes(call, shared, tmp_path, monkeypatch, name):
    monkeypatch.setenv("PERTURBCAST_DATA", str(shared / "data"))
    for folder in ("one", "two"):
        assert call("import", name, "--out", f"{folder}/d.h5ad").code == 0
    assert (tmp_path / "one/d.h5ad").read_bytes() == (tmp_path / "two/d.h5ad").read_bytes()
    assert h5ad.read(tmp_path / "one/d.h5ad").dataset == name


def test_an_absent_file_and_an_unknown_dataset(call):
    assert call("import-h5ad", "x.h5ad", "--map", "perturbation=a", "context=b", "--control", "c").code == 2
    done = call("import", "kang2019")
    assert done.code == 2
    assert "'kang2019' is unknown. Did you mean 'kang2018'?" in done.err


def test_a_dataset_that_cannot_be_found_says_where_it_looked(call, monkeypatch):
    monkeypatch.delenv("PERTURBCAST_DATA", raising=False)
    done = call("import", "kang2018")
    assert done.code == 1
    assert "is not in ../shared/data" in done.err
    assert "GSE96583" in call("datasets").out
