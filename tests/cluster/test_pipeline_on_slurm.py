"""The pipeline as array jobs of a real SLURM: the same results as 'dvc repro', and a refusal where a task failed."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

pytestmark = pytest.mark.slow

BIN = Path(sys.executable).parent
SPLIT = "simulated-unseen_context"
DEADLINE_S = 480


def run(*command, cwd, env, code=0):
    environment = {**env, "PATH": f"{BIN}:{env['PATH']}", "COLUMNS": "160"}
    for name in ("PERTURBCAST_DATA", "MLFLOW_TRACKING_URI"):
        environment.pop(name, None)
    done = subprocess.run(
        [str(word) for word in command], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout + done.stderr


def commit(folder, env, title):
    run("git", "add", "-A", cwd=folder, env=env)
    run("git", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-q", "-m", title, cwd=folder, env=env)


def finish(folder, env, job):
    """Wait until SLURM has no task of the job any more."""
    ids = json.loads((folder / job / "submitted.json").read_text()).values()
    for _ in range(DEADLINE_S):
        if not run("squeue", "-h", f"--jobs={','.join(ids)}", cwd=folder, env=env).strip():
            return
        time.sleep(1)
    logs = "\n".join(path.read_text()[-500:] for path in (folder / job / "logs").glob("*"))
    pytest.fail(f"not done after {DEADLINE_S} s: {run('squeue', cwd=folder, env=env)}\n{logs}")


def make_checkout(root, folder, env):
    source = Path("libs/perturbcast/src/perturbcast")
    shutil.copytree(root / source, folder / source, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(root / "apptainer/slurm", folder / "apptainer/slurm")
    for name in ("dvc.yaml", ".dvcignore", ".gitignore"):
        shutil.copy(root / name, folder / name)
    params = yaml.safe_load((root / "params.yaml").read_text())
    params["datasets"] = []
    params["splits"] = {SPLIT: params["splits"][SPLIT]}
    params["run"] = {"splits": [SPLIT], "models": ["control", "mean_delta"]}
    params["oracle"] = {"splits": [SPLIT], "models": ["truth"]}
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    (folder / "site.yaml").write_text("defaults: {partition: low, time: '5', cpus: 1}\n")
    run("git", "init", "-q", cwd=folder, env=env)
    run("dvc", "init", "-q", cwd=folder, env=env)
    commit(folder, env, "Start")
    return folder


@pytest.fixture(scope="module")
def checkout(root, slurm, tmp_path_factory):
    return make_checkout(root, tmp_path_factory.mktemp("cluster") / "main", slurm)


def test_a_dry_run_prints_everything_and_the_same_each_time(checkout, slurm):
    first = run("perturbcast", "submit", "--dry-run", cwd=checkout, env=slurm)
    assert first == run("perturbcast", "submit", "--dry-run", cwd=checkout, env=slurm)
    assert "--dependency=afterok:<code>:<modules>:<split> --kill-on-invalid-dep=yes" in first.replace("'", "")
    assert f"train@{SPLIT}-mean_delta: perturbcast train" in first
    assert "gather.sbatch" in first
    assert not (checkout / "artifacts/jobs").exists()


def test_changes_that_no_commit_holds_are_refused(checkout, slurm):
    params = checkout / "params.yaml"
    before = params.read_text()
    params.write_text(before + "\n")
    said = run("perturbcast", "submit", cwd=checkout, env=slurm, code=1)
    params.write_text(before)
    assert "params.yaml differ from" in said


def test_the_pipeline_runs_as_arrays_and_is_committed_once(root, checkout, slurm, tmp_path):
    said = run("perturbcast", "submit", "--name", "first", cwd=checkout, env=slurm)
    assert "see: perturbcast jobs artifacts/jobs/first" in said
    finish(checkout, slurm, "artifacts/jobs/first")
    log = (checkout / "artifacts/jobs/first/logs/gather.log").read_text()
    assert "stages committed" in log
    table = run("perturbcast", "jobs", cwd=checkout, env=slurm)
    assert "2 ended well" in table
    assert "completed" in table
    assert "Data and pipelines are up to date" in run("dvc", "status", cwd=checkout, env=slurm)
    assert "Nothing to submit" in run("perturbcast", "submit", cwd=checkout, env=slurm)
    # the same as 'dvc repro' makes on one machine: DVC's own record of every input and output
    local = make_checkout(root, tmp_path / "main", slurm)
    run("dvc", "repro", cwd=local, env=slurm)
    ours, theirs = (yaml.safe_load((folder / "dvc.lock").read_text())["stages"] for folder in (checkout, local))
    for stages in (ours, theirs):
        del stages["register"]  # names of MLflow runs and the address of its store differ
    assert ours == theirs
    commit(checkout, slurm, "Run")


def test_a_failed_task_is_named_and_nothing_is_committed(checkout, slurm):
    params = checkout / "params.yaml"
    lock = (checkout / "dvc.lock").read_text()
    params.write_text(params.read_text().replace("level: pair", "level: galaxy"))
    commit(checkout, slurm, "Ask for what there is not")
    run("perturbcast", "submit", "--name", "second", cwd=checkout, env=slurm)
    finish(checkout, slurm, "artifacts/jobs/second")
    log = (checkout / "artifacts/jobs/second/logs/gather.log").read_text()
    assert "modules: ended with exit code 2" in log
    assert (checkout / "dvc.lock").read_text() == lock
    said = run("perturbcast", "gather", "artifacts/jobs/second", cwd=checkout, env=slurm, code=1)
    assert "modules: ended with exit code 2" in said
    assert f"train@{SPLIT}-mean_delta: left no run.json" in said


def test_an_array_beyond_the_limit_of_the_cluster_is_refused(checkout, slurm):
    params = checkout / "params.yaml"
    values = yaml.safe_load(params.read_text())
    values["models"] |= {f"m{i}": {"plugin": "mean_delta", "level": "pair"} for i in range(40)}
    values["run"]["models"] += [f"m{i}" for i in range(40)]
    params.write_text(yaml.safe_dump(values))
    commit(checkout, slurm, "Ask for many")
    said = run("perturbcast", "submit", "train", cwd=checkout, env=slurm, code=2)
    assert "An array has at most 39 tasks on this cluster (MaxArraySize); 'train' has 42" in said
