"""Commands of the cluster in a folder, or of a job, that is not what they need."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from perturbcast.cluster import Array, Plan, Stage

COMMIT = ("git", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-q")
PATH = f"{Path(sys.executable).parent}:{os.environ['PATH']}"


def test_the_pipeline_is_submitted_from_the_repository_root(call, tmp_path):
    (tmp_path / "site.yaml").write_text("{}")
    done = call("submit", "--dry-run")
    assert done.code == 2
    assert "there is no dvc.yaml and no apptainer/slurm/list_stages.py here. Run in the repository root." in done.err


def test_a_stage_whose_input_nothing_makes_is_refused_before_anything_waits(call, root, tmp_path):
    """As where params.yaml names a split under 'oracle' that is no longer under 'splits'."""
    shutil.copytree(root / "apptainer/slurm", tmp_path / "apptainer/slurm")
    (tmp_path / "site.yaml").write_text("{}")
    (tmp_path / "params.yaml").write_text("{}")
    split = {"cmd": "true", "deps": ["params.yaml"], "outs": ["splits/a"]}
    stages = {name: {"cmd": "true", "deps": [f"splits/{name}"], "outs": [f"models/{name}"]} for name in ("a", "b")}
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"split": split} | stages}))
    for words in (("git", "init", "-q"), ("dvc", "init", "-q"), ("git", "add", "."), (*COMMIT, "-m", "Start")):
        subprocess.run(words, cwd=tmp_path, check=True, env=os.environ | {"PATH": PATH})
    done = call("submit", "--dry-run")
    assert done.code == 2
    assert "'b' reads splits/b, which no stage makes" in done.err


@pytest.mark.parametrize(
    "words", [("gather", "job"), ("jobs", "job"), ("task", "job", "--group", "a", "--number", "0")]
)
def test_a_broken_plan_is_named(call, tmp_path, words):
    (tmp_path / "job").mkdir()
    (tmp_path / "job/plan.json").write_text("{")
    done = call(*words)
    assert done.code == 1
    assert "job/plan.json cannot be read" in done.err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("- cpu", "the whole file = ['cpu']: Input should be a valid dictionary", id="a list"),
        pytest.param("defaults: {gpu: 1}", "defaults.gpu = 1: Extra inputs are not permitted", id="a typo"),
        pytest.param("defaults: {time: 12:00:00}", "YAML takes 12:00:00 without them for 43200", id="no quotes"),
        pytest.param("defaults: {", "expected the node content", id="no YAML"),
    ],
)
def test_a_wrong_site_file_is_one_clear_error(call, tmp_path, text, message):
    (tmp_path / "site.yaml").write_text(text)
    for words in (("submit", "--dry-run"), ("doctor", "--slurm")):
        done = call(*words)
        assert done.code == 2
        assert message in done.err
        assert "site.example.yaml" in done.err


def test_an_ablation_has_at_least_one_fit(call):
    done = call("ablate", "--split", "none", "--seeds", "0")
    assert done.code == 2
    assert "Invalid value for '--seeds'" in done.err


def test_jobs_says_why_tasks_wait(call, tmp_path, monkeypatch):
    """A time above the limit of the partition waits for ever, which 'pending' alone does not tell."""
    stage = Stage(name="train@a", command="true", inputs=(), outputs=(), after=())
    plan = Plan(commit="c", params="p", arrays=(Array(group="train", stages=(stage,) * 3, after=()),))
    (tmp_path / "job").mkdir()
    (tmp_path / "job/plan.json").write_text(json.dumps(plan.to_json()))
    (tmp_path / "job/submitted.json").write_text(json.dumps({"train": "7", "gather": "8"}))
    squeue = tmp_path / "squeue"
    lines = ("7|0|RUNNING|None", "7|1|PENDING|PartitionTimeLimit", "7|2|PENDING|None", "8|N/A|PENDING|Dependency")
    squeue.write_text("#!/bin/sh\n" + "".join(f"echo '{line}'\n" for line in lines))
    squeue.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/nowhere")
    done = call("jobs", "job")
    assert done.code == 0
    assert "1 pending, 1 pending (PartitionTimeLimit), 1 running" in done.out
    assert "pending (Dependency)" in done.out
