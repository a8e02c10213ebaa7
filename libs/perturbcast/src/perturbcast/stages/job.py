"""Where submitted jobs are kept, and how their plan is read back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from perturbcast.cluster import Plan
from perturbcast.errors import UsageError
from perturbcast.stages.layout import ARTIFACTS

__all__ = ["JOBS", "read_plan", "read_submission"]

JOBS = ARTIFACTS / "jobs"


def _read(job: Path, name: str) -> dict[str, Any]:
    file = job / name
    if not file.is_file():
        known = ", ".join(sorted(path.name for path in JOBS.glob("*") if path.is_dir())) or "none"
        raise UsageError(
            f"A job is a folder that 'perturbcast submit' wrote; {job} has no {name}. Jobs in {JOBS}: {known}."
        )
    try:
        value: dict[str, Any] = json.loads(file.read_text())
    except json.JSONDecodeError as error:
        raise ValueError(
            f"A job's files are written by 'perturbcast submit' and not edited; {file} cannot be read ({error}). "
            "Submit again under another --name."
        ) from error
    return value


def read_plan(job: Path) -> Plan:
    """What was submitted.

    Raises:
        UsageError: the folder holds no job.
    """
    return Plan.from_json(_read(job, "plan.json"))


def read_submission(job: Path) -> dict[str, str]:
    """Group -> SLURM job id, ``gather`` among them.

    Raises:
        UsageError: the folder holds no job, or it was never submitted.
    """
    return {str(group): str(number) for group, number in _read(job, "submitted.json").items()}
