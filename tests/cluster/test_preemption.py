"""Training that a higher partition preempts in mid-epoch saves itself, is queued again, resumes, and ends the same."""

from __future__ import annotations

import re
import time

import pytest
from tests.cluster.conftest import read_submitted
from tests.cluster.test_pipeline_on_slurm import finish, run

pytestmark = pytest.mark.slow

STEPS = 400
TRAIN = (
    f"perturbcast train --data made.h5ad --split split --model cgio --steps {STEPS} --checkpoint-every 10 --width 4 "
    "--batch 4 --learning-rate 0.03 --dropout 0.2 --every 50 --patience 1000 --seed 3"
)


def test_a_preempted_training_ends_in_the_weights_of_an_undisturbed_one(make_training, slurm):
    folder = make_training({"cgio": f"{TRAIN} --out out/cgio"}, site={"defaults": {"cpus": 2, "time": "30"}})
    run("perturbcast", "submit", "--name", "j", cwd=folder, env=slurm)
    job = read_submitted(folder / "artifacts/jobs/j")["train"]
    for _ in range(2400):
        if list(folder.glob("out/.cgio.checkpoints/fold_0/[0-9]*.ckpt")):
            break
        time.sleep(0.05)
    run("sbatch", "--partition=high", "--cpus-per-task=2", "--wrap=sleep 1", "-o", "high.log", cwd=folder, env=slurm)
    for _ in range(240):
        if "Restarts=1" in run("scontrol", "show", "job", job, cwd=folder, env=slurm):
            break
        time.sleep(0.25)
    # SLURM lets a requeued job wait for two minutes
    run("scontrol", "update", f"jobid={job}", "starttime=now", cwd=folder, env=slurm)
    finish(folder, slurm, "artifacts/jobs/j")

    log = (folder / "artifacts/jobs/j/logs/train-0.log").read_text()
    saved = re.search(rf"Stopped by a signal after step (\d+) of {STEPS}", log)
    assert saved, log
    assert 0 < int(saved[1]) < STEPS
    assert f"fold 0: went on from step {saved[1]}" in log
    assert "1 stages committed" in (folder / "artifacts/jobs/j/logs/gather.log").read_text()
    run(*f"{TRAIN} --out undisturbed".split(), cwd=folder, env=slurm)
    for name in ("model.safetensors", "config.json", "calibration.npz", "fingerprint.json"):
        ours, theirs = folder / "out/cgio/fold_0" / name, folder / "undisturbed/fold_0" / name
        assert ours.read_bytes() == theirs.read_bytes(), name
