"""Two processes of a SLURM step train one model: the same as two that a machine starts by itself."""

from __future__ import annotations

import pytest
from tests.cluster.test_pipeline_on_slurm import finish, run

pytestmark = pytest.mark.slow

WORDS = "--data made.h5ad --split split --seed 3"
CGIO = f"perturbcast train {WORDS} --model cgio --steps 40 --width 4 --batch 4 --learning-rate 0.03 --every 10"


def test_two_processes_of_a_step_end_as_two_of_one_machine(make_training, slurm):
    commands = {
        "cgio": f"{CGIO} --out out/cgio",
        "mean_delta": f"perturbcast train {WORDS} --model mean_delta --out out/mean_delta",
    }
    folder = make_training(commands, site={"stages": {"train": {"processes": 2}}})
    assert "--ntasks-per-node=2" in run("perturbcast", "submit", "--dry-run", cwd=folder, env=slurm)
    run("perturbcast", "submit", "--name", "j", cwd=folder, env=slurm)
    finish(folder, slurm, "artifacts/jobs/j")
    assert "2 stages committed" in (folder / "artifacts/jobs/j/logs/gather.log").read_text()
    run(*f"{CGIO} --devices 2 --out together".split(), cwd=folder, env=slurm)
    run(*f"{CGIO} --out alone".split(), cwd=folder, env=slurm)
    weights = {
        name: (folder / name / "fold_0/model.safetensors").read_bytes() for name in ("out/cgio", "together", "alone")
    }
    assert weights["out/cgio"] == weights["together"]
    assert weights["out/cgio"] != weights["alone"], "sums of two halves round otherwise: two processes were at work"
    assert (folder / "out/mean_delta/fold_0/fingerprint.json").is_file(), "one of the two wrote it"
