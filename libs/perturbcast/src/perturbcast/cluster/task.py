"""Runs one stage command as a task of an array, and leaves a record of what it read and what it wrote."""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from perturbcast.cluster.plan import Plan, Stage
from perturbcast.stores.atomic import write_json

__all__ = ["AGAIN", "content", "head", "record_file", "run_task", "sha256_of"]

AGAIN = 75  # EX_TEMPFAIL of sysexits.h: saved itself, shall be run again
PASSED_ON = (signal.SIGUSR1, signal.SIGTERM)
ARRAY_VARIABLES = ("SLURM_JOB_ID", "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID", "SLURM_RESTART_COUNT")


def record_file(job: Path, stage: str) -> Path:
    """Where the record of a stage is kept."""
    return job / "runs" / stage.replace("/", "_") / "run.json"


def run_task(plan: Plan, stage: Stage, *, job: Path, environment: Mapping[str, str]) -> int:
    """Run a stage command in bash and write its record.

    Outputs of an earlier run are removed first, as DVC does, unless SLURM started the task again: then the command
    may resume from what it saved. Signals that ask a task to save itself are passed on to the command. Where several
    processes of a step train one model, the first keeps outputs and record; the others run the command beside it.

    Args:
        plan: what was submitted; the checkout is at its commit (see ``gather.same_checkout``).
        stage: the one to run.
        job: the job's folder.
        environment: of the task; SLURM's variables go into the record.

    Returns:
        the exit code of the command.

    Raises:
        ValueError: an input is not there.
    """
    if environment.get("SLURM_PROCID", "0") != "0":
        return _run(stage.command, environment)
    inputs = content(stage.inputs)
    absent = [path for path, digest in inputs.items() if not digest]
    if absent:
        raise ValueError(f"A task's inputs exist; {stage.name!r} finds no {', '.join(absent)}. Run what makes them.")
    if int(environment.get("SLURM_RESTART_COUNT", "0")) == 0:
        for path in map(Path, stage.outputs):
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    started = time.time()
    code = _run(stage.command, environment)
    record: dict[str, Any] = {
        "format": "perturbcast.run/1",
        "stage": stage.name,
        "command": stage.command,
        "commit": plan.commit,
        "params": plan.params,
        "inputs": inputs,
        "outputs": content(stage.outputs),
        "exit_code": code,
        "started": round(started, 3),
        "seconds": round(time.time() - started, 3),
        "host": platform.node(),
        "slurm": {name: environment[name] for name in ARRAY_VARIABLES if name in environment},
    }
    write_json(record_file(job, stage.name), record)
    return code


def _run(command: str, environment: Mapping[str, str]) -> int:
    started: list[int] = []  # the command's group, once there is one
    early: list[int] = []

    def pass_on(number: int, _: FrameType | None) -> None:
        if not started:
            early.append(number)
            return
        # SLURM signals every process of a step: the command may have ended of the same signal
        with contextlib.suppress(ProcessLookupError):
            os.killpg(started[0], number)

    # before the command starts: a signal that comes while it does would end this process and leave it without one
    before = {number: signal.signal(number, pass_on) for number in PASSED_ON}
    try:
        # bash gives its place to a simple command; another shell would stay in between and die of a signal to all
        # processes of the step, while the command behind it is still saving
        process = subprocess.Popen(["bash", "-c", command], env=dict(environment), start_new_session=True)
        started.append(process.pid)
        for number in early:
            pass_on(number, None)
        code = process.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return code if code >= 0 else 128 - code


def head() -> str:
    """The git commit that is checked out."""
    done = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(
            f"Runs are recorded with their git commit; git said: {done.stderr.strip()}. Run in the repository root."
        )
    return done.stdout.strip()


def content(paths: Sequence[str]) -> dict[str, str]:
    """Path -> ``sha256_of``."""
    return {path: sha256_of(Path(path)) for path in paths}


def sha256_of(path: Path) -> str:
    """Of a file's content, or over the names and hashes of a folder's files; empty where there is nothing."""
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    if not path.is_dir():
        return ""
    digest = hashlib.sha256()
    for file_path in sorted(p for p in path.rglob("*") if p.is_file() and "__pycache__" not in p.parts):
        digest.update(f"{file_path.relative_to(path).as_posix()}\0{sha256_of(file_path)}\n".encode())
    return digest.hexdigest()
