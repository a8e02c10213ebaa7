"""A sweep as array jobs: one configuration file, on one machine and on a cluster, one leaderboard."""

from __future__ import annotations

import pytest
import yaml
from tests.cluster.conftest import read_submitted
from tests.cluster.test_pipeline_on_slurm import commit, finish, run

pytestmark = pytest.mark.slow

SECTIONS = {
    "splits": {"sim": {"dataset": "simulated", "rule": "unseen_context", "config": {"contexts": ""}}},
    "sweeps": {
        "search": {
            "splits": ["sim"],
            "folds": [0],
            "seeds": [0, 1],
            "metric": "perturbench.rmse_average@1",
            "method": "tpe",
            "trials": 4,
            "parallel": 2,
            "models": {"ridge": {"ridge": {"low": 0.01, "high": 10, "log": True}, "interaction": [0.5, 1.0]}},
        }
    },
}


def make_workspace(folder, env):
    folder.mkdir()
    (folder / "sweep.yaml").write_text(yaml.safe_dump(SECTIONS, sort_keys=False))
    size = ("--nodes", "12", "--contexts", "4", "--perturbations", "4", "--combinations", "0", "--cells", "600")
    run("perturbcast", "simulate", *size, "--out", "artifacts/datasets/simulated.h5ad", cwd=folder, env=env)
    return folder


def test_a_sweep_as_arrays_ends_in_the_leaderboard_of_one_machine(root, slurm, tmp_path):
    pytest.importorskip("optuna", reason="the extra 'sweep' is not installed")
    words = ("perturbcast", "sweep", "run", "search", "--params", "sweep.yaml", "--no-track")
    local = make_workspace(tmp_path / "local", slurm)
    run(*words, cwd=local, env=slurm)

    folder = make_workspace(tmp_path / "cluster", slurm)
    (folder / "apptainer").mkdir()
    (folder / "apptainer/slurm").symlink_to(root / "apptainer/slurm")
    (folder / "site.yaml").write_text('defaults: {partition: low, time: "10"}\n')
    (folder / ".gitignore").write_text("/artifacts/\n")
    run("git", "init", "-q", cwd=folder, env=slurm)
    commit(folder, slurm, "Start")
    dry = run(*words, "--site", "site.yaml", "--dry-run", cwd=folder, env=slurm)
    assert "--job-name=draw_1 --array=0-0" in dry
    assert "'--dependency=afterany:<draw_1>'" in dry
    assert "perturbcast sweep task --round 1 --number 3 --out artifacts/sweeps/search" in dry
    assert "gather.sbatch" not in dry
    run(*words, "--site", "site.yaml", cwd=folder, env=slurm)
    job = "artifacts/jobs/sweep-search-1"
    assert set(read_submitted(folder / job)) == {"draw_0", "runs_0", "draw_1", "runs_1", "scorecard"}
    finish(folder, slurm, job)
    log = (folder / job / "logs/scorecard-0.log").read_text()
    ours, theirs = (one / "artifacts/sweeps/search/leaderboard.json" for one in (folder, local))
    assert ours.is_file(), log
    assert ours.read_bytes() == theirs.read_bytes()
    assert "8 " in run("perturbcast", "sweep", "status", "search", cwd=folder, env=slurm)
    assert "4 ended well" in run("perturbcast", "jobs", cwd=folder, env=slurm)
