"""What is wrong with a suite is said before anything is written, and only of the suite that is asked for."""

from __future__ import annotations

import copy

import pytest
import yaml

from perturbcast import splits
from perturbcast.errors import UsageError
from perturbcast.stages.params import Params, in_words
from perturbcast.stages.suite_start import start
from perturbcast.stores import h5ad

METRIC = "perturbench.rmse_average@1"
TERMS = {"splits": ["made"], "metric": METRIC}
FILE = {
    "splits": {"made": {"dataset": "made", "rule": "in_distribution", "config": {}}},
    "suites": {"one": {**TERMS, "models": ["control"]}},
    "sweeps": {"one": {**TERMS, "method": "tpe", "trials": 4, "models": {"ridge": {"ridge": [0.1, 1.0]}}}},
}


@pytest.fixture
def begin(tmp_path, monkeypatch, make_data):
    """``begin(kind, field=value)`` starts the suite or sweep ``one`` with these fields in its section."""
    monkeypatch.chdir(tmp_path)
    h5ad.write(make_data(contexts=("a", "b"), genes=4), tmp_path / "artifacts/datasets/made.h5ad")

    def begun(kind, *, beside=None, **fields):
        value = copy.deepcopy(FILE)
        value[f"{kind}s"]["one"] |= fields
        value[f"{kind}s"] |= beside or {}
        (tmp_path / "suites.yaml").write_text(yaml.safe_dump(value))
        return start(kind, "one", file=tmp_path / "suites.yaml", out=tmp_path / "out")

    return begun


WRONG = [
    pytest.param("suite", {"splits": ["other"]}, "'other' is neither", id="split"),
    pytest.param("suite", {"folds": [9]}, "and no 9", id="fold"),
    pytest.param("suite", {"splits": {"new": {"dataset": "none", "rule": "in_distribution"}}}, "none.h5ad", id="data"),
    pytest.param("suite", {"training": {"graphs": ["none"]}}, "artifacts/graphs/made/none not there", id="graph"),
    pytest.param("sweep", {"models": {"ridge": {"ridge": {"low": -1, "high": 1}}}}, "got -1.0 and 1.0", id="low end"),
    pytest.param(
        "sweep", {"models": {"cgio": {"dropout": {"low": 0.1, "high": 3}}}}, "got dropout = 3.0", id="high end"
    ),
    pytest.param("sweep", {"models": {"ridge": {"ridge": [1.0, -2.0]}}}, "got -2.0 and 1.0", id="second choice"),
    pytest.param("sweep", {"models": {"ridge": {"ridge": []}}}, "at least 1 item", id="no choice"),
]


@pytest.mark.parametrize(("kind", "fields", "message"), WRONG)
def test_a_fault_is_said_before_anything_is_written(begin, tmp_path, kind, fields, message):
    with pytest.raises(UsageError, match=message):
        begin(kind, **fields)
    assert not (tmp_path / "out").exists(), "the folder would refuse the mended section as another one"


def test_a_fault_in_another_section_is_not_this_ones(begin):
    folder = begin("suite", beside={"two": {"models": []}})
    assert [run.label for run in folder.runs()] == ["made/control/seed_0"]
    assert splits.load(folder.split("made") / "fold_0.json").dataset == "made"


def test_a_fault_names_the_field_in_one_line(begin):
    with pytest.raises(UsageError) as refused:
        begin("sweep", models={"ridge": {"ridge": {"low": 0.1, "hi": 1}}})
    said = str(refused.value)
    assert "sweeps.one.models.ridge.ridge.range.hi = 1: Extra inputs are not permitted" in said
    assert "\n" not in said
    assert "https" not in said


def test_of_many_faults_three_are_told():
    with pytest.raises(ValueError, match="validation errors") as refused:
        Params.model_validate({})
    assert in_words(refused.value).count("Field required") == 3
