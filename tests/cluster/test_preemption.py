"""Training that a higher partition preempts in mid-epoch saves itself, is queued again, resumes, and ends the same.

In the environment and in an image, alone and by two processes; a command that cannot save itself starts anew.
"""

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
REQUEUED_S = 60


def preempt(folder, env, job, *, begun):
    """Submit to the higher partition once ``begun`` is there, and see the job back in the queue."""
    for _ in range(2400):
        if list(folder.glob(begun)):
            break
        time.sleep(0.05)
    run("sbatch", "--partition=high", "--cpus-per-task=2", "--wrap=sleep 1", "-o", "high.log", cwd=folder, env=env)
    end = time.monotonic() + REQUEUED_S
    while "Restarts=1" not in (said := run("scontrol", "show", "job", job, cwd=folder, env=env)):
        logs = "\n".join(path.read_text() for path in folder.glob("artifacts/jobs/*/logs/train-0.log"))
        assert time.monotonic() < end, f"not queued again within {REQUEUED_S} s: {said}\n{logs}"
        time.sleep(0.25)
    # SLURM lets a requeued job wait for two minutes, from when its last process has ended
    while not re.search("JobState=(RUNNING|COMPLETED)", said):
        if "Reason=BeginTime" in said:
            run("scontrol", "update", f"jobid={job}", "starttime=now", cwd=folder, env=env)
        assert time.monotonic() < end + 180, said
        time.sleep(0.5)
        said = run("scontrol", "show", "job", job, cwd=folder, env=env)


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("place", ["environment", "image"])
def test_a_preempted_training_ends_in_the_weights_of_an_undisturbed_one(
    place, processes, make_training, slurm, request
):
    site = {"defaults": {"cpus": 2 // processes, "time": "30", "processes": processes}}
    env, words = slurm, []
    if place == "image":
        image, path = request.getfixturevalue("train_image")
        site["image"] = str(image)
        env = slurm | {"PATH": f"{slurm['PATH']}:{path}"}
    folder = make_training({"cgio": f"{TRAIN} --out out/cgio"}, site=site)
    if place == "image":
        words = ["apptainer", "exec", "--bind", folder, "--pwd", folder, image]
    run("perturbcast", "submit", "--name", "j", cwd=folder, env=env)
    job = read_submitted(folder / "artifacts/jobs/j")["train"]
    preempt(folder, env, job, begun="out/.cgio.checkpoints/fold_0/[0-9]*.ckpt")
    finish(folder, env, "artifacts/jobs/j")

    log = (folder / "artifacts/jobs/j/logs/train-0.log").read_text()
    resumed = re.search(r"fold 0: went on from step (\d+)", log)
    assert resumed, log
    assert 0 < int(resumed[1]) < STEPS
    if (place, processes) != ("image", 2):  # two processes may lose the image over a signal while they save
        assert f"Stopped by a signal after step {resumed[1]} of {STEPS}" in log
    assert "1 stages committed" in (folder / "artifacts/jobs/j/logs/gather.log").read_text()
    run(*words, *f"{TRAIN} --devices {processes} --out undisturbed".split(), cwd=folder, env=env)
    for name in ("model.safetensors", "config.json", "calibration.npz", "fingerprint.json"):
        ours, theirs = folder / "out/cgio/fold_0" / name, folder / "undisturbed/fold_0" / name
        assert ours.read_bytes() == theirs.read_bytes(), name


def test_a_preempted_command_that_cannot_save_itself_starts_anew(make_training, slurm):
    command = "if test -e out/begun; then mkdir out/made; else mkdir out && touch out/begun && sleep 300; fi"
    folder = make_training({"made": command}, site={"defaults": {"cpus": 2}})
    run("perturbcast", "submit", "--name", "j", cwd=folder, env=slurm)
    preempt(folder, slurm, read_submitted(folder / "artifacts/jobs/j")["train"], begun="out/begun")
    finish(folder, slurm, "artifacts/jobs/j")
    assert "1 stages committed" in (folder / "artifacts/jobs/j/logs/gather.log").read_text()
