"""The verbs that ``suite`` and ``sweep`` share: run, status, scorecard, and what a cluster's tasks call."""

from __future__ import annotations

import contextlib
import fcntl
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from perturbcast.errors import UsageError
from perturbcast.stages.layout import ARTIFACTS
from perturbcast.stages.params import DEFAULT
from perturbcast.stages.suite_finish import conclude, show
from perturbcast.stages.suite_pool import run_here
from perturbcast.stages.suite_run import AGAIN, perform
from perturbcast.stages.suite_start import advance, start
from perturbcast.suites import SuiteFolder, failure, forget, record_of

__all__ = ["commands_of"]

ABOUT = {
    "suite": "Named models x splits x seeds from a section of params.yaml, compared on validation.",
    "sweep": "A search over parameters of models (grid, random, TPE), selected on validation over seeds and folds.",
}
Out = Annotated[Path | None, typer.Option(help="Its folder [default: artifacts/suites/NAME or artifacts/sweeps/NAME]")]
Folder = Annotated[Path, typer.Option(help="Its folder.")]
Track = Annotated[bool, typer.Option("--track/--no-track", help="Log every row to MLflow.")]


def commands_of(kind: str) -> typer.Typer:
    """The verbs of ``suite`` or ``sweep``."""
    app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help=_help(kind))

    @app.command()
    def run(
        name: Annotated[str, typer.Argument(help="Of its section in the parameter file.")],
        params: Annotated[Path, typer.Option(help="params.yaml, or a file in the same form.")] = DEFAULT,
        out: Out = None,
        jobs: Annotated[int, typer.Option(min=1, help="Runs at a time on this machine.")] = 1,
        retry: Annotated[bool, typer.Option("--retry", help="Run again what failed before.")] = False,
        site: Annotated[Path | None, typer.Option(help="Site file: submit to SLURM instead of running here.")] = None,
        dry_run: Annotated[bool, typer.Option("--dry-run", help="With --site: print, submit nothing.")] = False,
        track: Track = True,
    ) -> None:
        """Run what has not run yet, choose on validation, open test for the finalists; exit 1 if a run failed.

        Called again it goes on where it was killed, and ends in the same leaderboard. With --site every run is a task
        of an array job.
        """
        if dry_run and site is None:
            raise UsageError("A dry run prints what SLURM would be given; name the cluster with --site.")
        place = None
        if site is not None:
            from perturbcast.stages.submit import read_site

            place = read_site(site)
        folder = start(kind, name, file=params, out=out)
        if retry:
            for one in folder.runs():
                if record_of(one) is not None and failure(one) is not None:
                    forget(one)
        if place is not None:
            from perturbcast.stages.suite_jobs import submit

            submit(folder, place, dry_run=dry_run, track=track)
            return
        with _one_driver(folder):
            for number in range(folder.n_rounds):
                advance(folder, number)
                if run_here(folder, folder.runs(number), jobs=jobs):
                    raise typer.Exit(AGAIN)
            _end(folder, track=track)

    @app.command()
    def status(
        name: Annotated[str, typer.Argument(help="Of its section.")] = "",
        out: Out = None,
    ) -> None:
        """How far it is: runs per split and state."""
        folder = SuiteFolder.open(_place(kind, name, out))
        table = Table("split", "runs", "done", "failed", "to run")
        for split in folder.splits:
            runs = [one for one in folder.runs() if one.split == split]
            states = Counter((record_of(one) or {}).get("state", "") for one in runs)
            table.add_row(split, str(len(runs)), str(states["done"]), str(states["failed"]), str(states[""]))
        Console().print(table)
        drawn = sum(folder.round(number) is not None for number in range(folder.n_rounds))
        typer.echo(f"{drawn} of {folder.n_rounds} rounds of configurations drawn")

    @app.command()
    def scorecard(
        name: Annotated[str, typer.Argument(help="Of its section.")] = "",
        out: Out = None,
        track: Track = True,
    ) -> None:
        """Choose on validation, open test for the finalists, write the tables; exit 1 if a run failed."""
        _end(SuiteFolder.open(_place(kind, name, out)), track=track)

    @app.command(hidden=True)
    def task(
        out: Folder,
        number: Annotated[int, typer.Option(help="Place of the run in its round.")],
        of_round: Annotated[int, typer.Option("--round")] = 0,
    ) -> None:
        """One run, as a task of an array; exits as training does when a signal interrupts it."""
        folder = SuiteFolder.open(out)
        runs = folder.runs(of_round)
        if number >= len(runs):  # two draws of a search were the same
            typer.echo(f"round {of_round} has {len(runs)} runs: nothing to do")
            return
        code = perform(folder, runs[number])
        typer.echo(f"{runs[number].label}: {'interrupted' if code else failure(runs[number]) or 'done'}")
        raise typer.Exit(code)

    @app.command(hidden=True)
    def draw(out: Folder, of_round: Annotated[int, typer.Option("--round")]) -> None:
        """Draw the configurations of a round from the scores of those before."""
        advance(SuiteFolder.open(out), of_round)

    return app


def _help(kind: str) -> str:
    return f"""{ABOUT[kind]}

    perturbcast {kind} run NAME

    The folder artifacts/{kind}s/NAME holds a directory per run with its log, models, scores and record, then
    leaderboard.json, scorecard.json and scorecard.csv. The guide docs/guides/sweeps.md shows the sections.
    """


def _place(kind: str, name: str, out: Path | None) -> Path:
    if bool(name) == (out is not None):
        raise UsageError(f"A {kind} is given by NAME, or by its folder with --out.")
    return out or ARTIFACTS / f"{kind}s" / name


def _end(folder: SuiteFolder, *, track: bool) -> None:
    card, board = conclude(folder, track=track)
    show(folder, card, board)
    failed = [run.label for run in folder.runs() if failure(run)]
    if failed:
        typer.echo(
            f"error: {len(failed)} of {len(card.rows)} runs failed: {', '.join(failed[:5])}. The reasons are in "
            f"{folder.path / 'scorecard.json'}; '--retry' runs them again.",
            err=True,
        )
        raise typer.Exit(1)


@contextlib.contextmanager
def _one_driver(folder: SuiteFolder) -> Iterator[None]:
    """Two processes that drive one suite would draw its rounds twice."""
    with (folder.path / "lock").open("w") as lock:
        try:
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # unlike flock, no child of a killed driver keeps it
        except BlockingIOError as error:
            raise ValueError(
                f"One process drives a {folder.kind}; another one is at {folder.path}. Wait for it, or end it."
            ) from error
        yield
