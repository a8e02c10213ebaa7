"""A real SLURM on this machine: one node, two partitions, the upper of which preempts the lower.

munged, slurmctld and slurmd run from a scratch folder on loopback ports for the time of the tests and leave nothing
behind. Root is needed, and Debian's packages slurm-wlm and munge ('make test-cluster' installs them).
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest
import yaml
from tests.images.conftest import CACHE

from perturbcast import splits
from perturbcast.stores import h5ad

NODE = "node1"
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "scontrol", "squeue")


def _ports(n):
    held = [socket.socket() for _ in range(n)]
    for one in held:
        one.bind(("127.0.0.1", 0))
    numbers = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return numbers


CONF = """
ClusterName=scratch
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={daemon}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={munge}/socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
MaxArraySize=40
MinJobAge=600
SchedulerParameters=sched_interval=1,sched_min_interval=100000,bf_interval=1,defer_batch
JobRequeue=1
KillWait=3
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=low Nodes={node} Default=YES MaxTime=60 PriorityTier=1 PreemptMode=REQUEUE GraceTime=20 State=UP
PartitionName=high Nodes={node} MaxTime=60 PriorityTier=10 PreemptMode=OFF State=UP
"""


@pytest.fixture(scope="session")
def slurm(tmp_path_factory):
    """Environment of a running SLURM; stopped at the end."""
    absent = [name for name in PROGRAMS if shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin") is None]
    if absent or os.geteuid() != 0:
        pytest.skip(f"a real SLURM needs root and {', '.join(absent) or 'nothing else'}: make test-cluster installs it")
    folder = tmp_path_factory.mktemp("slurm")
    folder.chmod(0o755)
    for parent in folder.parents:
        if parent == Path("/tmp"):
            break
        parent.chmod(parent.stat().st_mode | 0o055)
    for name in ("state", "spool"):
        (folder / name).mkdir()
    munge = Path("/run") / f"perturbcast-munge-{os.getpid()}"
    munge.mkdir(mode=0o755)
    key = munge / "key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    for path in (munge, key):
        shutil.chown(path, "munge", "munge")
    controller, daemon = _ports(2)
    conf = folder / "slurm.conf"
    host = socket.gethostname()
    values = {"host": host, "controller": controller, "daemon": daemon, "munge": munge, "folder": folder, "node": NODE}
    conf.write_text(CONF.format(**values))
    environment = {**os.environ, "SLURM_CONF": str(conf), "PATH": f"{os.environ['PATH']}:/usr/sbin"}
    files = [f"--{name}={munge / name}" for name in ("socket", "pid-file", "log-file", "seed-file", "key-file")]
    files[-1] = f"--key-file={key}"
    words = [
        ["runuser", "-u", "munge", "--", "munged", "--foreground", *files],
        ["slurmctld", "-D", "-f", str(conf)],
        ["slurmd", "-D", "-f", str(conf), "-N", NODE],
    ]
    daemons = []
    try:
        for command in words:
            with (folder / f"{Path(command[0]).name}.out").open("w") as log:
                daemons.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log))
            time.sleep(0.5)
        _wait_for_node(environment, folder)
        yield environment
    finally:
        for process in reversed(daemons):
            process.send_signal(signal.SIGTERM)
        for process in daemons:
            process.wait(timeout=30)
        shutil.rmtree(munge, ignore_errors=True)


def _wait_for_node(environment, folder):
    for _ in range(60):
        done = subprocess.run(["sinfo", "-h", "-o", "%T"], env=environment, capture_output=True, text=True, check=False)
        if "idle" in done.stdout:
            return
        time.sleep(0.5)
    logs = "\n".join(path.read_text()[-1500:] for path in sorted(folder.glob("*.log")) + sorted(folder.glob("*.out")))
    pytest.fail(f"the node did not come up: {done.stdout}{done.stderr}\n{logs}")


@pytest.fixture(scope="session")
def train_image(root):
    """An image that trains, built by 'make test-images' or 'make images', and a path on which ``apptainer`` is.

    PERTURBCAST_IMAGES names another folder that holds train.sif. The image runs the code that it was built with.
    """
    image = Path(os.environ.get("PERTURBCAST_IMAGES", root / "artifacts/images")).resolve() / "train.sif"
    if not image.is_file():
        pytest.skip(f"there is no {image}: 'make test-images' builds it, or PERTURBCAST_IMAGES names its folder")
    path = f"{os.environ['PATH']}:{CACHE / 'apptainer/bin'}"
    if shutil.which("apptainer", path=path) is None:
        pytest.skip("apptainer is absent: 'make test-images' makes it as root")
    if subprocess.run(["unshare", "--user", "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine gives no user namespaces")
    return image, path


def read_submitted(job):
    """Group -> SLURM job id of a submitted job."""
    return json.loads((job / "submitted.json").read_text())


@pytest.fixture
def make_training(root, slurm, make_data, tmp_path):
    """A checkout whose pipeline is one stage 'train' of the given commands, on a small dataset with one fold."""
    from tests.cluster.test_pipeline_on_slurm import commit, run

    def make(commands, *, site):
        folder = tmp_path / "main"
        shutil.copytree(root / "apptainer/slurm", folder / "apptainer/slurm")
        data = make_data(contexts=("a", "b", "c", "d"), perturbations=[f"G{i}" for i in range(6)], genes=12)
        h5ad.write(data, folder / "made.h5ad")
        splits.freeze(splits.make(data, "in_distribution", seed=1)[0], folder / "split/fold_0.json")
        stages = {"train": {"foreach": commands, "do": {"cmd": "${item}", "outs": ["out/${key}"]}}}
        (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
        (folder / "site.yaml").write_text(
            yaml.safe_dump({**site, "defaults": {"partition": "low", "time": "5", **site.get("defaults", {})}})
        )
        (folder / ".gitignore").write_text("/artifacts/\n/out/\n*.log\n*.h5ad\n")
        run("git", "init", "-q", cwd=folder, env=slurm)
        run("dvc", "init", "-q", cwd=folder, env=slurm)
        commit(folder, slurm, "Start")
        return folder

    return make
