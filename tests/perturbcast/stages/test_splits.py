"""splits create, list, show, verify, import, and merge, as a person types them."""

from __future__ import annotations

import json
import shutil

import pytest

from perturbcast import splits
from perturbcast.stores import h5ad

DATA = "artifacts/datasets/made.h5ad"


@pytest.fixture
def work(tmp_path, make_data, call):
    """A scratch folder with two imported datasets."""
    h5ad.write(make_data(), tmp_path / DATA)
    other = make_data(dataset="other", seed=3, genes=7, contexts=("a", "z"), perturbations=("G0", "G1", "G4"))
    h5ad.write(other, tmp_path / "artifacts/datasets/other.h5ad")
    return tmp_path


def make(call, *words, name="s"):
    done = call("splits", "create", "--data", DATA, "--out", f"artifacts/splits/{name}", *words)
    assert done.code == 0, done.err
    return done


def test_create_is_the_stage_split(call, work):
    make(call, "--rule", "unseen_context", "--require-shared-perturbations", "fail")
    words = ("--rule", "unseen_context", "--require-shared-perturbations=fail", "--out", "artifacts/splits/t")
    assert call("split", "--data", DATA, *words).code == 0
    for name in ("fold_0.json", "fold_2.barcodes.tsv.gz"):
        one, two = (work / f"artifacts/splits/{split}" / name for split in ("s", "t"))
        assert one.read_bytes() == two.read_bytes()


def test_create_never_overwrites_other_content(call, work):
    make(call, "--rule", "unseen_context")
    done = call(
        "splits", "create", "--data", DATA, "--rule", "unseen_context", "--seed", "1", "--out", "artifacts/splits/s"
    )
    assert done.code == 1
    assert "A frozen split is never overwritten" in done.err


def test_show_says_counts_controls_and_what_is_new(call, work):
    make(call, "--rule", "unseen_context", "--contexts", "a")
    file = work / "artifacts/splits/s/fold_0.json"
    said = call("splits", "show", file).out
    rows = {
        line.split("│")[1].strip(): [cell.strip() for cell in line.split("│")[2:-1]]
        for line in said.splitlines()
        if line.count("│") == 7
    }
    assert rows["train"] == ["3", "3", "1", "120", "30"], (
        "three conditions in one context, 30 cells each and 30 controls"
    )
    assert rows["test"] == ["3", "3", "1", "90", "0"]
    assert rows["control_input"] == ["0", "0", "0", "60", "60"]
    for words in (
        "new at test: context",
        "test: 0 perturbations not in train; 1 contexts not in train: a",
        "policy filter, not mixed",
        splits.load(file).hash,
        splits.load(file).dataset_hash,
    ):
        assert words in said


def test_verify_names_every_bad_split(call, work):
    make(call, "--rule", "unseen_context")
    done = call("splits", "verify", "--data", DATA)
    assert (done.code, done.out.count("ok  ")) == (0, 3)
    folder = work / "artifacts/splits/s"
    (folder / "fold_1.json").write_text((folder / "fold_1.json").read_text().replace('"seed": 0', '"seed": 1'))
    (folder / "fold_2.barcodes.tsv.gz").unlink()
    done = call("splits", "verify")
    assert done.code == 1
    assert "2 of 3 are bad: artifacts/splits/s/fold_1.json, artifacts/splits/s/fold_2.json" in done.err
    assert "BAD artifacts/splits/s/fold_1.json: A frozen split is not edited" in done.out
    assert call("splits", "verify", "artifacts/splits/s/fold_0.json").code == 0
    assert (
        call("splits", "verify", "artifacts/splits/s/fold_0.json", "--data", "artifacts/datasets/other.h5ad").code == 1
    )
    assert call("splits", "verify", "artifacts/none").code == 2


def test_an_older_format_is_named(call, work):
    make(call, "--rule", "unseen_context")
    file = work / "artifacts/splits/s/fold_0.json"
    file.write_text(file.read_text().replace("perturbcast.split/2", "perturbcast.split/1"))
    assert "reads splits of format perturbcast.split/2" in call("splits", "verify", file).out


def test_import_freezes_and_trains(call, work):
    lists = {"train": ["ctrl", "G0+ctrl"], "val": ["G1+ctrl"], "test": ["G2+ctrl"]}
    (work / "gears.json").write_text(json.dumps(lists))
    done = call("splits", "import", "gears.json", "--format", "gears", "--data", DATA, "--out", "artifacts/splits/g")
    assert done.code == 0, done.err
    assert "1 fold of imported on made" in done.out
    done = call("train", "--split", "artifacts/splits/g", "--model", "mean_delta", "--out", "models/g")
    assert done.code == 0, done.err
    shutil.copy(work / "gears.json", work / "gears.pkl")
    done = call("splits", "import", "gears.pkl", "--format", "gears", "--data", DATA, "--out", "artifacts/splits/h")
    assert (done.code, "A pickle runs code" in done.err) == (2, True)


def test_two_datasets_from_merge_to_scores(call, work):
    done = call("merge", DATA, "artifacts/datasets/other.h5ad")
    assert done.code == 0, done.err
    assert "other against the others: 6 genes shared (85.7% of its own), 1 only in it, 0 only in the others" in done.out
    data = "artifacts/datasets/made+other.h5ad"
    words = ("--rule", "cross_dataset", "--test", "other", "--out", "artifacts/splits/x")
    assert call("splits", "create", "--data", data, *words, "--min-shared-genes", "1.1").code == 2
    done = call("splits", "create", "--data", data, *words)
    assert done.code == 0, done.err
    assert "1 perturbations of 'other' are not in train and were dropped from test: G4" in done.out
    said = call("splits", "show", "artifacts/splits/x/fold_0.json").out
    assert "genes: 6 shared (100.0% of train's, 85.7% of test's), 0 only in train, 1 only in test" in said
    for verb, *options in (
        ("train", "--model", "mean_delta", "--out", "models/x"),
        ("predict", "--model", "models/x", "--out", "predictions/x"),
        ("evaluate", "--prediction", "predictions/x", "--out", "scores"),
    ):
        done = call(verb, "--split", "artifacts/splits/x", *options)
        assert done.code == 0, done.err
    metrics = json.loads((work / "scores/test/x/x/metrics.json").read_text())
    fold = splits.load(work / "artifacts/splits/x/fold_0.json", data=h5ad.read(work / data))
    assert metrics["perturbench.rmse_average@1"]["n"] == len(fold.conditions["test"])
    # the same perturbation lowers the same gene in both datasets, so that the response carries
    assert (
        metrics["perturbench.rmse_average@1"]["value"] < 0.5 * metrics["perturbench.rmse_average@1"]["floor"]["control"]
    )
