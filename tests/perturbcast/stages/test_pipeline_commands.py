"""split, splits, train, predict, evaluate, leaderboard, report, register by hand, and what they refuse."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from perturbcast import splits
from perturbcast.schema import content_hash
from perturbcast.stores import h5ad, predictions
from perturbcast.training import load_model

MODELS = ("control", "mean_delta", "additive")


@pytest.fixture
def work(make_data, tmp_path, call):
    """A scratch folder with one imported dataset and one frozen split."""
    data = make_data(contexts=("a", "b", "c", "d"), perturbations=("G0", "G1", "G2", "G3"), dataset="made")
    h5ad.write(data, tmp_path / "artifacts/datasets/made.h5ad")
    done = call(
        "split", "--data", "artifacts/datasets/made.h5ad", "--rule", "unseen_context", "--out", "artifacts/splits/s"
    )
    assert done.code == 0, done.err
    return tmp_path


def run_models(call, models=MODELS, split="s"):
    for name in models:
        steps = (
            ("train", "--model", name, "--out", f"artifacts/models/{split}/{name}"),
            (
                "predict",
                "--model",
                f"artifacts/models/{split}/{name}",
                "--out",
                f"artifacts/predictions/{split}/{name}",
            ),
            ("evaluate", "--prediction", f"artifacts/predictions/{split}/{name}", "--out", "artifacts/evaluations"),
        )
        for verb, *words in steps:
            done = call(verb, "--split", f"artifacts/splits/{split}", *words)
            assert done.code == 0, (verb, done.err)


def test_by_hand_from_split_to_leaderboard(call, work):
    run_models(call)
    done = call("leaderboard", "--metric", "perturbench.rmse_average@1")
    assert done.code == 0, done.err
    choice = json.loads((work / "artifacts/leaderboard/leaderboard.json").read_text())["splits"]["s"]
    assert choice["selected"] in ("additive", "mean_delta"), "effects are equal over contexts: their mean is right"
    assert set(choice["candidates"]) == set(MODELS)
    assert call("report").code == 0
    taken = pd.read_csv(work / "artifacts/report/resources.csv").set_index(["model", "stage"])
    assert set(taken.index) == {(model, stage) for model in MODELS for stage in ("train", "predict")}
    assert (taken[["wall_s", "cpu_s"]] > 0).all(axis=None)
    assert taken["peak_rss_mb"].between(50, 10_000).all(), "this process holds numpy and scipy"
    assert "<html" in (work / "artifacts/report/report.html").read_text()
    assert not list(work.rglob("*.partial*")), "no half-written output"


def test_stages_give_equal_bytes_when_run_again(call, work):
    run_models(call, models=("mean_delta",))
    folders = [work / f"artifacts/{name}" for name in ("models", "predictions", "evaluations")]
    before = {path: path.read_bytes() for folder in folders for path in folder.rglob("*") if path.is_file()}
    run_models(call, models=("mean_delta",))
    assert before
    assert before == {path: path.read_bytes() for path in before}


def test_changing_test_cells_changes_test_scores_and_not_the_choice(call, make_data, tmp_path):
    data = make_data(contexts=("a", "b", "c", "d", "e"), perturbations=("G0", "G1", "G2", "G3"))
    held = list(splits.make(data, "unseen_context")[0].parts["test"])
    x = data.x.tolil(copy=True)
    rows = data.obs.index.get_indexer(held)
    x[rows] = np.random.default_rng(1).random((len(rows), x.shape[1])) * 5
    x = x.tocsr().astype(np.float32)
    other = dataclasses.replace(data, x=x, meta={**data.meta, "content_hash": content_hash(x, data.genes, data.obs)})
    found = []
    for cells in (data, other):
        shutil.rmtree(tmp_path / "artifacts", ignore_errors=True)
        h5ad.write(cells, tmp_path / "artifacts/datasets/made.h5ad")
        made = splits.make(cells, "unseen_context")[0]
        splits.freeze(made, tmp_path / "artifacts/splits/s/fold_0.json")
        run_models(call)
        assert call("leaderboard", "--metric", "perturbench.rmse_average@1").code == 0
        board = json.loads((tmp_path / "artifacts/leaderboard/leaderboard.json").read_text())["splits"]["s"]
        test = json.loads((tmp_path / "artifacts/evaluations/test/s/additive/metrics.json").read_text())
        found.append((board["selected"], board["candidates"], test["perturbench.rmse_average@1"]["value"]))
    assert found[0][:2] == found[1][:2], "the choice and every validation score are the same"
    assert abs(found[0][2] - found[1][2]) > 0.1, "the test scores are not"


def test_the_leaderboard_refuses_test_scores(call, work):
    run_models(call)
    words = ("--metric", "perturbench.rmse_average@1", "--evaluations", "artifacts/evaluations/test", "--out", "board")
    done = call("leaderboard", *words)
    assert done.code == 1
    assert "test" in done.err
    assert not (work / "board").exists()


def test_splits_are_listed_and_shown(call, work):
    fold = splits.load(work / "artifacts/splits/s/fold_0.json")
    done = call("splits", "list")
    assert fold.hash[:12] in done.out
    shown = call("splits", "show", fold.hash[:10]).out
    for word in ("unseen_context", fold.held_out, "controls that are input only", "drawn from validation"):
        assert word in shown
    assert call("splits", "show", "zzz").code == 2


def damaged_split(work):
    path = work / "artifacts/splits/s/fold_1.json"
    path.write_text(path.read_text().replace('"seed": 0', '"seed": 1'))


def other_dataset(work):
    data = h5ad.read(work / "artifacts/datasets/made.h5ad")
    x = data.x.copy()
    x.data[0] += 1
    meta = {**data.meta, "content_hash": content_hash(x, data.genes, data.obs)}
    h5ad.write(dataclasses.replace(data, x=x, meta=meta), work / "artifacts/datasets/made.h5ad")


@pytest.mark.parametrize(
    ("spoil", "words", "code", "message"),
    [
        (None, ["--model", "lineer"], 2, "'lineer' is unknown. Did you mean 'linear'?"),
        (None, ["--model", "linear", "--rigde", "1"], 2, "takes the parameters components, ridge; rigde unknown"),
        (None, ["--model", "linear", "--ridge", "much"], 2, "ridge = 'much'"),
        (None, ["--model", "linear", "--ridge", "-1"], 2, "needs components >= 1 and ridge > 0"),
        (damaged_split, ["--model", "control"], 1, "A frozen split is not edited"),
        (other_dataset, ["--model", "control"], 1, "A split belongs to one dataset by content"),
        (None, ["--model", "control", "--data", "absent.h5ad"], 2, "absent.h5ad does not exist"),
    ],
    ids=["unknown model", "unknown parameter", "no number", "impossible", "changed split", "other dataset", "no data"],
)
def test_training_refuses_with_one_error_and_writes_nothing_for_it(call, work, spoil, words, code, message):
    if spoil:
        spoil(work)
    done = call("train", "--split", "artifacts/splits/s", "--out", "models/m", *words)
    assert (done.code, "Traceback" in done.err) == (code, False), done.err
    assert message in done.err
    assert not (work / "models/m/fold_1").exists()
    assert not list(work.rglob("*.partial*"))


def test_predicting_with_a_half_written_or_foreign_model_is_refused(call, work):
    run_models(call, models=("control",))
    model = work / "artifacts/models/s/control"
    done = call(
        "split", "--data", "artifacts/datasets/made.h5ad", "--rule", "in_distribution", "--out", "artifacts/splits/t"
    )
    assert done.code == 0
    done = call("predict", "--split", "artifacts/splits/t", "--model", model, "--out", "p")
    assert done.code == 1
    assert "A model answers the fold that it was trained on" in done.err
    (model / "fold_0/model.safetensors").unlink()
    done = call("predict", "--split", "artifacts/splits/s", "--model", model, "--out", "p")
    assert done.code == 1
    assert "lacks model.safetensors: it is half-written" in done.err
    assert not Path("p").exists()
    assert call("predict", "--split", "artifacts/splits/s", "--model", model, "--part", "train", "--out", "p").code == 2


def test_a_frozen_split_is_not_overwritten(call, work):
    words = (
        "split",
        "--data",
        "artifacts/datasets/made.h5ad",
        "--rule",
        "unseen_context",
        "--out",
        "artifacts/splits/s",
    )
    assert call(*words).code == 0, "the same again is fine"
    done = call(*words, "--seed", "7")
    assert done.code == 1
    assert "A frozen split is never overwritten" in done.err


def test_what_was_predicted_is_what_the_model_says(call, work):
    run_models(call, models=("mean_delta",))
    fold = splits.load(work / "artifacts/splits/s/fold_0.json")
    kept = predictions.read(work / "artifacts/predictions/s/mean_delta/fold_0/test.npz")
    assert kept.conditions == fold.conditions["test"]
    assert kept.model == load_model(work / "artifacts/models/s/mean_delta/fold_0").fingerprint
    assert not kept.seen[:, 1:].any(), "the context is new"
    assert kept.seen[:, 0].all()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning")
def test_register_names_the_leaderboards_choice_and_is_repeatable(call, work, monkeypatch):
    from perturbcast import tracking

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    run_models(call)
    assert call("leaderboard", "--metric", "perturbench.rmse_average@1").code == 0
    assert call("report").code == 0
    assert call("register").code == 0
    selected = json.loads((work / "artifacts/leaderboard/leaderboard.json").read_text())["splits"]["s"]["selected"]
    found = tracking.resolve("models:/s@champion")
    assert load_model(found.directory).kind == selected
    client = tracking.connect()
    runs = client.search_runs([client.get_experiment_by_name("s").experiment_id])
    assert sorted(run.data.tags["model"] for run in runs) == sorted(MODELS)
    for run in runs:
        assert {"data_sha256", "split_sha256", "config_sha256", "commit", "versions", "command"} <= set(run.data.tags)
        assert "validation/perturbench.rmse_average.v1" in run.data.metrics
        assert run.data.metrics["resources/train_wall_s"] > 0
        assert {file.path for file in client.list_artifacts(run.info.run_id)} >= {"report.html", "model"}
    tags = client.get_registered_model("s").tags
    assert tags["champion.metric"] == "perturbench.rmse_average@1"
    before = (work / "artifacts/registry/registry.json").read_bytes()
    assert call("register").code == 0
    assert (work / "artifacts/registry/registry.json").read_bytes() == before, "nothing was logged twice"


PARAMS = """
seed: 0
datasets: []
min_cells: 20
simulate: {}
selection: {metric: perturbench.rmse_average@1}
splits: {s: {dataset: made, rule: unseen_context}, other: {dataset: made, rule: unseen_context}}
models:
  control: {}
  additive: {}
  sets: {plugin: nearest, expression: false, gene_sets: sets.gmt}
  quick: {plugin: cgio, graphs: coexpression, steps: 2}
