"""Tasks of a real SLURM that run inside the train image: what 'image' in a site file turns on."""

from __future__ import annotations

import json
import os
import shutil
import time

import pytest
import yaml
from tests.cluster import conftest as cluster
from tests.cluster.test_pipeline_on_slurm import commit, finish, run

pytestmark = pytest.mark.slow

slurm = cluster.slurm

# Says where it runs; told to save itself the first time, it ends with 75, 'again', and the second start goes on.
PROGRAM = """
import json, os, pathlib, signal, sys, time
import torch
import perturbcast
saved, out = pathlib.Path("saved.json"), pathlib.Path(sys.argv[1])
steps = json.loads(saved.read_text()) if saved.exists() else []
signal.signal(signal.SIGUSR1, lambda *_: sys.exit(75))
steps.append(os.environ["APPTAINER_NAME"])
saved.write_text(json.dumps(steps))
if len(steps) == 1:
    pathlib.Path("running").touch()
    time.sleep(120)
out.parent.mkdir(parents=True, exist_ok=True)
made = {"steps": steps, "python": sys.prefix, "torch": torch.__version__, "file": perturbcast.__file__}
out.write_text(json.dumps(made))
"""


def wait_until(happened, *, seconds):
    until = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.5)


def test_a_task_in_the_image_saves_itself_is_queued_again_and_is_committed(root, slurm, apptainer, sif, tmp_path):
    env = slurm | {"PATH": f"{apptainer.get('PATH', os.environ['PATH'])}:/usr/sbin"}
    folder = tmp_path / "main"
    shutil.copytree(root / "apptainer/slurm", folder / "apptainer/slurm")
    (folder / "learn.py").write_text(PROGRAM)
    stage = "stages:\n  learn:\n    foreach: [a]\n    do: {cmd: python learn.py out/a.json, outs: [out/a.json]}\n"
    (folder / "dvc.yaml").write_text(stage)
    (folder / "params.yaml").write_text("seed: 0\n")
    site = {"defaults": {"partition": "low", "time": "10", "cpus": 1}, "image": str(sif / "train.sif")}
    (folder / "site.yaml").write_text(yaml.safe_dump(site))
    (folder / ".gitignore").write_text("/artifacts/\nsaved.json\nrunning\n*.log\n")
    run("git", "init", "-q", cwd=folder, env=env)
    run("dvc", "init", "-q", cwd=folder, env=env)
    commit(folder, env, "Start")

    said = run("perturbcast", "doctor", "--slurm", cwd=folder, env=env)
    assert "train.sif" in said.replace("\n", "")

    run("perturbcast", "submit", "--name", "j", cwd=folder, env=env)
    job = json.loads((folder / "artifacts/jobs/j/submitted.json").read_text())["learn"]
    wait_until((folder / "running").exists, seconds=120)
    run("scancel", "--batch", "--signal=USR1", job, cwd=folder, env=env)
    wait_until(lambda: "Restarts=1" in run("scontrol", "show", "job", job, cwd=folder, env=env), seconds=60)
    # SLURM lets a requeued job wait for two minutes
    run("scontrol", "update", f"jobid={job}", "starttime=now", cwd=folder, env=env)
    finish(folder, env, "artifacts/jobs/j")

    made = json.loads((folder / "out/a.json").read_text())
    assert made["steps"] == ["train.sif", "train.sif"]
    assert made["python"] == "/opt/perturbcast"
    assert made["file"].startswith("/opt/perturbcast/")
    assert "1 stages committed" in (folder / "artifacts/jobs/j/logs/gather.log").read_text()
    assert "Data and pipelines are up to date" in run("dvc", "status", cwd=folder, env=env)
