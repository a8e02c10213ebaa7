"""The commands that SLURM is given, and what it says about jobs; nothing here knows a stage or a model by name."""

from __future__ import annotations

import dataclasses
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from perturbcast.cluster.plan import Array
from perturbcast.cluster.site import Resources, Site
from perturbcast.errors import UsageError

__all__ = ["BATCH", "Slurm", "TaskState", "gather_command", "stage_command"]

BATCH = Path("apptainer/slurm")
GATHER = "gather"
NO_REASON = {"", "None", "(null)"}  # as SLURM says that there is none


def stage_command(array: Array, *, site: Site, job: Path, ids: Sequence[str]) -> list[str]:
    """The ``sbatch`` command of an array.

    Args:
        array: its stages.
        site: the cluster.
        job: the job's folder, which the batch script reads.
        ids: job ids of the arrays that have to end before; placeholders in a dry run.
    """
    last = len(array.stages) - 1
    at_once = f"%{site.at_once}" if site.at_once else ""
    words = ["sbatch", "--parsable", f"--job-name={array.group}", f"--array=0-{last}{at_once}"]
    words += _resources(site.resources(array.like or array.group))
    words += [f"--output={job / 'logs' / array.group}-%a.log", "--open-mode=append", f"--signal=B:USR1@{site.grace}"]
    words += ["--requeue"] if site.requeue else ["--no-requeue"]
    words += _after("afterany" if array.whatever else "afterok", ids)
    return [*words, str(BATCH / "stage.sbatch"), str(job), array.group]


def gather_command(*, site: Site, job: Path, ids: Sequence[str]) -> list[str]:
    """The ``sbatch`` command of the one job that checks and commits.

    It runs whatever became of the arrays: behind ``afterok`` it would never start after a failure, and nobody would
    be told which task failed.
    """
    words = ["sbatch", "--parsable", f"--job-name={GATHER}", *_resources(site.resources(GATHER))]
    words += [f"--output={job / 'logs' / GATHER}.log", "--open-mode=append", *_after("afterany", ids)]
    return [*words, str(BATCH / "gather.sbatch"), str(job)]


def _resources(wanted: Resources) -> list[str]:
    named = {"partition": wanted.partition, "account": wanted.account, "qos": wanted.qos, "time": wanted.time}
    named |= {"mem": wanted.memory, "constraint": wanted.constraint}
    words = [f"--{name}={value}" for name, value in named.items() if value is not None]
    words += [f"--nodes={wanted.nodes}", f"--ntasks-per-node={wanted.processes_per_node}"]
    words += [f"--cpus-per-task={wanted.cpus}"]
    return [*words, f"--gpus-per-node={wanted.gpus}"] if wanted.gpus else words


def _after(kind: str, ids: Sequence[str]) -> list[str]:
    if not ids:
        return []
    words = [f"--dependency={kind}:{':'.join(ids)}"]
    return [*words, "--kill-on-invalid-dep=yes"] if kind == "afterok" else words


@dataclasses.dataclass(frozen=True, kw_only=True)
class TaskState:
    """What SLURM says of a task.

    Attributes:
        state: ``PENDING``, ``RUNNING``, ``COMPLETED`` and so on.
        reason: why it waits, in SLURM's own words (``Dependency``, ``PartitionTimeLimit``); empty where it does not, or
            where SLURM has not looked yet.
    """

    state: str
    reason: str = ""

    def __str__(self) -> str:
        return self.state.lower() + (f" ({self.reason})" if self.reason else "")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Slurm:
    """The cluster's own commands.

    Attributes:
        timeout: seconds that one of them may take.
    """

    timeout: float = 60.0

    def check(self) -> None:
        """The commands are there.

        Raises:
            UsageError: this machine cannot submit.
        """
        if shutil.which("sbatch") is None:
            raise UsageError(
                "Jobs are submitted by SLURM's own commands; there is no 'sbatch' on the path. Submit from a login "
                "node of the cluster, or look at what would be submitted with --dry-run."
            )

    def array_limit(self) -> int | None:
        """The largest number of tasks of an array, as the cluster says; None where it does not."""
        match = re.search(r"^MaxArraySize\s*=\s*(\d+)", self._say(["scontrol", "show", "config"]), flags=re.MULTILINE)
        return int(match[1]) - 1 if match else None  # MaxArraySize is one above the largest index

    def submit(self, words: Sequence[str]) -> str:
        """Submit and return the job id.

        Raises:
            ValueError: SLURM refused; its own words are in the message.
        """
        return self._say(words).strip().partition(";")[0]

    def cancel(self, ids: Sequence[str]) -> None:
        """Take jobs back."""
        if ids:
            self._say(["scancel", *ids])

    def states(self, ids: Sequence[str]) -> dict[tuple[str, int | None], TaskState]:
        """(job id, task number or None) -> what the controller says, of what it still remembers."""
        said = self._say(
            ["squeue", "--noheader", "--array", "--states=all", "--format=%F|%K|%T|%r", f"--jobs={','.join(ids)}"]
        )
        found = {}
        for line in said.splitlines():
            if line.count("|") >= 3:
                job, task, state, reason = line.split("|", 3)
                waits = state == "PENDING" and reason not in NO_REASON
                number = int(task) if task.isdigit() else None
                found[job, number] = TaskState(state=state, reason=reason if waits else "")
        return found

    def _say(self, words: Sequence[str]) -> str:
        try:
            done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=self.timeout)
        except FileNotFoundError as error:
            raise UsageError(
                f"SLURM tells of jobs; there is no {words[0]!r} on the path. Ask on a login node of the cluster."
            ) from error
        except subprocess.TimeoutExpired as error:
            raise ValueError(
                f"SLURM answers within {self.timeout:g} s; '{' '.join(words[:2])}' did not. Try again when its "
                "controller is up (sinfo), and look with squeue whether a job was taken."
            ) from error
        if done.returncode:
            raise ValueError(
                f"SLURM refused '{' '.join(words[:2])}': {(done.stderr or done.stdout).strip()}. "
                "Mend the site file, or ask the cluster's administrators."
            )
        return done.stdout
