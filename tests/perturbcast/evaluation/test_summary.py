"""Pooling over folds: each condition once, undefined ones counted, nothing NaN."""

from __future__ import annotations

import json

import numpy as np
import pytest

from perturbcast.evaluation import summarise

ID = "celleval.mae@1"


def test_a_condition_that_two_folds_score_counts_once(make_scored):
    first = make_scored([1.0, 2.0], labels=[("a", "P"), ("a", "Q")])
    second = make_scored([3.0, 5.0], labels=[("a", "P"), ("b", "P")])
    evaluation = summarise([first, second])
    assert evaluation.per_condition.to_numpy().tolist() == [
        ["a", "P", ID, 2.0],
        ["a", "Q", ID, 2.0],
        ["b", "P", ID, 5.0],
    ]
    assert evaluation.metrics[ID]["value"] == pytest.approx(3.0)
    assert (evaluation.metrics[ID]["n"], evaluation.metrics[ID]["n_excluded"]) == (3, 0)


def test_undefined_conditions_are_left_out_and_counted(make_scored):
    entry = summarise(
        [make_scored([1.0, np.nan, 3.0], floors={"control": np.array([5.0, 99.0, 7.0]), "train_mean": None})]
    )
    row = entry.metrics[ID]
    assert (row["value"], row["n"], row["n_excluded"]) == (2.0, 2, 1)
    assert row["floor"] == {"control": 6.0, "train_mean": None}, "floors of the same conditions"
    assert row["notes"][0].startswith("1 of 3 conditions excluded")
    assert entry.per_condition["perturbation"].tolist() == ["P0", "P2"]


def test_nothing_defined_gives_no_number(make_scored):
    row = summarise([make_scored([np.nan, np.nan])]).metrics[ID]
    assert row["value"] is None
    assert row["interval"] == [None, None]
    assert (row["n"], row["n_excluded"]) == (0, 2)
    json.dumps(row, allow_nan=False)


def test_one_condition_has_no_interval_and_says_so(make_scored):
    row = summarise([make_scored([0.5])]).metrics[ID]
    assert row["interval"] == [None, None]
    assert any("one condition says nothing" in note for note in row["notes"])
