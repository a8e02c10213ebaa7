"""Command ``submit``: the stages that have to run, as array jobs of a SLURM cluster, and one job that gathers them."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import pydantic
import typer
import yaml

from perturbcast.cluster import Plan, Site, Slurm, Stage, gather_command, make_plan, needed, stage_command, unmade
from perturbcast.cluster.slurm import BATCH, GATHER
from perturbcast.cluster.task import content, head
from perturbcast.errors import UsageError
from perturbcast.stages.job import JOBS
from perturbcast.stages.params import in_words
from perturbcast.stores.atomic import write_bytes, write_json

SITE = Path("site.yaml")
PROGRAMS = Path(sys.executable).parent


def command(
    stages: Annotated[
        list[str] | None, typer.Argument(help="Stages, or names before '@', with what they need [default: all].")
    ] = None,
    site: Annotated[Path, typer.Option(help="What is particular to the cluster; see site.example.yaml.")] = SITE,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print everything, submit nothing.")] = False,
    name: Annotated[str | None, typer.Option(help="Folder name of the job [default: from commit and plan].")] = None,
) -> None:
    """Submit what 'dvc repro' would run: an array per stage, each behind those it needs, and a job that gathers.

        perturbcast submit --site site.yaml --dry-run
        perturbcast submit train evaluate --site site.yaml

    Every task runs one stage command (in the site's image, where it names one) and leaves a run.json; the last job
    checks them all and calls 'dvc commit'. 'perturbcast jobs' shows how far they are.
    """
    place = read_site(site)
    plan = _plan(stages or [])
    if not plan.arrays:
        typer.echo("Nothing to submit: every stage is up to date.")
        return
    launch(plan, place, JOBS / (name or plan.name), dry_run=dry_run, gather=True)


def launch(plan: Plan, site: Site, job: Path, *, dry_run: bool, gather: bool) -> None:
    """Submit a plan, or print everything that would be submitted.

    Args:
        plan: the arrays.
        site: the cluster.
        job: folder for plan, logs and records.
        dry_run: print only.
        gather: a last job checks every record and commits to DVC.

    Raises:
        UsageError: this machine cannot submit, the image is absent, or an array is too large.
        ValueError: the job was submitted before, a file differs from the commit, or SLURM refused.
    """
    if dry_run:
        _print(plan, site, job, gather=gather)
        return
    slurm = Slurm()
    slurm.check()
    _check(plan, site, slurm, job)
    _clean(plan.commit)
    write_json(job / "plan.json", plan.to_json())
    write_bytes(job / "site.sh", site.shell(programs=PROGRAMS).encode())
    (job / "logs").mkdir(exist_ok=True)
    ids = _submit(plan, site, slurm, job, gather=gather)
    write_json(job / "submitted.json", ids)
    for group, number in ids.items():
        typer.echo(f"{number}  {group}")
    typer.echo(f"see: perturbcast jobs {job}")


def read_site(path: Path) -> Site:
    """Read and check a site file.

    Raises:
        UsageError: it is absent, or a field is unknown or of the wrong form.
    """
    if not path.is_file():
        raise UsageError(
            f"A site file says what is particular to the cluster; {path} does not exist. "
            "Copy apptainer/slurm/site.example.yaml and change it."
        )
    try:
        return Site.model_validate(yaml.safe_load(path.read_text()) or {})
    except (pydantic.ValidationError, yaml.YAMLError) as error:
        raise UsageError(
            f"{path} does not describe a site: {in_words(error)}. See apptainer/slurm/site.example.yaml."
        ) from error


def _plan(targets: list[str]) -> Plan:
    stages = [Stage.from_json(value) for value in _pipeline()]
    present = [path for stage in stages for path in stage.outputs if Path(path).exists()]
    runs = needed(stages, changed=_changed(), present=present, targets=targets)
    _check_inputs(unmade(runs, stages))
    return make_plan(runs, commit=head(), params=content(["params.yaml"])["params.yaml"])


def _check_inputs(read: Mapping[str, list[str]]) -> None:
    for stage, paths in read.items():
        absent = [path for path in paths if not Path(path).exists()]
        if absent:
            raise UsageError(
                f"A stage reads what another makes, or files that are there; {stage!r} reads {', '.join(absent)}, "
                "which no stage makes. A split that params.yaml names under run or oracle has to be under splits, and "
                "the dataset of a split under datasets: add it there, or take it out here."
            )


def _pipeline() -> list[dict[str, Any]]:
    absent = [str(path) for path in (Path("dvc.yaml"), BATCH / "list_stages.py") if not path.is_file()]
    if absent:
        raise UsageError(
            f"The pipeline that is submitted is the repository's; there is no {' and no '.join(absent)} here. Run in "
            "the repository root."
        )
    value: list[dict[str, Any]] = json.loads(_dvc([_dvc_python(), str(BATCH / "list_stages.py")]))
    return value


def _changed() -> list[str]:
    # 'dvc repro --dry' would say the same, but it stops at the first input that is not there yet
    return list(json.loads(_dvc([dvc_program(), "status", "--json"])))


def dvc_program() -> str:
    """The program ``dvc``, of this environment or on the path.

    Raises:
        UsageError: there is none.
    """
    program = shutil.which("dvc", path=f"{PROGRAMS}:{os.environ.get('PATH', '')}")
    if program is None:
        raise UsageError("The pipeline is one of DVC; there is no 'dvc' on the path. Install perturbcast[pipeline].")
    return program


def _dvc_python() -> str:
    """The Python that DVC runs in: the interpreter that its program names."""
    first = Path(dvc_program()).read_text(errors="replace").partition("\n")[0]
    return first.removeprefix("#!").strip() if first.startswith("#!") and "env " not in first else sys.executable


def _dvc(words: list[str]) -> str:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(f"DVC reads the pipeline; '{shlex.join(words[1:])}' said: {done.stderr.strip()[-2000:]}")
    return done.stdout


def _check(plan: Plan, site: Site, slurm: Slurm, job: Path) -> None:
    """What can be known before anything is submitted.

    Raises:
        UsageError: the image does not exist, or an array has more tasks than the cluster takes.
        ValueError: the job was submitted before.
    """
    if (job / "submitted.json").exists():
        raise ValueError(
            f"A job is submitted once; {job} was. See 'perturbcast jobs {job}', or give this one another --name."
        )
    if site.image is not None and not Path(site.image).is_file():
        raise UsageError(
            f"The site's image holds perturbcast; {site.image} does not exist. Build it with 'make images', or leave "
            "'image' out to run this environment."
        )
    limit = slurm.array_limit()
    for array in plan.arrays:
        if limit is not None and len(array.stages) > limit:
            raise UsageError(
                f"An array has at most {limit} tasks on this cluster (MaxArraySize); {array.group!r} has "
                f"{len(array.stages)}. Submit fewer splits or models at a time: name stages, or shorten run in "
                "params.yaml."
            )


def _clean(commit: str) -> None:
    changed = subprocess.run(
        ["git", "status", "--porcelain", "--untracked-files=no"], capture_output=True, text=True, check=True
    ).stdout.split("\n")
    changed = [line[3:] for line in changed if line]
    if changed:
        raise ValueError(
            f"A job runs a git commit, so that its results can be traced; {', '.join(changed[:5])} differ from "
            f"{commit[:12]}. Commit them first."
        )


def _submit(plan: Plan, site: Site, slurm: Slurm, job: Path, *, gather: bool) -> dict[str, str]:
    ids: dict[str, str] = {}
    try:
        for array in plan.arrays:
            before = [ids[group] for group in array.after]
            ids[array.group] = slurm.submit(stage_command(array, site=site, job=job, ids=before))
        if gather:
            ids[GATHER] = slurm.submit(gather_command(site=site, job=job, ids=list(ids.values())))
    except ValueError:
        slurm.cancel(list(ids.values()))  # all of a job or nothing
        raise
    return ids


def _print(plan: Plan, site: Site, job: Path, *, gather: bool) -> None:
    """Everything that would be submitted; job ids that SLURM would give are written as <group>."""
    for array in plan.arrays:
        typer.echo(shlex.join(stage_command(array, site=site, job=job, ids=[f"<{group}>" for group in array.after])))
        for number, stage in enumerate(array.stages):
            typer.echo(f"  {number:4d}  {stage.name}: {stage.command}")
    if gather:
        ids = [f"<{array.group}>" for array in plan.arrays]
        typer.echo(shlex.join(gather_command(site=site, job=job, ids=ids)))
    typer.echo(f"{job}/site.sh:\n{site.shell(programs=PROGRAMS)}", nl=False)
