"""Predicted cells in the layouts of harnesses: what is in the files, and what is refused before any is written."""

from __future__ import annotations

import dataclasses
import re

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from perturbcast_client import Condition, Target, cli, connect, harness
from perturbcast_client.testing import FAKE_MODEL, FakeServer, fake_delta, fake_prediction

GENES = ("CD3D", "ISG15", "STAT1")  # the fake's, in another order
CONTEXTS = ("B cells", "T cells")
ASKED = [Condition.from_label(*pair) for pair in [("STAT1", "T cells"), ("A+B", "B cells"), ("STAT1", "B cells")]]


def make_file(path, *, genes=GENES, contexts=CONTEXTS, labels=("control", "STAT1"), cells=4, value=None):
    """Cells of every label in every context; X is a half everywhere but in its first gene."""
    rows = [(label, context) for context in contexts for label in labels for _ in range(cells)]
    x = np.full((len(rows), len(genes)), 0.5, dtype=np.float32)
    x[:, 0] = 0
    if value is not None:
        x[0, 1] = value
    obs = pd.DataFrame(rows, columns=["perturbation", "context"], index=[str(i) for i in range(len(rows))])
    anndata.AnnData(sp.csr_matrix(x), obs=obs, var=pd.DataFrame(index=list(genes))).write_h5ad(path)
    return path


@pytest.fixture
def file(tmp_path):
    return make_file(tmp_path / "screen.h5ad")


@pytest.fixture
def screen(file):
    return harness.read_screen(file)


@pytest.fixture
def client():
    with FakeServer() as server, connect(server.address, timeout_s=20) as client:
        client.server = server
        yield client


def expected(condition):
    """The fake's cells are its delta, not below 0, in the screen's order of genes."""
    delta = np.maximum(fake_delta(condition, FAKE_MODEL.genes), 0).astype(np.float32)
    return delta[[FAKE_MODEL.genes.index(gene) for gene in GENES]]


def test_a_screen_is_read_by_context_and_condition(screen):
    assert screen.genes == GENES
    assert {context: x.shape for context, x in screen.controls.items()} == dict.fromkeys(CONTEXTS, (4, 3))
    assert set(screen.measured) == {("STAT1", "B cells"), ("STAT1", "T cells")}


def test_cells_come_condition_by_condition_in_the_order_of_the_screens_genes(client, screen):
    got = list(harness.predicted_cells(client, "fake", screen, ASKED, cells=5, seed=3))
    assert [p.condition for p in got] == [ASKED[0], ASKED[1], ASKED[2]]
    for p in got:
        np.testing.assert_array_equal(p.cells, np.tile(expected(p.condition), (5, 1)))
        assert (p.model, p.fingerprint) == ("fake/1", "0" * 64)
    sent = client.server.requests
    assert [[c.context for c in request.controls] for request in sent] == [["T cells"], ["B cells"]]
    assert {(request.seed, request.model.version) for request in sent} == {(3, "1")}, "one version for all of it"


def test_cell_eval_gets_controls_and_predictions_in_one_file(client, screen, tmp_path):
    cells = harness.predicted_cells(client, "fake", screen, ASKED, cells=5)
    assert harness.write_cell_eval(cells, screen, tmp_path / "pred.h5ad") == 3
    data = anndata.read_h5ad(tmp_path / "pred.h5ad")
    assert tuple(data.var_names) == GENES
    counts = data.obs.groupby(["target_gene", "cell_type"], observed=True).size().to_dict()
    assert counts == {
        ("non-targeting", "B cells"): 4,
        ("non-targeting", "T cells"): 4,
        ("STAT1", "T cells"): 5,
        ("STAT1", "B cells"): 5,
        ("A+B", "B cells"): 5,
    }
    rows = (data.obs["target_gene"] == "A+B").to_numpy()
    np.testing.assert_array_equal(data.X[rows].toarray(), np.tile(expected(ASKED[1]), (5, 1)))
    controls = (data.obs["target_gene"] == "non-targeting").to_numpy()
    assert set(np.unique(data.X[controls].toarray())) == {0.0, 0.5}
    seen = data.uns["perturbcast"]["seen"].set_index("condition")["context"]
    assert seen.to_dict() == {"STAT1 in T cells": False, "A+B in B cells": True, "STAT1 in B cells": True}
    assert [path.name for path in tmp_path.iterdir() if "partial" in path.name] == []


