"""The choice is made by validation scores alone, on equal terms, and keeps its rule."""

from __future__ import annotations

import pytest

from perturbcast.errors import UsageError
from perturbcast.evaluation import leaderboard

MAE, PEARSON, COVERAGE = "celleval.mae@1", "celleval.pearson_delta@1", "perturbcast.coverage_90@1"


def _board(*stored, metric_id=MAE):
    return leaderboard({"s": {item.directory.name: item for item in stored}}, metric_id=metric_id)


@pytest.mark.parametrize(
    ("metric_id", "selected"), [(MAE, "low"), (PEARSON, "high"), (COVERAGE, "near")], ids=["lower", "higher", "target"]
)
def test_the_metrics_direction_decides(make_stored, metric_id, selected):
    values = {"low": [0.2, 0.4], "near": [0.8, 0.9], "high": [1.0, 1.2]}
    board = _board(*(make_stored(m, v, metric_id=metric_id) for m, v in values.items()), metric_id=metric_id)
    choice = board["splits"]["s"]
    assert choice["selected"] == selected
    assert choice["candidates"][selected]["rank"] == 1
    assert board["direction"] == {"low": "lower", "near": "target", "high": "higher"}[selected]
    assert {m: c["value"] for m, c in choice["candidates"].items()} == pytest.approx(
        {"low": 0.3, "near": 0.85, "high": 1.1}
    )


def test_ties_go_to_the_first_name_and_are_said(make_stored):
    board = _board(make_stored("b", [1.0, 2.0]), make_stored("a", [2.0, 1.0]), make_stored("c", [2.0, 2.0]))
    assert board["splits"]["s"]["selected"] == "a"
    assert board["splits"]["s"]["tied"] == ["a", "b"]
    assert "ties go to the first name" in board["rule"]


def test_test_scores_are_refused(make_stored):
    with pytest.raises(ValueError, match=r"made by validation scores; .*cheat holds scores of 'test'"):
        _board(make_stored("honest", [1.0]), make_stored("cheat", [0.1], part="test"))


def test_scores_of_files_are_refused(make_stored):
    with pytest.raises(ValueError, match=r"holds scores of 'files'"):
        _board(make_stored("m", [1.0], part="files"))


@pytest.mark.parametrize(
    "difference",
    [
        {"values": [0.1]},
        {"dataset_hash": "other"},
        {"folds": [{"fold": 0, "split_sha256": "other", "model_fingerprint": "x"}]},
    ],
    ids=["conditions", "data", "folds"],
)
def test_candidates_on_other_terms_are_refused(make_stored, difference):
    values = difference.pop("values", [0.1, 0.1])
    with pytest.raises(ValueError, match=r"same data, folds and conditions; in 's' those of b differ"):
        _board(make_stored("a", [1.0, 2.0]), make_stored("b", values, **difference))


def test_a_candidate_without_a_value_is_not_chosen(make_stored):
    board = _board(make_stored("a", [float("nan")] * 2), make_stored("b", [1.0, 2.0]))
    assert board["splits"]["s"]["selected"] == "b"
    assert board["splits"]["s"]["candidates"]["a"]["rank"] is None


def test_no_value_at_all_is_refused(make_stored):
    with pytest.raises(ValueError, match=r"undefined for every condition of 's' \(2 of 2 conditions excluded"):
        _board(make_stored("a", [float("nan")] * 2))


def test_a_metric_that_was_not_scored_lists_what_was(make_stored):
    with pytest.raises(UsageError, match=r"has no 'celleval\.pearson_delta@1'\. It has: celleval\.mae@1"):
        _board(make_stored("a", [1.0]), metric_id=PEARSON)


def test_an_oracle_is_named_and_never_chosen(make_stored):
    stored = {name: make_stored(name, values) for name, values in {"truth": [0.0, 0.1], "fair": [1.0, 2.0]}.items()}
    choice = leaderboard({"s": stored}, metric_id=MAE, oracles=["truth"])["splits"]["s"]
    assert (choice["selected"], choice["oracles"], list(choice["candidates"])) == ("fair", ["truth"], ["fair"])


def test_a_metric_whose_optimum_depends_on_the_data_cannot_choose(make_stored):
    with pytest.raises(UsageError, match=r"one optimum; that of 'celleval.de_nsig_counts_real@1' depends on the data"):
        _board(make_stored("a", [1.0]), metric_id="celleval.de_nsig_counts_real@1")


def test_seeds_of_a_model_count_as_one(make_stored):
    """The lucky seed alone would win; both together do not."""
    seeds = [
        make_stored("m", [0.1, 0.3], model="m", model_seed=0),
        make_stored("m-again", [1.1, 1.3], model="m", model_seed=1),
    ]
    choice = _board(make_stored("other", [0.4, 0.6], model="other", model_seed=0), *seeds)["splits"]["s"]
    assert choice["selected"] == "other"
    assert list(choice["candidates"]) == ["m", "other"]
    assert choice["candidates"]["m"]["value"] == pytest.approx(0.7)
    assert {name: one["model_seed"] for name, one in choice["candidates"]["m"]["seeds"].items()} == {
        "m": 0,
        "m-again": 1,
    }


def test_variants_with_one_seed_stay_apart(make_stored):
    stored = [make_stored(name, [1.0, 2.0], model="linear", model_seed=0) for name in ("linear", "linear_ridge")]
    assert list(_board(*stored)["splits"]["s"]["candidates"]) == ["linear", "linear_ridge"]


def test_models_are_ranked_over_splits_by_mean_rank(make_stored):
    values = {"s": {"a": 1.0, "b": 2.0, "c": 2.0}, "t": {"a": 3.0, "b": 1.0}}
    stored = {
        split: {name: make_stored(name, [value] * 2, split=split) for name, value in models.items()}
        for split, models in values.items()
    }
    board = leaderboard(stored, metric_id=MAE)
    rows = [(row["model"], row["mean_rank"], row["n_splits"]) for row in board["overall"]]
    assert rows == [("a", 1.5, 2), ("b", 1.75, 2), ("c", 2.5, 1)], "b and c share ranks 2 and 3 on s"
    assert "mean over splits of the rank" in board["overall_rule"]
