"""Better than a floor: by the paired difference, in the metric's own direction, or no answer at all."""

from __future__ import annotations

import pandas as pd
import pytest

from perturbcast.evaluation.verdicts import answers

MAE, PEARSON = "celleval.mae@1", "celleval.pearson_delta@1"


def table(values, *, metric_id=MAE, first=0):
    rows = [("a", f"P{first + k}", metric_id, value) for k, value in enumerate(values)]
    return pd.DataFrame(rows, columns=["context", "perturbation", "metric_id", "value"])


def versus_control(champion, control, *, metric_id=MAE, **options):
    tables = {"mine": table(champion, metric_id=metric_id), "control": table(control, metric_id=metric_id, **options)}
    found = answers(tables, champion="mine", entry={"share_of_range": 0.5}, metric_id=metric_id, seed=0)
    assert found["share_of_range"] == 0.5
    return found["versus_control"]


def test_conditions_are_paired_so_that_hard_ones_cancel():
    hard = [1.0, 5.0, 9.0, 13.0, 17.0, 21.0]
    found = versus_control([value - 0.1 for value in hard], hard)
    assert found["verdict"] == "better", "0.1 in each is nothing beside the spread of 20, and everything when paired"
    assert found["difference"] == pytest.approx(-0.1)
    assert (found["n"], found["wins"]) == (6, 6)


@pytest.mark.parametrize(
    ("metric_id", "champion", "verdict"),
    [(MAE, 0.9, "worse"), (PEARSON, 0.9, "better"), (MAE, 0.1, "better"), (PEARSON, 0.1, "worse")],
)
def test_the_metric_says_which_way_is_better(metric_id, champion, verdict):
    assert versus_control([champion] * 4, [0.5, 0.4, 0.6, 0.5], metric_id=metric_id)["verdict"] == verdict


def test_an_interval_around_nothing_is_no_clear_difference():
    found = versus_control([0.4, 0.6, 0.3, 0.7], [0.5, 0.5, 0.5, 0.5])
    low, high = found["interval"]
    assert found["verdict"] == "no clear difference"
    assert low < 0 < high
    assert "in 2 of 4 conditions" in found["said"]


@pytest.mark.parametrize(
    ("champion", "control", "first", "verdict", "said"),
    [
        ([0.5, 0.4], [0.5, 0.4], 0, "same", "The same as no change in every condition"),
        ([0.5], [0.9], 0, "unknown", "one condition says nothing"),
        ([0.5, 0.4], [0.9, 0.8], 7, "unknown", "No condition has a value for both"),
    ],
    ids=["the same", "one condition", "no shared condition"],
)
def test_what_cannot_be_said_is_not_said(champion, control, first, verdict, said):
    found = versus_control(champion, control, first=first)
    assert found["verdict"] == verdict
    assert said in found["said"]


def test_a_floor_that_was_not_evaluated_is_no_pass():
    found = answers({"mine": table([1.0, 2.0])}, champion="mine", entry={}, metric_id=MAE, seed=0)
    assert found["versus_control"]["verdict"] == found["versus_train_mean"]["verdict"] == "unknown"
    assert "'control' was not evaluated on this split" in found["versus_control"]["said"]
    assert found["share_of_range"] is None


def test_a_floor_that_is_champion_is_not_better_than_itself():
    found = answers({"control": table([1.0, 2.0])}, champion="control", entry={}, metric_id=MAE, seed=0)
    assert found["versus_control"]["verdict"] == "itself"