def test_scperturbench_gets_a_file_per_condition(client, screen, tmp_path):
    cells = harness.predicted_cells(client, "fake", screen, ASKED, cells=5)
    names = {"dataset": "kang", "method": "ours", "unseen": True, "highly_variable": 5000}
    assert harness.write_scperturbench(cells, screen, tmp_path / "out", **names) == 3
    base = tmp_path / "out" / "kang" / "o.o.d" / "hvg5000" / "ours"
    assert sorted(str(path.relative_to(base)) for path in base.rglob("*.h5ad")) == [
        "B cells/A+B_imputed.h5ad",
        "B cells/STAT1_imputed.h5ad",
        "T cells/STAT1_imputed.h5ad",
    ]
    both = anndata.read_h5ad(base / "T cells" / "STAT1_imputed.h5ad")
    assert both.obs["perturbation"].value_counts().to_dict() == {"control": 4, "imputed": 5, "stimulated": 4}
    assert tuple(both.var_names) == GENES
    unmeasured = anndata.read_h5ad(base / "B cells" / "A+B_imputed.h5ad")
    assert unmeasured.obs["perturbation"].value_counts().to_dict() == {"control": 4, "imputed": 5}


def test_plain_files(client, screen, tmp_path):
    made = list(harness.predicted_cells(client, "fake", screen, ASKED, cells=2))
    harness.write_h5ad(made, screen, tmp_path / "plain.h5ad")
    assert anndata.read_h5ad(tmp_path / "plain.h5ad").shape == (6, 3)
    harness.write_npz(made, screen, tmp_path / "plain.npz")
    with np.load(tmp_path / "plain.npz") as arrays:
        assert arrays["cells"].shape == (3, 2, 3)
        assert arrays["perturbation"].tolist() == ["STAT1", "A+B", "STAT1"]
        assert arrays["genes"].tolist() == list(GENES)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"value": np.nan}, "X: cells are finite and not negative"),
        ({"value": -1.0}, "X: cells are finite and not negative"),
        ({"genes": ("A", "A", "B")}, "genes: names are unique"),
        ({"labels": ("STAT1",)}, "control_label: .*'control' is not there, but STAT1"),
    ],
    ids=["nan", "negative", "genes-twice", "no-controls"],
)
@pytest.mark.filterwarnings("ignore:Variable names are not unique")
def test_a_bad_file_is_refused(tmp_path, fields, says):
    with pytest.raises(ValueError, match=says):
        harness.read_screen(make_file(tmp_path / "bad.h5ad", **fields))


def test_a_missing_column_is_named(file):
    with pytest.raises(ValueError, match=r"context_key: .*'donor' is none of perturbation, context"):
        harness.read_screen(file, context_key="donor")


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"genes": ("CD3D", "ISG15")}, r"genes: .*1 of 3 are missing \(STAT1\) and 0"),
        ({"genes": (*GENES, "LYZ")}, r"0 of 3 are missing \(\) and 1 are not the model's \(LYZ\)"),
        ({"value": 9.3}, "scale: the model takes log1p.*at most 9.211; .*'B cells' reach 9.3"),
        ({"contexts": ("B cells",)}, "every context has control cells in the file; T cells has none"),
    ],
    ids=["gene-missing", "gene-extra", "scale", "context"],
)
def test_what_does_not_fit_the_model_is_refused_before_anything_is_asked(client, tmp_path, fields, says):
    screen = harness.read_screen(make_file(tmp_path / "other.h5ad", **fields))
    with pytest.raises(ValueError, match=says):
        list(harness.predicted_cells(client, "fake", screen, ASKED))
    assert client.server.requests == []


def test_counts_are_refused(client, tmp_path):
    path = make_file(tmp_path / "counts.h5ad")
    data = anndata.read_h5ad(path)
    data.X = sp.csr_matrix(np.round(data.X.toarray() * 6))
    data.write_h5ad(path)
    with pytest.raises(ValueError, match="are whole numbers, as counts are"):
        list(harness.predicted_cells(client, "fake", harness.read_screen(path), ASKED))


def without_the_last(prediction):
    """A reply that lacks the last condition that was asked."""
    arrays = {name: getattr(prediction, name)[:-1] for name in ("delta", "ood_score", "cells")}
    listed = {name: getattr(prediction, name)[:-1] for name in ("conditions", "seen", "notes", "controls")}
    return dataclasses.replace(prediction, **arrays, **listed)


def with_cells(change):
    return lambda prediction: dataclasses.replace(prediction, cells=change(prediction.cells.copy()))


