"""Command ``gather``: checks the records of a job and commits its outputs to DVC, or says what is wrong."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Annotated

import typer

from perturbcast.cluster import Refused, check, same_checkout
from perturbcast.stages.job import read_plan
from perturbcast.stages.submit import dvc_program


def command(
    job: Annotated[Path, typer.Argument(help="Folder of the job.")],
    finished: Annotated[
        bool, typer.Option("--finished", help="Commit the stages that ended well, although others did not.")
    ] = False,
) -> None:
    """Check every run.json of a job (commit, parameters, inputs, outputs), then 'dvc commit'.

    Nothing is committed where a stage is missing, failed, or ran on something else; each is named, and the exit code
    is 1. With --finished the others are committed all the same, so that the next 'perturbcast submit' runs only what
    is left.
    """
    plan = read_plan(job)
    same_checkout(plan)
    wrong = check(plan, job)
    good = [stage.name for stage in plan.stages if stage.name not in wrong]
    if good and (finished or not wrong):
        done = subprocess.run([dvc_program(), "commit", "--force", *good], capture_output=True, text=True, check=False)
        if done.returncode:
            raise ValueError(f"DVC keeps the outputs; 'dvc commit' said: {done.stderr.strip()[-2000:]}")
        typer.echo(f"{len(good)} stages committed; 'git add dvc.lock' keeps what they made")
    if wrong:
        findings = "\n".join(f"  {name}: {finding}" for name, finding in wrong.items())
        raise Refused(
            f"A job is committed when every stage ended well; {len(wrong)} of {len(plan.stages)} did not:\n{findings}\n"
            f"See {job / 'logs'}. 'perturbcast gather {job} --finished' keeps the {len(good)} that did."
        )
