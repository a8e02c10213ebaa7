"""A suite's folder: every process that opens it numbers its runs alike."""

from __future__ import annotations

import pytest

from perturbcast.errors import UsageError
from perturbcast.suites import Budget, SuiteFolder, Sweep, make_trial

FORM = {"dataset": "d", "rule": "unseen_context", "config": {}}
SWEEP = {
    "splits": {"z": FORM, "a": FORM},
    "seeds": [1, 0],
    "metric": "perturbench.rmse_average@1",
    "method": "grid",
    "models": {"ridge": {"ridge": [1.0], "interaction": [0.5, 1.0]}, "linear": {"components": [2, 3]}},
}


def start(path, **fields):
    return SuiteFolder.start(path, "sweep", Sweep.model_validate({**SWEEP, **fields}))


def test_whoever_opens_it_numbers_runs_and_draws_alike(tmp_path):
    started, opened = start(tmp_path), SuiteFolder.open(tmp_path)
    trials = [
        make_trial("ridge", plugin="ridge", parameters={"ridge": x}, budget=Budget(), drawn={"ridge": x})
        for x in (2.0, 1.0, 2.0)
    ]
    started.write_round(0, trials)
    labels = [run.label for run in started.runs(0)]
    assert labels == [run.label for run in opened.runs(0)]
    assert labels[:2] == [f"a/{trials[0].name}/seed_1", f"a/{trials[0].name}/seed_0"]
    assert len(labels) == 12
    assert len(started.runs()) == 8, "what was drawn twice is one configuration"
    assert [list(space) for space in started.section.models.values()] == [
        list(space) for space in opened.section.models.values()
    ]


def test_a_folder_holds_one_sweep(tmp_path):
    start(tmp_path)
    start(tmp_path, models=dict(reversed(SWEEP["models"].items())))
    with pytest.raises(ValueError, match="was started with other seeds"):
        start(tmp_path, seeds=[5])
    with pytest.raises(UsageError, match="Beside it there is: "):
        SuiteFolder.open(tmp_path / "none")