def with_nan(cells):
    cells[0, 0, 0] = np.nan
    return cells


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (without_the_last, "conditions: every one is answered; 1 of 'B cells' were not"),
        (lambda p: dataclasses.replace(p, conditions=p.conditions[::-1]), "replies come in order; A+B in B cells was"),
        (with_cells(with_nan), "finite cells, not negative, as were asked; it does not"),
        (with_cells(lambda cells: cells - 9), "finite cells, not negative, as were asked; it does not"),
        (with_cells(lambda cells: cells[:, :1]), "as many finite cells"),
        (lambda p: dataclasses.replace(p, cells=None), "as many finite cells"),
    ],
    ids=["not-covered", "another-order", "nan", "negative", "too-few-cells", "no-cells"],
)
def test_a_reply_that_is_not_what_was_asked_ends_the_export_and_leaves_no_file(screen, tmp_path, change, says):
    asked = [Condition.from_label("A+B", "B cells"), Condition.from_label("STAT1", "B cells")]
    answer = lambda request, model: change(fake_prediction(request, model))  # noqa: E731
    with FakeServer(answer=answer) as server, connect(server.address, timeout_s=20) as client:
        cells = harness.predicted_cells(client, "fake", screen, asked, cells=2)
        with pytest.raises(ValueError, match=re.escape(says)):
            harness.write_cell_eval(cells, screen, tmp_path / "out" / "pred.h5ad")
    assert not (tmp_path / "out").exists()


def test_a_condition_twice_is_refused(client, screen):
    with pytest.raises(ValueError, match="conditions: each is predicted once; STAT1 in T cells repeats"):
        list(harness.predicted_cells(client, "fake", screen, [*ASKED, ASKED[0]]))
    spelled = [Condition.from_label("A@0.5", "B cells"), Condition((Target("A", dose=0.5),), "B cells")]
    with pytest.raises(ValueError, match=r"A@0\.5 in B cells repeats"):  # one file would replace the other
        list(harness.predicted_cells(client, "fake", screen, spelled))


def test_no_cells_are_refused_before_anything_is_asked(client, screen):
    with pytest.raises(ValueError, match="cells: at least one per condition; got 0"):
        list(harness.predicted_cells(client, "fake", screen, ASKED, cells=0))
    assert client.server.requests == []


def test_conditions_that_differ_by_dose_have_files_of_their_own(client, screen, tmp_path):
    asked = [Condition((Target("STAT1", dose=dose),), "B cells") for dose in (0.5, 2)]
    cells = harness.predicted_cells(client, "fake", screen, asked, cells=2)
    names = {"dataset": "kang", "method": "ours", "unseen": True, "highly_variable": 3}
    assert harness.write_scperturbench(cells, screen, tmp_path, **names) == 2
    files = sorted(path.name for path in tmp_path.rglob("*_imputed.h5ad"))
    assert files == ["STAT1@0.5_imputed.h5ad", "STAT1@2_imputed.h5ad"]


@pytest.mark.parametrize("layout", cli.LAYOUTS)
def test_notes_and_the_model_are_in_the_files(file, tmp_path, layout):
    """What stands in for what: a scorer that reads the files must see it."""

    def noted(request, model):
        return dataclasses.replace(
            fake_prediction(request, model),
            notes=tuple((f"{c} is far away", "a guess") if len(c.targets) == 1 else () for c in request.conditions),
        )

    out = tmp_path / "p.npz"
    words = ["export", "fake", "--controls", file, "--layout", layout, "--cells", 2, "--out", out]
    words += ["--dataset", "kang"] if layout == "scperturbench" else []
    for condition in ASKED:
        words += ["--condition", condition.perturbation, condition.context]
    with FakeServer(answer=noted) as server:
        assert cli.main([*map(str, words), "--address", server.address]) == 0
    if layout == "npz":
        with np.load(out) as arrays:
            got = dict(
                zip(map("{} in {}".format, arrays["perturbation"], arrays["context"]), arrays["notes"], strict=True)
            )
            models = arrays["model"].tolist()
    else:
        files = out.rglob("*.h5ad") if layout == "scperturbench" else [out]
        said = [anndata.read_h5ad(path).uns["perturbcast"] for path in files]
        got = dict(row for one in said for row in zip(one["seen"]["condition"], one["seen"]["notes"], strict=True))
        models = sorted({name for one in said for name in one["model"]})
    expected = {str(c): f"{c} is far away; a guess" if len(c.targets) == 1 else "" for c in ASKED}
    assert got == expected
    assert models == [str(FAKE_MODEL.name) + (f"/{FAKE_MODEL.version}" if FAKE_MODEL.version else "")]


