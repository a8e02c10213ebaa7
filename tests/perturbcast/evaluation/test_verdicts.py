"""Better than a floor: by a paired comparison, in the metric's own direction, or no answer at all."""

from __future__ import annotations

import pytest

from perturbcast.evaluation.verdicts import answers, paired

MAE, PEARSON = "celleval.mae@1", "celleval.pearson_delta@1"
HARD = [1.0, 5.0, 9.0, 13.0, 17.0, 21.0, 25.0]


@pytest.fixture
def versus(make_stored):
    """``versus(mine, control)``: what is answered about a champion with these values per condition."""

    def ask(mine, control, *, metric_id=MAE, shift=0):
        labels = [("a", f"P{k + shift}") for k in range(len(control))]
        stored = {
            "mine": make_stored("mine", mine, part="test", metric_id=metric_id),
            "control": make_stored("control", control, part="test", metric_id=metric_id, labels=labels),
        }
        compared = paired(stored, metric_id=metric_id, seed=0)
        return answers(stored, compared, champion="mine", metric_id=metric_id)["versus_control"]

    return ask


def test_conditions_are_paired_so_that_hard_ones_cancel(versus):
    found = versus([value - 0.1 for value in HARD], HARD)
    assert found["verdict"] == "better", "0.1 in each is nothing beside the spread of 24, and everything when paired"
    assert found["difference"] == pytest.approx(-0.1)
    assert (found["n"], found["wins"]) == (7, 7)
    assert found["p_adjusted"] == pytest.approx(2 / 2**7), "two of all sign flips are as extreme"


@pytest.mark.parametrize(
    ("metric_id", "mine", "verdict"),
    [(MAE, 0.9, "worse"), (PEARSON, 0.9, "better"), (MAE, 0.1, "better"), (PEARSON, 0.1, "worse")],
)
def test_the_metric_says_which_way_is_better(versus, metric_id, mine, verdict):
    assert versus([mine] * 6, [0.5, 0.4, 0.6, 0.5, 0.45, 0.55], metric_id=metric_id)["verdict"] == verdict


def test_a_difference_around_nothing_is_not_clear(versus):
    found = versus([0.4, 0.6, 0.3, 0.7], [0.5, 0.5, 0.5, 0.5])
    low, high = found["interval"]
    assert found["verdict"] == "no clear difference"
    assert low < 0 < high
    assert "in 2 of 4 conditions" in found["said"]


@pytest.mark.parametrize(
    ("mine", "control", "shift", "verdict", "said"),
    [
        ([0.5, 0.4], [0.5, 0.4], 0, "same", "The same as no change in every condition"),
        ([0.5], [0.9], 0, "unknown", "one condition says nothing"),
        ([0.5, 0.4], [0.9, 0.8], 7, "unknown", "No condition has a value for both"),
    ],
    ids=["the same", "one condition", "no shared condition"],
)
def test_what_cannot_be_said_is_not_said(versus, mine, control, shift, verdict, said):
    found = versus(mine, control, shift=shift)
    assert found["verdict"] == verdict
    assert said in found["said"]


def test_a_floor_that_was_not_evaluated_is_no_pass(make_stored):
    stored = {"mine": make_stored("mine", [1.0, 2.0], part="test")}
    found = answers(stored, paired(stored, metric_id=MAE, seed=0), champion="mine", metric_id=MAE)
    assert found["versus_control"]["verdict"] == found["versus_train_mean"]["verdict"] == "unknown"
    assert "'control' was not evaluated on this split" in found["versus_control"]["said"]


def test_a_floor_that_is_champion_is_not_better_than_itself(make_stored):
    stored = {"control": make_stored("control", [1.0, 2.0], part="test")}
    found = answers(stored, {}, champion="control", metric_id=MAE)
    assert found["versus_control"]["verdict"] == "itself"
