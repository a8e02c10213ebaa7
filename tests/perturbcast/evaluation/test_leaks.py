"""What the report checks for leaks: each check sees the leak that it is about, and says when it could not look."""

from __future__ import annotations

import dataclasses

import pytest

from perturbcast import splits
from perturbcast.evaluation.leaks import leak_checks

RANK = "perturbench.rmse_rank_average@1"


@pytest.fixture(scope="module")
def data(make_data):
    return make_data(contexts=("a", "b", "c", "d"), perturbations=("G0", "G1", "G2", "G3"))


@pytest.fixture(scope="module")
def folds(data):
    return splits.make(data, "unseen_context")


def report_of(constant, chance=0.375):
    entry = {"value": 0.2, "chance": chance, "floor": {"control": 0.5, "train_mean": 0.5}}
    entry["degenerate"] = {"constant": constant}
    return {"metrics": [RANK], "champion": "m", "models": {"m": {RANK: entry}}}


def checks(folds, *, split=None, calibration=None):
    split = report_of(0.375) if split is None else split
    return {check["check"]: check for check in leak_checks(folds, split=split, calibration=calibration)}


def passed(found, word):
    return next(check["passed"] for name, check in found.items() if word in name)


def test_a_clean_split_passes_every_check_that_can_be_made(folds):
    used = [fold.barcode_hashes["calibration"] for fold in folds]
    found = checks(folds, calibration=used)
    assert [check["passed"] for check in found.values()] == [True] * 5
    new = next(check for name, check in found.items() if name == "Every test condition is new: context")
    assert "of 16 test conditions in all folds: 0 were trained on, 16 have a trained perturbation" in new["said"]


def test_a_test_context_in_train_is_seen(folds):
    fold = folds[0]
    conditions = dict(fold.conditions) | {"train": fold.conditions["train"] + fold.conditions["test"][:1]}
    leaky = dataclasses.replace(fold, conditions=conditions)
    assert passed(checks([leaky, *folds[1:]]), "Every test condition is new") is False


def test_cells_in_two_parts_are_seen(folds):
    fold = folds[0]
    # a split refuses this when it is built, so the leak is put past it
    leaky = dataclasses.replace(fold)
    parts = dict(fold.parts) | {"calibration": (*fold.parts["calibration"], fold.parts["test"][0])}
    object.__setattr__(leaky, "parts", parts)
    found = checks([leaky])
    assert passed(found, "two parts") is False
    assert passed(found, "Calibration cells") is False


def test_intervals_fitted_on_other_cells_are_seen(folds):
    used = [fold.barcode_hashes["test"] for fold in folds]
    assert passed(checks(folds, calibration=used), "intervals were fitted") is False


def test_what_was_not_checked_is_not_passed(folds):
    found = checks(folds, split=report_of(None))
    assert passed(found, "intervals were fitted") is None
    assert passed(found, "constant answer") is None


def test_a_constant_off_chance_is_seen(folds):
    found = checks(folds, split=report_of(0.30))
    assert passed(found, "constant answer") is False
    assert any("off: rank by RMSE" in check["said"] or "off:" in check["said"] for check in found.values())


def test_conditions_that_two_folds_test_move_the_average_by_no_more_than_their_share(folds):
    twice, share = (*folds, folds[0]), len(folds[0].conditions["test"]) / sum(len(f.conditions["test"]) for f in folds)
    found = checks(twice, split=report_of(0.375 + 0.9 * share))
    assert passed(found, "constant answer") is True
    assert any("are tested in two folds" in check["said"] for check in found.values())
    assert passed(checks(twice, split=report_of(0.375 + 1.1 * share)), "constant answer") is False


def test_a_constant_above_controls_of_each_batch_is_not_asked(folds):
    found = leak_checks(folds, split=report_of(0.30), calibration=None, matched_by_batch=True)[-1]
    assert found["passed"] is None
    assert "controls are matched by batch" in found["said"]


def test_in_distribution_conditions_are_meant_to_be_in_train(data):
    found = checks(splits.make(data, "in_distribution"))
    check = next(check for name, check in found.items() if "as this rule means" in name)
    assert check["passed"] is None
    assert "16 were trained on" in check["said"]