def test_a_name_that_is_a_path_is_refused(client, screen, tmp_path):
    cells = harness.predicted_cells(client, "fake", screen, ASKED, cells=2)
    names = {"dataset": "../kang", "method": "ours", "unseen": True, "highly_variable": 3}
    with pytest.raises(ValueError, match=r"'../kang' cannot"):
        harness.write_scperturbench(cells, screen, tmp_path, **names)


@pytest.mark.parametrize("label", ["A/B", "Ä" * 101], ids=["slash", "too-long"])
def test_the_command_refuses_a_name_that_is_no_file_before_anything_is_asked(client, file, tmp_path, capsys, label):
    words = ["export", "fake", "--address", client.server.address, "--controls", file, "--layout", "scperturbench"]
    words += [
        "--condition",
        "STAT1",
        "B cells",
        "--condition",
        label,
        "B cells",
        "--dataset",
        "kang",
        "--out",
        tmp_path,
    ]
    assert cli.main([str(word) for word in words]) == 1
    assert "cannot. Rename it" in capsys.readouterr().err
    assert client.server.requests == []
    assert not (tmp_path / "kang").exists()


def test_a_failed_export_leaves_no_file(client, screen, tmp_path):
    def broken():
        yield from harness.predicted_cells(client, "fake", screen, ASKED[:1], cells=2)
        raise ValueError("the service went away")

    with pytest.raises(ValueError, match="went away"):
        harness.write_cell_eval(broken(), screen, tmp_path / "new" / "pred.h5ad")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("layout", cli.LAYOUTS)
def test_export_of_the_command_line(client, file, tmp_path, layout, capsys):
    conditions = tmp_path / "conditions.csv"
    conditions.write_text("perturbation,context\nSTAT1,T cells\nA+B,B cells\n")
    out = tmp_path / ("out" if layout == "scperturbench" else "out.npz" if layout == "npz" else "out.h5ad")
    words = ["export", "fake", "--address", client.server.address, "--controls", file, "--layout", layout]
    words += ["--conditions", conditions, "--cells", 3, "--out", out]
    words += ["--dataset", "kang"] if layout == "scperturbench" else []
    assert cli.main([str(word) for word in words]) == 0
    assert capsys.readouterr().out == f"2 conditions in {out}\n"
    assert len(list(out.rglob("*_imputed.h5ad"))) == 2 if layout == "scperturbench" else out.is_file()


def test_options_of_a_layout_reach_its_files(client, file, tmp_path):
    words = ["export", "fake", "--address", client.server.address, "--controls", str(file), "--cells", "2"]
    words += ["--condition", "STAT1", "T cells"]
    keys = ["--out-perturbation-key", "gene", "--out-context-key", "line", "--out-control-label", "NT"]
    assert cli.main([*words, "--layout", "cell-eval", "--out", str(tmp_path / "p.h5ad"), *keys]) == 0
    obs = anndata.read_h5ad(tmp_path / "p.h5ad").obs
    assert {key: set(obs[key]) for key in obs} == {"gene": {"NT", "STAT1"}, "line": {"T cells"}}
    folders = ["--dataset", "kang", "--method", "ours", "--unseen", "--hvg", "7"]
    assert cli.main([*words, "--layout", "scperturbench", "--out", str(tmp_path / "all"), *folders]) == 0
    assert (tmp_path / "all/kang/o.o.d/hvg7/ours/T cells/STAT1_imputed.h5ad").is_file()


@pytest.mark.parametrize(
    ("layout", "options", "says"),
    [
        ("npz", ["--unseen"], "--unseen: an option of the layout scperturbench; the layout is npz"),
        ("scperturbench", ["--out-context-key", "line"], "--out-context-key: an option of the layout cell-eval"),
        ("scperturbench", ["--hvg", "2"], "--dataset: the layout scperturbench begins with the name"),
        ("scperturbench", ["--dataset", "kang", "--hvg", "-5"], "--hvg: a number of genes, at least 1; got -5"),
    ],
    ids=["plain", "of-the-other", "no-dataset", "no-genes"],
)
def test_an_option_that_would_do_nothing_is_refused(client, file, tmp_path, capsys, layout, options, says):
    words = ["export", "fake", "--address", client.server.address, "--controls", str(file), "--layout", layout]
    words += ["--condition", "STAT1", "T cells", "--out", str(tmp_path / "out.npz"), *options]
    assert cli.main(words) == 1
    assert capsys.readouterr().err.startswith(f"error: {says}")
    assert client.server.requests == []
