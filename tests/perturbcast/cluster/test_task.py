"""One task: who keeps outputs and record where several processes of a step train one model."""

from __future__ import annotations

import json
import os
import signal
import subprocess

import pytest

from perturbcast.cluster import Plan, Stage, run_task
from perturbcast.cluster.task import record_file

PLAN = Plan(commit="c", params="p", arrays=())


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    subprocess.run(["git", "init", "-q"], check=True)
    (tmp_path / "out").write_text("of an earlier run")
    return tmp_path


def stage(command):
    return Stage(name="train@a", command=command, inputs=(), outputs=("out",), after=())


def test_the_first_process_keeps_outputs_and_record_and_the_others_run_beside_it(checkout):
    see = stage("test -e out && echo there > seen || echo gone > seen; exit 75")
    job = checkout / "job"
    assert run_task(PLAN, see, job=job, environment={**os.environ, "SLURM_PROCID": "1"}) == 75
    assert (checkout / "seen").read_text() == "there\n"
    assert not job.exists()
    assert run_task(PLAN, see, job=job, environment={**os.environ, "SLURM_PROCID": "0"}) == 75
    assert (checkout / "seen").read_text() == "gone\n"
    assert json.loads(record_file(job, "train@a").read_text())["exit_code"] == 75


@pytest.fixture
def held():
    """SIGTERM does nothing to this process, should the task not see it: the test fails, and no worker dies."""
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    yield
    signal.signal(signal.SIGTERM, before)


def test_a_signal_that_the_command_has_ended_of_already_is_no_failure(checkout, monkeypatch, held):
    def gone(group, number):
        raise ProcessLookupError

    monkeypatch.setattr(os, "killpg", gone)
    told = stage("kill -TERM $PPID; sleep 0.2; exit 75")
    assert run_task(PLAN, told, job=checkout / "job", environment=dict(os.environ)) == 75


def test_a_signal_that_comes_while_the_command_starts_is_passed_on(checkout, monkeypatch, held):
    start = subprocess.Popen

    def signalled(words, **how):
        os.kill(os.getpid(), signal.SIGTERM)
        process = start(words, **how)
        os.kill(os.getpid(), signal.SIGTERM)
        return process

    monkeypatch.setattr(subprocess, "Popen", signalled)
    waits = stage("sleep 60")
    assert run_task(PLAN, waits, job=checkout / "job", environment=dict(os.environ)) == 128 + signal.SIGTERM
