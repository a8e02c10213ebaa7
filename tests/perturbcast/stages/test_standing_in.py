"""``perturbcast predict`` says how often a model answered by something coarser than what was asked."""

from __future__ import annotations

from perturbcast import splits
from perturbcast.stages.standing_in import standing_in
from perturbcast.stores import h5ad


def test_conditions_are_counted_once_and_the_most_frequent_notes_come_first():
    notes = [("A is missing", "B is missing"), (), ("A is missing",), ("C is missing",)]
    assert standing_in(notes, what="additive, test") == [
        "additive, test: 3 of 4 conditions by a stand-in: A is missing (2); B is missing (1); "
        "and 1 more, in the notes of the predictions"
    ]
    assert standing_in([(), ()], what="linear, test") == []


def test_a_prediction_says_how_often_the_mean_fell_back(call, make_data, tmp_path):
    data = make_data(contexts=("a", "b", "c", "d"), genes=6)
    h5ad.write(data, tmp_path / "made.h5ad")
    fold = splits.make(data, "unseen_context", seed=1)[0]
    splits.freeze(fold, tmp_path / "split/fold_0.json")
    given = ("--data", "made.h5ad", "--split", "split")
    assert call("train", *given, "--model", "mean_delta", "--out", "model").code == 0
    done = call("predict", *given, "--model", "model", "--part", "test", "--out", "mean_delta")
    n = len(fold.conditions["test"])
    assert f"mean_delta, test: {n} of {n} conditions by a stand-in: mean of G0 over 2 train contexts" in done.out
