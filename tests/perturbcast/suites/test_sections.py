"""What a suite and a sweep may say, and the configurations that follow."""

from __future__ import annotations

import pydantic
import pytest

from perturbcast.errors import UsageError
from perturbcast.suites import Budget, Section, Sweep, drawn, grid, make_trial

TERMS = {"splits": ["s"], "metric": "perturbench.rmse_average@1"}


def make_sweep(**fields):
    return Sweep.model_validate({**TERMS, "method": "grid", "models": {"ridge": {"ridge": [1.0, 2.0]}}, **fields})


def test_a_grid_has_every_combination_and_keeps_what_is_fixed():
    sweep = make_sweep(models={"ridge": {"ridge": [1.0, 2.0], "interaction": [0.5, 1.0], "components": 3}})
    assert grid(sweep)["ridge"] == [
        {"components": 3, "ridge": 1.0, "interaction": 0.5},
        {"components": 3, "ridge": 1.0, "interaction": 1.0},
        {"components": 3, "ridge": 2.0, "interaction": 0.5},
        {"components": 3, "ridge": 2.0, "interaction": 1.0},
    ]


def test_models_are_tried_equally_often():
    models = {"ridge": {"ridge": [1.0, 2.0]}, "linear": {"components": [2, 3, 4]}}
    with pytest.raises(UsageError, match="these grids differ: ridge: 2, linear: 3"):
        grid(make_sweep(models=models))
    models["linear"]["components"].pop()
    assert {name: len(points) for name, points in grid(make_sweep(models=models | {"control": {}})).items()} == {
        "ridge": 2,
        "linear": 2,
        "control": 1,
    }
    with pytest.raises(UsageError, match="ridge: 2, linear: 2, trials: 3"):
        grid(make_sweep(models=models, trials=3))


def test_a_grid_has_no_ranges():
    with pytest.raises(UsageError, match="A grid has points; ridge of 'ridge' is a range"):
        grid(make_sweep(models={"ridge": {"ridge": {"low": 0.1, "high": 1}}}))


def test_random_draws_stay_inside_differ_and_follow_the_seed():
    space = {
        "ridge": {"low": 0.01, "high": 10, "log": True},
        "components": {"low": 2, "high": 4, "integer": True},
        "interaction": [0.5, 1.0],
    }
    fields = {"method": "random", "trials": 200, "models": {"ridge": space}}
    points = drawn(make_sweep(**fields))["ridge"]
    assert points == drawn(make_sweep(**fields))["ridge"] != drawn(make_sweep(**fields, seed=1))["ridge"]
    assert all(0.01 <= point["ridge"] <= 10 for point in points)
    # a logarithmic scale: as many below the geometric mean as above, within three standard errors of 200 draws
    assert abs(sum(point["ridge"] < 0.1**0.5 for point in points) - 100) < 3 * 50**0.5
    assert {point["components"] for point in points} == {2, 3, 4}
    # both ends of whole numbers are as likely as the middle
    assert abs(sum(point["components"] == 4 for point in points) - 200 / 3) < 3 * (200 * 2 / 9) ** 0.5
    few = drawn(make_sweep(method="random", trials=10, models={"ridge": {"interaction": [0.5, 1.0, 0.5]}}))
    assert len(few["ridge"]) == 2, "there are two configurations, and none is tried twice"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        pytest.param({"method": "random"}, "needs trials", id="no trials"),
        pytest.param({"parallel": 2}, "parallel is for method tpe", id="parallel grid"),
        pytest.param({"seeds": [1, 1]}, "seeds name each once", id="twice"),
        pytest.param({"budget": {"steps": 1, "samples": 1}}, "steps or samples, not both", id="two budgets"),
        pytest.param({"models": {"ridge": {"ridge": {"low": 2, "high": 1}}}}, "a range goes up", id="downwards"),
        pytest.param({"models": {"ridge": {"ridge": {"low": 0, "high": 1, "log": True}}}}, "above 0", id="log of 0"),
        pytest.param({"models": {"ridge": {"ridge": []}}}, "at least 1 item", id="no choice"),
        pytest.param({"metrics": "x"}, "metrics", id="unknown field"),
    ],
)
def test_a_wrong_section_is_refused(fields, message):
    with pytest.raises(pydantic.ValidationError, match=message):
        make_sweep(**fields)


def test_a_hash_is_of_the_whole_configuration():
    one = make_trial("a", plugin="ridge", parameters={"ridge": 1.0}, budget=Budget(), drawn={"ridge": 1.0})
    default = make_trial("b", plugin="ridge", parameters={"ridge": 1.0, "components": 10}, budget=Budget())
    other = make_trial("a", plugin="ridge", parameters={"ridge": 1.5}, budget=Budget(), drawn={"ridge": 1.5})
    assert one.sha256 == default.sha256 != other.sha256, "a default that is written out changes nothing"
    assert (one.name, default.name) == (f"a-{one.sha256[:8]}", "b")


@pytest.mark.parametrize(("budget", "steps"), [(Budget(), 70), (Budget(steps=9), 9), (Budget(samples=100), 13)])
def test_a_budget_decides_the_steps_of_whoever_takes_steps(budget, steps):
    learned = make_trial("cgio", plugin="cgio", parameters={"steps": 70, "batch": 8}, budget=budget)
    assert learned.parameters["steps"] == steps
    assert "steps" not in make_trial("ridge", plugin="ridge", parameters={}, budget=budget).parameters


def test_rounds_of_a_search_that_looks_back():
    tpe = {"method": "tpe", "trials": 7, "parallel": 3}
    assert make_sweep(**tpe).rounds == 3
    assert make_sweep(method="random", trials=7).rounds == 1
    assert Section.model_validate({**TERMS, "models": ["ridge"]}).seeds == [0]
