"""Stage ``evaluate``: every fold and both parts in one run, or any pair of files, with one clear error each."""

from __future__ import annotations

import json

import anndata
import numpy as np
import pandas as pd
import pytest

from perturbcast import catalog, cli, splits
from perturbcast.errors import UsageError
from perturbcast.evaluation import read_directory
from perturbcast.stages.evaluate import command
from perturbcast.stores import control_means, h5ad, predictions
from perturbcast.training import fit

FILES = ("metrics.json", "per_condition.csv", "provenance.json")


@pytest.fixture(scope="module")
def folder(make_data, tmp_path_factory):
    """Dataset, split and predictions of two models as the pipeline leaves them."""
    folder = tmp_path_factory.mktemp("artifacts")
    data = make_data(contexts=("a", "b", "c", "d"), genes=8)
    h5ad.write(data, folder / "data.h5ad")
    controls = control_means(data)
    for split in splits.make(data, "unseen_context"):
        splits.freeze(split, folder / "splits/made" / f"fold_{split.fold}.json")
        for model in ("control", "mean_delta"):
            config = catalog.load("models", model).Config()
            trained = fit(data, split, kind=model, plugin=model, config=config, seed=0)
            for part in ("validation", "test"):
                conditions = split.conditions[part]
                answer = trained.predict(conditions, control_means={c.context: controls[c.context] for c in conditions})
                predictions.write(answer, folder / "predictions/made" / model / f"fold_{split.fold}" / f"{part}.npz")
    return folder


def _evaluate(folder, out, *, model="mean_delta", **options):
    given = {
        "split": folder / "splits/made",
        "data": folder / "data.h5ad",
        "prediction": folder / "predictions/made" / model,
    }
    command(out=out, **(given | options))


def test_pools_the_conditions_of_all_folds(folder, tmp_path):
    _evaluate(folder, tmp_path)
    for part in ("validation", "test"):
        stored = read_directory(tmp_path / part / "made" / "mean_delta")
        assert stored.part == part
        frozen = [splits.load(path) for path in sorted((folder / "splits/made").glob("fold_*.json"))]
        wanted = {(c.context, c.perturbation) for split in frozen for c in split.conditions[part]}
        table = stored.evaluation.per_condition
        of_metric = table[table["metric_id"] == "celleval.mae@1"]
        assert sorted(zip(of_metric["context"], of_metric["perturbation"], strict=True)) == sorted(wanted)
        assert [fold["split_sha256"] for fold in stored.provenance["folds"]] == [split.hash for split in frozen]
    # the same shift in every context: the mean of train deltas is right, no change is not
    metrics = json.loads((tmp_path / "test/made/mean_delta/metrics.json").read_text())
    pearson = metrics["celleval.pearson_delta@1"]
    assert pearson["value"] > 0.9 > pearson["floor"]["control"] == 0.0
    assert metrics["celleval.mae@1"]["value"] < metrics["celleval.mae@1"]["floor"]["control"]
    assert metrics["celleval.mae@1"]["value"] < metrics["celleval.mae@1"]["floor"]["train_mean"]


def test_running_again_gives_the_same_bytes(folder, tmp_path):
    _evaluate(folder, tmp_path)
    first = {name: (tmp_path / "test/made/mean_delta" / name).read_bytes() for name in FILES}
    _evaluate(folder, tmp_path)
    assert {name: (tmp_path / "test/made/mean_delta" / name).read_bytes() for name in FILES} == first


def test_one_part_of_one_fold(folder, tmp_path):
    _evaluate(folder, tmp_path, split=folder / "splits/made/fold_1.json", part=["validation"])
    assert [path.name for path in tmp_path.iterdir()] == ["validation"]
    stored = read_directory(tmp_path / "validation/made/mean_delta")
    assert [fold["fold"] for fold in stored.provenance["folds"]] == [1]


def test_predictions_of_another_part_are_refused_and_nothing_is_written(folder, tmp_path):
    wrong = tmp_path / "predictions/mixed"
    for fold in (folder / "predictions/made/mean_delta").iterdir():
        (wrong / fold.name).mkdir(parents=True)
        for part in ("validation", "test"):
            (wrong / fold.name / f"{part}.npz").write_bytes((fold / "test.npz").read_bytes())
    with pytest.raises(ValueError, match=r"validation\.npz and the validation part of fold 0 differ in"):
        _evaluate(folder, tmp_path / "out", prediction=wrong)
    assert not (tmp_path / "out").exists()


def test_all_panels_of_a_split_in_one_pass(folder, tmp_path):
    _evaluate(folder, tmp_path, panel="all", part=["test"])
    metrics = json.loads((tmp_path / "test/made/mean_delta/metrics.json").read_text())
    rooms = {metric_id.split(".")[0] for metric_id in metrics}
    assert rooms == {"perturbench", "celleval", "scperturbench", "systema", "gears", "perturbcast"}
    for metric_id, entry in metrics.items():
        numbers = [entry["value"], entry["optimum"], *entry["interval"], *entry["floor"].values()]
        assert all(number is None or np.isfinite(number) for number in numbers), metric_id
        assert entry["value"] is not None or entry["notes"], metric_id
    # fitted on other contexts, where the train mean is known, the split brings it
    assert metrics["systema.pearson_delta_perturbed@1"]["value"] is not None


