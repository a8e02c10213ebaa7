"""Two machines of four GPUs: what a dry run shows, and what the batch script then starts there, word for word."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from perturbcast.cluster import Array, Plan, Site, Stage
from perturbcast.stages.submit import launch

SITE = {"stages": {"train": {"partition": "gpu", "nodes": 2, "gpus": 4, "cpus": 8, "time": "1-00:00:00"}}}
COMMAND = "perturbcast train --model cgio --out artifacts/models/a/cgio"
SRUN = "srun --nodes=2 --ntasks-per-node=4 --wait=120 --cpus-per-task=8 --kill-on-bad-exit=0"


def test_a_dry_run_shows_machines_processes_and_gpus(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("perturbcast.stages.submit.PROGRAMS", Path("/e/bin"))
    stage = Stage(name="train@a-cgio", command=COMMAND, inputs=(), outputs=(), after=())
    plan = Plan(commit="c", params="p", arrays=(Array(group="train", stages=(stage,), after=()),))
    launch(plan, Site.model_validate(SITE), tmp_path / "j", dry_run=True, gather=True)
    job = tmp_path / "j"
    assert capsys.readouterr().out == (
        "sbatch --parsable --job-name=train --array=0-0 --partition=gpu --time=1-00:00:00 --nodes=2 "
        f"--ntasks-per-node=4 --cpus-per-task=8 --gpus-per-node=4 --output={job}/logs/train-%a.log "
        f"--open-mode=append --signal=B:USR1@120 --requeue apptainer/slurm/stage.sbatch {job} train\n"
        f"     0  train@a-cgio: {COMMAND}\n"
        "sbatch --parsable --job-name=gather --nodes=1 --ntasks-per-node=1 --cpus-per-task=1 "
        f"--output={job}/logs/gather.log --open-mode=append '--dependency=afterany:<train>' "
        f"apptainer/slurm/gather.sbatch {job}\n"
        f"{job}/site.sh:\nimage=''\nbinds=()\nmodules=()\nexport PATH=/e/bin:\"$PATH\"\n"
    )
    assert not job.exists()


@pytest.mark.parametrize(
    ("image", "started"),
    [
        pytest.param(None, SRUN, id="environment"),
        pytest.param(
            "t.sif",
            f"{SRUN} bash apptainer/slurm/again.sh apptainer exec --bind ROOT --pwd ROOT --bind /data --nv t.sif",
            id="image",
        ),
    ],
)
def test_one_process_per_gpu_is_started_on_every_machine(image, started, root, tmp_path):
    """SLURM's variables are those that sbatch(1) says a batch script has under these options."""
    programs = tmp_path / "bin"
    programs.mkdir()
    shown = "PERTURBCAST_DEVICES PERTURBCAST_NUM_NODES PERTURBCAST_ACCELERATOR MASTER_ADDR OMP_NUM_THREADS"
    srun = f'#!/bin/bash\necho "srun $*"\nfor name in {shown}; do echo "$name=${{!name}}"; done\n'
    for name, text in (("srun", srun), ("hostname", "#!/bin/bash\necho first\n")):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    (tmp_path / "site.sh").write_text(Site(image=image, binds=("/data",)).shell(programs=programs))
    done = subprocess.run(
        ["bash", "apptainer/slurm/stage.sbatch", str(tmp_path), "train"],
        cwd=root,
        env={
            "PATH": f"{programs}:/usr/bin:/bin",
            "SLURM_JOB_NUM_NODES": "2",
            "SLURM_NTASKS_PER_NODE": "4",
            "SLURM_CPUS_PER_TASK": "8",
            "SLURM_GPUS_ON_NODE": "4",
            "SLURM_ARRAY_JOB_ID": "9",
            "SLURM_ARRAY_TASK_ID": "3",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.splitlines() == [
        f"{started.replace('ROOT', str(root))} perturbcast task {tmp_path} --group train --number 3",
        "PERTURBCAST_DEVICES=4",
        "PERTURBCAST_NUM_NODES=2",
        "PERTURBCAST_ACCELERATOR=gpu",
        "MASTER_ADDR=first",
        "OMP_NUM_THREADS=8",
    ], done.stderr


def test_lightning_takes_them_for_one_group_of_eight(monkeypatch):
    """The second process of the second machine: who it is, and where it finds the first."""
    slurm = pytest.importorskip("lightning_fabric.plugins.environments.slurm")
    values = {"JOB_ID": "123456", "JOB_NAME": "train", "NNODES": "2", "NTASKS": "8", "NTASKS_PER_NODE": "4"}
    values |= {"PROCID": "5", "LOCALID": "1", "NODEID": "1"}
    for name, value in values.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    monkeypatch.setenv("MASTER_ADDR", "first")
    monkeypatch.delenv("MASTER_PORT", raising=False)
    assert slurm.SLURMEnvironment.detect()
    place = slurm.SLURMEnvironment()
    place.validate_settings(num_devices=4, num_nodes=2)
    assert (place.world_size(), place.global_rank(), place.local_rank(), place.node_rank()) == (8, 5, 1, 1)
    assert (place.main_address, place.main_port) == ("first", 15000 + 3456)
    del os.environ["MASTER_PORT"]  # main_port set it
    monkeypatch.setenv("SLURM_NTASKS_PER_NODE", "1")
    with pytest.raises(ValueError, match="devices=4"):
        place.validate_settings(num_devices=4, num_nodes=2)
    monkeypatch.setenv("PATH", "/nowhere")  # where there is an srun, Lightning warns that it was not used
    monkeypatch.setenv("SLURM_JOB_NAME", "interactive")
    assert not slurm.SLURMEnvironment.detect(), "which is why the guide's srun names its job"
