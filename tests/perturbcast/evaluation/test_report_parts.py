"""The pieces of a report: what is drawn, shaded, written as csv and LaTeX, and refused."""

from __future__ import annotations

import json
import re

import jsonschema
import numpy as np
import pandas as pd
import pytest

from perturbcast.evaluation import heat, limits
from perturbcast.evaluation.breakdowns import worst_conditions
from perturbcast.evaluation.curve_plots import deltas, trust
from perturbcast.evaluation.report_schema import SCHEMA_FILE, check, json_schema

MAE, PEARSON = "celleval.mae@1", "celleval.pearson_delta@1"


def entry(value, **others):
    known = {"interval": [None, None], "chance": None, "floor": {"control": 1.0, "train_mean": 2.0}}
    return known | {"value": value} | others


def split_of(models, *, champion="m", metrics=(MAE,)):
    return {"models": models, "champion": champion, "metrics": list(metrics), "primary": list(metrics), "oracles": []}


@pytest.mark.parametrize(("metric_id", "best"), [(MAE, 0.1), (PEARSON, 0.3)])
def test_the_best_ceiling_follows_the_metrics_direction(metric_id, best):
    given = {"split_half": 0.3, "interpolated": 0.1, "resampled": None}
    split = split_of({"m": {metric_id: entry(0.5, ceiling=given)}}, metrics=(metric_id,))
    assert limits.ceiling(split, metric_id) == best


def test_an_evaluation_without_ceilings_has_none():
    split = split_of({"m": {MAE: entry(0.5)}})
    assert limits.ceiling(split, MAE) is None
    assert limits.share(split, "m", MAE) is None
    assert set(limits.degenerate(split, MAE).values()) == {None}


def test_twisted_controls_are_the_champions_own():
    split = split_of(
        {
            "a": {MAE: entry(0.5, degenerate={"twisted_controls": 0.5})},
            "m": {MAE: entry(0.4, degenerate={"twisted_controls": 0.4})},
        }
    )
    assert limits.degenerate(split, MAE)["twisted_controls"] == 0.4


def test_heat_runs_from_worst_to_best_in_the_metrics_direction():
    nested = {MAE: {"x": {"a": 0.1, "m": 0.9}, "y": {"a": 0.5}}, PEARSON: {"x": {"m": 0.9}, "y": {"m": 0.2}}}
    shown = heat.by_label(split_of({}, metrics=(MAE, PEARSON)), nested, metric_id=MAE, order=["a", "m"])
    best, middle, worst = heat.STEPS - 1, round((heat.STEPS - 1) / 2), 0
    assert shown["rows"]["x"] == [(0.1, best), (0.9, worst), (0.9, best)]
    assert shown["rows"]["y"] == [(0.5, middle), (None, None), (0.2, worst)]


def test_equal_values_are_shaded_alike_and_not_as_best():
    nested = {MAE: {"x": {"m": 0.3}, "y": {"m": 0.3}}}
    shown = heat.by_label(split_of({}), nested, metric_id=MAE, order=["m"])
    assert {cells[0][1] for cells in shown["rows"].values()} == {heat.STEPS // 2}


def test_worst_conditions_start_with_the_champions_worst():
    frame = pd.DataFrame({"context": "c", "perturbation": ["P", "Q", "R"], "metric_id": MAE})
    tables = {"m": frame.assign(value=[0.1, 0.9, 0.5]), "a": frame.iloc[:2].assign(value=[0.2, 0.3])}
    found = worst_conditions(tables, champion="m", metric_id=MAE)
    assert [row["perturbation"] for row in found] == ["Q", "R", "P"]
    assert found[1]["values"] == {"m": 0.5, "a": None}


def example(place="best", half=None, n=40):
    measured = np.linspace(-1, 1, n).tolist()
    return {
        "context": "B cells",
        "perturbation": "P",
        "place": place,
        "metric_id": PEARSON,
        "score": 0.5,
        "genes": [f"GENE{k}" for k in range(n)],
        "measured": measured,
        "predicted": (0.5 * np.array(measured)).tolist(),
        "half_width_90": half,
    }


def test_a_scatter_names_the_genes_that_changed_most():
    svg = deltas([example(), example("worst", half=[0.1] * 40)])
    assert "best: P in B cells" in svg
    assert "worst: P in B cells" in svg
    assert "GENE39" in svg
    assert "GENE0<" in svg
    assert svg == deltas([example(), example("worst", half=[0.1] * 40)]), "the same bytes again"


def test_plots_have_no_ids_that_another_plot_has_too():
    svg = deltas([example()])
    assert not re.findall(r'id="(figure|axes|patch|line2d|text)_', svg)
    assert svg.startswith('<svg role="img" aria-label="Predicted over measured change')


def test_a_model_without_intervals_is_left_out_of_the_trust_plots():
    rows = [{"level": level, "coverage": level - 0.05, "mean_width": level, "n_conditions": 3} for level in (0.5, 0.9)]
    risk = {"coverage": [0.5, 1.0], "risk": [0.1, 0.2], "risk_unit": "RMSE of deltas"}
    known = {"intervals": {"all": rows, "context: B cells": rows}, "risk_coverage": risk}
    only_risk = {"intervals": {}, "risk_coverage": risk}
    svg = trust({"m": known, "a": only_risk}, champion="m")
    assert "RMSE of deltas" in svg
    assert "promised" in svg


def test_the_published_schema_is_that_of_the_code():
    assert SCHEMA_FILE.read_text() == json_schema(), "write it anew: make schema"
    jsonschema.Draft202012Validator.check_schema(json.loads(SCHEMA_FILE.read_text()))


@pytest.mark.parametrize(
    ("other", "message"),
    [({"colour": "blue"}, "first colour: Extra inputs"), ({"direction": "up"}, "first direction: Input should be")],
)
def test_a_report_of_another_shape_is_refused_by_the_name_of_the_field(other, message):
    empty = {"format": "perturbcast.report/1", "metric": MAE, "rule": "r", "direction": "lower", "splits": {}}
    check(empty)
    with pytest.raises(ValueError, match=f"shape of report.schema.json; 1 fields do not, {message}"):
        check(empty | other)