def test_several_models_in_one_pass_score_as_each_alone(folder, tmp_path, capsys):
    _evaluate(folder, tmp_path / "both", prediction=folder / "predictions/made")
    said = capsys.readouterr().out
    assert "made, test" in said
    assert "share" in said
    for model in ("control", "mean_delta"):
        _evaluate(folder, tmp_path / "alone", model=model)
        for part in ("validation", "test"):
            for name in ("metrics.json", "per_condition.csv", "curves.json"):
                both, alone = (tmp_path / run / part / "made" / model / name for run in ("both", "alone"))
                assert both.read_bytes() == alone.read_bytes(), (part, model, name)
    stored = read_directory(tmp_path / "both/test/made/mean_delta")
    assert (stored.model, stored.model_seed) == ("mean_delta", 0)
    assert len(stored.provenance["interpolation_weights"]) == 4
    assert stored.curves["intervals"]["all"]


def test_a_number_stands_beside_floors_chance_ceilings_and_degenerate_rows(folder, tmp_path):
    _evaluate(folder, tmp_path, part=["test"])
    row = read_directory(tmp_path / "test/made/mean_delta").evaluation.metrics["celleval.pearson_delta@1"]
    assert set(row["ceiling"]) == {"split_half", "interpolated", "resampled"}
    assert None not in row["ceiling"].values()
    assert row["floor"]["control"] == 0.0 < row["ceiling"]["split_half"] < row["ceiling"]["resampled"] <= 1
    best = max(row["ceiling"].values())
    trivial = max(*row["floor"].values(), row["chance"])
    assert row["share_of_range"] == pytest.approx((row["value"] - trivial) / (best - trivial))
    assert row["degenerate"]["control"] == row["floor"]["control"]
    assert row["degenerate"]["means_without_spread"] == pytest.approx(1.0)
    assert row["degenerate"]["twisted_controls"] == row["value"]
    assert None not in row["degenerate"].values()


def test_without_bounds_values_floors_and_chance_stay(folder, tmp_path):
    _evaluate(folder, tmp_path / "with", part=["test"])
    _evaluate(folder, tmp_path / "without", part=["test"], bounds=False)
    whole, bare = (read_directory(tmp_path / run / "test/made/mean_delta").evaluation for run in ("with", "without"))
    for metric_id, row in bare.metrics.items():
        for key in ("value", "interval", "floor", "chance", "n", "n_excluded"):
            assert row[key] == whole.metrics[metric_id][key], (metric_id, key)
        assert set(row["ceiling"].values()) == set(row["degenerate"].values()) == {None}
        if row["floor"]["control"] is not None:
            assert any("--no-bounds" in note for note in row["notes"])


def test_validation_can_have_a_panel_of_its_own(folder, tmp_path):
    _evaluate(folder, tmp_path, panel="systema", validation_panel="perturbench", bounds=False)
    rooms = {
        part: {name.split(".")[0] for name in read_directory(tmp_path / part / "made/mean_delta").evaluation.metrics}
        for part in ("validation", "test")
    }
    assert rooms == {"validation": {"perturbench"}, "test": {"systema"}}


def test_two_predictions_of_one_name_are_refused(folder, tmp_path):
    twice = folder / "predictions/made/control"
    with pytest.raises(UsageError, match="share 'control'"):
        _evaluate(folder, tmp_path, prediction=[twice, folder / "predictions/made"])


def test_absent_predictions_are_named(folder, tmp_path):
    with pytest.raises(UsageError, match=r"fold_0/validation\.npz does not exist"):
        _evaluate(folder, tmp_path, prediction=tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": None, "data": None}, "give --split .* or --truth"),
        ({"truth": "x.h5ad"}, "give --split .* or --truth"),
        ({"context_key": "cell_type"}, "--context-key does not go with --split"),
        ({"split": None, "data": None, "truth": "x.h5ad", "part": ["test"]}, "--part does not go with --truth"),
        ({"part": ["train"]}, "one of validation, test; got train"),
        ({"panel": "nope"}, "'nope' is unknown. Known: spine"),
    ],
    ids=["no truth", "two truths", "file option", "split option", "part", "panel"],
)
def test_options_that_do_not_fit(folder, tmp_path, options, message):
    with pytest.raises(UsageError, match=message):
        _evaluate(folder, tmp_path, **options)


@pytest.fixture
def pair(tmp_path):
    rng = np.random.default_rng(0)
    obs = pd.DataFrame({"target_gene": ["non-targeting", "A", "B+C"] * 20, "cell_type": "one"})
    obs.index = obs.index.astype(str)
    for name in ("real", "pred"):
        x = rng.gamma(2.0, size=(60, 10)).astype(np.float32)
        anndata.AnnData(x, obs=obs, var=pd.DataFrame(index=list("abcdefghij"))).write_h5ad(tmp_path / f"{name}.h5ad")
    return tmp_path


@pytest.fixture
def run(pair, capsys, monkeypatch):
    """The command of the issue on the pair: exit code and what it said on stderr."""

    def _run(key="target_gene"):
        words = ["perturbcast", "evaluate", "--truth", pair / "real.h5ad", "--prediction", pair / "pred.h5ad"]
        words += ["--perturbation-key", key, "--context-key", "cell_type", "--control-label", "non-targeting"]
        monkeypatch.setattr("sys.argv", [str(word) for word in (*words, "--out", pair / "out")])
        with pytest.raises(SystemExit) as left:
            cli.main()
        return left.value.code or 0, capsys.readouterr().err

    return _run


def test_any_pair_of_files_by_command(pair, run):
    assert run()[0] == 0
    assert sorted(path.name for path in (pair / "out").iterdir()) == list(FILES)
    table = pd.read_csv(pair / "out/per_condition.csv")
    assert list(table) == ["context", "perturbation", "metric_id", "value"]
    assert set(table["perturbation"]) == {"A", "B+C"}
    assert table["value"].notna().all()
    assert read_directory(pair / "out").part == "files"


def test_a_missing_column_is_a_usage_error(pair, run):
    code, message = run("gene")
    assert code == 2
    assert "has no 'gene'. Present: target_gene, cell_type" in message
    assert not (pair / "out").exists()