run: {splits: [s], models: [control, sets]}
oracle: {splits: [other], models: [additive]}
"""


def test_what_a_model_is_made_of_changes_with_its_files_alone(call, tmp_path):
    (tmp_path / "params.yaml").write_text(PARAMS)
    (tmp_path / "sets.gmt").write_text("one\t-\tG0\tG1\n")
    assert call("modules", "--out", "code").code == 0
    before = {path.name: path.read_bytes() for path in (tmp_path / "code").iterdir()}
    assert sorted(before) == ["additive.json", "control.json", "sets.json"]
    assert json.loads(before["sets.json"])["plugin"] == "nearest"
    (tmp_path / "sets.gmt").write_text("one\t-\tG0\tG2\n")
    assert call("modules", "--out", "code").code == 0
    changed = [name for name, content in before.items() if (tmp_path / "code" / name).read_bytes() != content]
    assert changed == ["sets.json"]
    (tmp_path / "source").mkdir()
    (tmp_path / "source/control.py").write_text("# of a checkout\n")
    assert call("modules", "--source", "source", "--out", "code").code == 0
    changed = [name for name in sorted(before) if (tmp_path / "code" / name).read_bytes() != before[name]]
    assert changed == ["control.json", "sets.json"]


def test_a_preset_trains_and_of_a_folder_of_models_those_are_asked_that_run(call, work):
    (work / "params.yaml").write_text(PARAMS.replace("[control, sets]", "[control, quick]"))
    for other in (work / "artifacts/splits/s").glob("fold_[1-9]*"):
        other.unlink()
    of_split = ("--split", "artifacts/splits/s")
    for name in ("control", "quick", "additive"):
        assert call("train", *of_split, "--model", name, "--out", f"artifacts/models/s/{name}").code == 0
    assert load_model(work / "artifacts/models/s/quick/fold_0").model.edge_counts[0] > 0, "the graph that it names"
    words = ("predict", *of_split, "--model", "artifacts/models/s")
    assert call(*words, "--out", "artifacts/all").code == 0
    assert sorted(path.name for path in (work / "artifacts/all").iterdir()) == ["additive", "control", "quick"]
    words = (*words, "--params", "params.yaml")
    assert call(*words, "--out", "artifacts/run").code == 0
    assert sorted(path.name for path in (work / "artifacts/run").iterdir()) == ["control", "quick"]
    shutil.rmtree(work / "artifacts/models/s/quick")
    done = call(*words, "--out", "artifacts/run")
    assert done.code == 2
    assert "artifacts/models/s lacks quick. Run 'dvc repro'" in done.err
