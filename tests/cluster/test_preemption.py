"""A task that a higher partition preempts in the middle saves itself, is queued again, resumes, and ends the same."""

from __future__ import annotations

import json
import shutil
import time

import pytest
from tests.cluster.test_pipeline_on_slurm import commit, finish, run

pytestmark = pytest.mark.slow

# Stands in for training: state that depends on every step, saved when asked to, exit code 75 for 'again'.
PROGRAM = """
import json, pathlib, signal, sys, time
saved, out = pathlib.Path("saved.json"), pathlib.Path(sys.argv[1])
state = json.loads(saved.read_text()) if saved.exists() else {"step": 0, "value": 1, "starts": 0}
state["starts"] += 1
asked = []
for number in (signal.SIGUSR1, signal.SIGTERM):
    signal.signal(number, lambda n, frame: asked.append(n))
pathlib.Path("running").touch()
while state["step"] < 150:
    state["step"] += 1
    state["value"] = (state["value"] * 48271 + state["step"]) % 2147483647
    time.sleep(float(sys.argv[2]))
    if asked:
        saved.write_text(json.dumps(state))
        sys.exit(75)
saved.unlink(missing_ok=True)
out.parent.mkdir(parents=True, exist_ok=True)
out.write_text(json.dumps({"value": state["value"], "steps": state["step"]}))
pathlib.Path("starts.json").write_text(json.dumps(state["starts"]))
"""


def test_a_preempted_task_ends_as_an_undisturbed_one(root, slurm, tmp_path):
    folder = tmp_path / "main"
    shutil.copytree(root / "apptainer/slurm", folder / "apptainer/slurm")
    (folder / "learn.py").write_text(PROGRAM)
    stage = "stages:\n  learn:\n    foreach: [a]\n    do: {cmd: python learn.py out/a.json 0.1, outs: [out/a.json]}\n"
    (folder / "dvc.yaml").write_text(stage)
    (folder / "params.yaml").write_text("seed: 0\n")
    (folder / "site.yaml").write_text("defaults: {partition: low, time: '5', cpus: 2}\n")
    (folder / ".gitignore").write_text("/artifacts/\nsaved.json\nstarts.json\nrunning\n*.log\n")
    run("git", "init", "-q", cwd=folder, env=slurm)
    run("dvc", "init", "-q", cwd=folder, env=slurm)
    commit(folder, slurm, "Start")

    run("python", "learn.py", "undisturbed.json", "0", cwd=folder, env=slurm)
    assert json.loads((folder / "starts.json").read_text()) == 1
    (folder / "running").unlink()

    run("perturbcast", "submit", "--name", "j", cwd=folder, env=slurm)
    job = json.loads((folder / "artifacts/jobs/j/submitted.json").read_text())["learn"]
    for _ in range(240):
        if (folder / "running").exists():
            break
        time.sleep(0.25)
    time.sleep(0.5)  # in the middle of the loop
    run("sbatch", "--partition=high", "--cpus-per-task=2", "--wrap=sleep 2", "-o", "high.log", cwd=folder, env=slurm)
    for _ in range(120):
        if "Restarts=1" in run("scontrol", "show", "job", job, cwd=folder, env=slurm):
            break
        time.sleep(0.25)
    # SLURM lets a requeued job wait for two minutes
    run("scontrol", "update", f"jobid={job}", "starttime=now", cwd=folder, env=slurm)
    finish(folder, slurm, "artifacts/jobs/j")

    assert json.loads((folder / "starts.json").read_text()) == 2
    assert (folder / "out/a.json").read_text() == (folder / "undisturbed.json").read_text()
    assert "1 stages committed" in (folder / "artifacts/jobs/j/logs/gather.log").read_text()
