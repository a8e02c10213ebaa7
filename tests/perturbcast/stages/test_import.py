"""The import commands, as a person types them."""

from __future__ import annotations

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
    ],
    ids=["one --map", "two --map"],
)
def test_anyones_anndata(call, tmp_path, words):
    write_source(tmp_path / "mine.h5ad")
    done = call("import-h5ad", "mine.h5ad", *words)
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
    ],
    ids=["no context", "no control", "malformed", "unknown control", "too few cells", "unknown option"],
)
def test_bad_requests_have_one_error_and_leave_nothing(call, tmp_path, words, code, message):
    write_source(tmp_path / "mine.h5ad")
    done = call("import-h5ad", "mine.h5ad", *words)
    assert (done.code, "Traceback" in done.err) == (code, False), done.err
    assert message in done.err
    assert not (tmp_path / "artifacts").exists()


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
