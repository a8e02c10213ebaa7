"""Command ``task``: what a batch script runs, one stage of a submitted job."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from perturbcast.cluster import run_task, same_checkout
from perturbcast.errors import UsageError
from perturbcast.stages.job import read_plan


def command(
    job: Annotated[Path, typer.Argument(help="Folder of the job.")],
    group: Annotated[str, typer.Option(help="Array: the name of its stages before '@'.")],
    number: Annotated[int, typer.Option(help="Task number in the array.")],
) -> None:
    """Run one stage command of a submitted job and leave its run.json; exits as the command does.

    The batch scripts of apptainer/slurm call it.
    """
    plan = read_plan(job)
    stages = plan.array(group).stages
    if not 0 <= number < len(stages):
        raise UsageError(f"Tasks of {group!r} are numbered 0 to {len(stages) - 1}; there is no {number}.")
    same_checkout(plan)
    raise typer.Exit(run_task(plan, stages[number], job=job, environment=os.environ))
