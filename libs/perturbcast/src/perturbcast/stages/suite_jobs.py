"""A suite as array jobs of a SLURM cluster: a task per run, the rounds of a search one behind the other, one scorecard.

A run that fails leaves a record and its task ends well; a task that leaves none (its memory, its time limit) does not
keep the scorecard from being written, which names it.
"""

from __future__ import annotations

import shlex
from pathlib import Path

from perturbcast.cluster import Array, Plan, Site, Stage
from perturbcast.cluster.task import content, head
from perturbcast.errors import UsageError
from perturbcast.stages.job import JOBS
from perturbcast.stages.submit import launch
from perturbcast.suites import SuiteFolder, Sweep, record_of

__all__ = ["submit"]


def submit(folder: SuiteFolder, site: Site, *, dry_run: bool, track: bool) -> None:
    """Submit what is left of a suite, or print it.

    Raises:
        UsageError: this machine cannot submit, the image is absent, an array is too large, or a run would be several
            processes.
        ValueError: a file differs from the commit, or SLURM refused.
    """
    wanted = site.resources("runs")
    if wanted.nodes * wanted.processes_per_node > 1:
        raise UsageError(
            f"A run of a suite is one process; the site file asks for {wanted.nodes} x {wanted.processes_per_node} "
            "under stages: runs. Give it one GPU, or processes: 1; 'perturbcast submit train' takes several."
        )
    arrays: list[Array] = []
    for number in range(folder.n_rounds):
        before = tuple(array.group for array in arrays[-1:])
        if folder.round(number) is None:
            arrays.append(_array(folder, f"draw_{number}", [f"draw --round {number}"], after=before, like="draw"))
            before = (arrays[-1].group,)
            tasks = list(range(_size(folder, number)))
        else:
            tasks = [place for place, run in enumerate(folder.runs(number)) if record_of(run) is None]
        words = [f"task --round {number} --number {task}" for task in tasks]
        if words:
            arrays.append(_array(folder, f"runs_{number}", words, after=before, like="runs"))
    end = f"scorecard {'--track' if track else '--no-track'}"
    arrays.append(_array(folder, "scorecard", [end], after=tuple(a.group for a in arrays[-1:]), like="scorecard"))
    params = content(["params.yaml"])["params.yaml"]
    plan = Plan(commit=head(), params=params, arrays=tuple(arrays))
    launch(plan, site, _unused(f"{folder.kind}-{folder.path.name}"), dry_run=dry_run, gather=False)


def _array(folder: SuiteFolder, group: str, words: list[str], *, after: tuple[str, ...], like: str) -> Array:
    stages = tuple(
        Stage(
            name=f"{group}@{place}",
            command=f"perturbcast {folder.kind} {verb} --out {shlex.quote(str(folder.path))}",
            inputs=(str(folder.path / "suite.json"),),
            outputs=(),
            after=(),
        )
        for place, verb in enumerate(words)
    )
    return Array(group=group, stages=stages, after=after, whatever=True, like=like)


def _size(folder: SuiteFolder, number: int) -> int:
    """Runs of a round that is not drawn yet."""
    section = folder.section
    assert isinstance(section, Sweep)
    assert section.trials is not None
    trials = min(section.parallel, section.trials - number * section.parallel)
    return trials * len(section.models) * len(section.splits) * len(section.seeds)


def _unused(name: str) -> Path:
    """A job folder that no submission has: what is left of a suite is submitted again after a failure."""
    number = 1
    while (JOBS / f"{name}-{number}" / "submitted.json").exists():
        number += 1
    return JOBS / f"{name}-{number}"
