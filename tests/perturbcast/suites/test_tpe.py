"""Optuna's estimator in rounds: it learns, it is the same each time, and a kill between two rounds changes nothing."""

from __future__ import annotations

import pytest

from perturbcast.errors import UsageError
from perturbcast.suites import Sweep
from perturbcast.suites.tpe import ask

SPACE = {"ridge": {"low": 0.01, "high": 10, "log": True}, "components": {"low": 2, "high": 9, "integer": True}}


@pytest.fixture(scope="module", autouse=True)
def _optuna():
    pytest.importorskip("optuna", reason="the extra 'sweep' is not installed")


def make_sweep(**fields):
    terms = {"splits": ["s"], "metric": "perturbench.rmse_average@1", "method": "tpe", "models": {"ridge": SPACE}}
    return Sweep.model_validate({**terms, "trials": 6, "parallel": 2, **fields})


def search(sweep, storage, *, lost=()):
    """All rounds, the loss smallest at ridge 0.1; rounds in ``lost`` are asked for twice, as after a kill."""
    scores, rounds = {"ridge": {}}, []
    for number in range(sweep.rounds):
        if number in lost:
            ask(sweep, number, scores=scores, storage=storage)
        asked = ask(sweep, number, scores=scores, storage=storage)["ridge"]
        rounds.append([values for _, values in asked])
        scores["ridge"] |= {trial: abs(values["ridge"] - 0.1) for trial, values in asked}
    return rounds


def test_a_kill_between_rounds_changes_nothing(tmp_path):
    sweep = make_sweep()
    whole = search(sweep, tmp_path / "a.db")
    assert [len(values) for values in whole] == [2, 2, 2]
    assert search(sweep, tmp_path / "b.db", lost=(0, 2)) == whole


def test_the_scores_decide_what_is_drawn(tmp_path):
    """The same first ten, scored one way and the other: the next ten lean to where it is better."""
    sweep = make_sweep(trials=20, parallel=10, models={"ridge": {"ridge": {"low": 0, "high": 1}}})
    found = []
    for name, better in (("low.db", 1), ("high.db", -1)):
        first = ask(sweep, 0, scores={}, storage=tmp_path / name)["ridge"]
        scores = {"ridge": {number: better * values["ridge"] for number, values in first}}
        second = ask(sweep, 1, scores=scores, storage=tmp_path / name)["ridge"]
        found.append(sum(values["ridge"] for _, values in second))
    assert found[0] < found[1]


def test_without_optuna_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    with pytest.raises(UsageError, match="the extra 'sweep'"):
        ask(make_sweep(), 0, scores={}, storage=tmp_path / "a.db")
