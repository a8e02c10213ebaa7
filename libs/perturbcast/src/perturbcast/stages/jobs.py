"""Command ``jobs``: how far submitted jobs are."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from perturbcast.cluster import Slurm
from perturbcast.cluster.slurm import GATHER, TaskState
from perturbcast.cluster.task import record_file
from perturbcast.stages.job import JOBS, read_plan, read_submission


def command(
    job: Annotated[Path | None, typer.Argument(help="Folder of one job [default: all of them].")] = None,
) -> None:
    """A table of states: per array the tasks that wait (and why, as SLURM says), run, ended well, or failed.

    perturbcast jobs
    """
    table = Table("job", "array", "SLURM id", "tasks", "states")
    folders = [job] if job else sorted(path.parent for path in JOBS.glob("*/submitted.json"))
    for folder in folders:
        plan, ids = read_plan(folder), read_submission(folder)
        states = Slurm().states(list(ids.values()))
        for array in plan.arrays:
            counts = Counter(
                _state(folder, stage.name, states.get((ids[array.group], number)))
                for number, stage in enumerate(array.stages)
            )
            said = ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))
            table.add_row(folder.name, array.group, ids[array.group], str(len(array.stages)), said)
        if GATHER in ids:
            last = states.get((ids[GATHER], None), "no longer known to SLURM; see its log")
            table.add_row(folder.name, GATHER, ids[GATHER], "1", str(last))
    Console().print(table if table.row_count else f"No job in {JOBS}. Submit one with 'perturbcast submit'.")


def _state(job: Path, stage: str, slurm: TaskState | None) -> str:
    """What the record says; what SLURM says while there is none."""
    file = record_file(job, stage)
    if file.is_file() and (slurm is None or slurm.state not in {"PENDING", "RUNNING"}):
        code = json.loads(file.read_text())["exit_code"]
        return "ended well" if code == 0 else f"failed with {code}"
    return str(slurm or "left no record")
