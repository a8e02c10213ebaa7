"""One run of a suite: the stages train, predict and evaluate by their own commands, with a record of how it ended."""

from __future__ import annotations

import contextlib
import fcntl
import importlib
import json
import os
import platform
import shlex
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from types import FrameType, ModuleType
from typing import Any

import typer

from perturbcast import catalog, splits
from perturbcast.stages.commit import commit
from perturbcast.stages.layout import split_files
from perturbcast.stages.training_options import AGAIN
from perturbcast.stores.atomic import write_json
from perturbcast.suites import Run, SuiteFolder, record_of
from perturbcast.suites.ledger import DONE, FAILED, taken, write_record

__all__ = ["AGAIN", "call", "commands", "module_of", "open_test", "perform", "provenance"]

VERSIONS = ("perturbcast", "numpy", "scipy", "pandas")
SLURM = ("SLURM_JOB_ID", "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID", "SLURM_RESTART_COUNT")


class OverBudgetError(Exception):
    """The run used up its wall clock."""


def commands(folder: SuiteFolder, run: Run) -> list[list[str]]:
    """What a run does: train, then predict and score the validation part; test is not looked at."""
    split, data = folder.split(run.split), _data(folder, run)
    training = folder.section.training
    train = ["train", "--split", split, "--model", run.trial.name, "--params", folder.params, "--seed", run.seed]
    train += ["--out", run.model, *data]
    if getattr(catalog.load("models", run.trial.plugin), "BY_GRADIENT", False):
        train += ["--precision", training.precision, "--checkpoint-every", training.checkpoint_every]
        train += [] if training.accelerator is None else ["--accelerator", training.accelerator]
    for name in training.graphs:
        train += ["--graph", f"artifacts/graphs/{run.split}/{name}"]
    return [[str(word) for word in train], *_scored(folder, run, "validation", bounds=folder.section.bounds)]


def _scored(folder: SuiteFolder, run: Run, part: str, *, bounds: bool) -> list[list[str]]:
    split, data = folder.split(run.split), _data(folder, run)
    predict = ["predict", "--split", split, "--model", run.model, "--part", part, "--out", run.predictions, *data]
    evaluate = ["evaluate", "--split", split, "--prediction", run.predictions, "--part", part, "--out", run.directory]
    evaluate += ["--panel", folder.section.panel, "--bounds" if bounds else "--no-bounds", *data]
    return [[str(word) for word in predict], [str(word) for word in evaluate]]


def _data(folder: SuiteFolder, run: Run) -> list[str]:
    """Where the dataset lies, if the section says so."""
    if not folder.section.datasets:
        return []
    dataset = splits.load(split_files(folder.split(run.split))[0]).dataset
    file = folder.section.datasets.get(dataset)
    return [] if file is None else ["--data", file]


def perform(folder: SuiteFolder, run: Run) -> int:
    """Run it, unless it ended before; what it says goes to its ``log.txt``.

    Returns:
        0 where there is a record now, of success or failure; 75 ('again') where a signal interrupted the training.
    """
    with _alone(run):
        if record_of(run) is not None:
            return 0
        spent_file = run.directory / "spent.json"
        spent = json.loads(spent_file.read_text()) if spent_file.is_file() else {}
        words = commands(folder, run)
        state, reason = DONE, ""
        with taken(spent) as used, run.log.open("a") as log, _into(log):
            try:
                with _limited(folder.section.budget.seconds, spent=spent.get("wall_s", 0.0)):
                    for command in words:
                        print(f"$ perturbcast {shlex.join(command)}", flush=True)  # noqa: T201  (into the log)
                        code = call(command)
                        if code == AGAIN:
                            state = ""
                            break
                        if code:
                            state, reason = FAILED, f"'perturbcast {command[0]}' ended with exit code {code}"
                            break
            except Exception as error:  # noqa: BLE001  whatever ends a run is its reason; the suite ends non-zero
                traceback.print_exc(file=log)
                state, reason = FAILED, f"{type(error).__name__}: {error}"
        if not state:
            write_json(spent_file, {name: used[name] for name in ("wall_s", "cpu_s")})
            return AGAIN
        write_record(run, state=state, reason=reason, **used, **provenance(run, words))
        spent_file.unlink(missing_ok=True)
        return 0


def call(words: Sequence[str]) -> int:
    """A command of perturbcast in this process; its exit code."""
    module = module_of(words[0])
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command(words[0], context_settings=getattr(module, "CONTEXT_SETTINGS", None))(module.command)
    return int(typer.main.get_command(app).main(args=list(words[1:]), standalone_mode=False) or 0)


def module_of(verb: str) -> ModuleType:
    """The module of a verb, whose name is the same."""
    return importlib.import_module(f"perturbcast.stages.{verb}")


@contextlib.contextmanager
def _alone(run: Run) -> Iterator[None]:
    """One process at a time: after a kill, a child of the killed one may still be at it."""
    run.directory.mkdir(parents=True, exist_ok=True)
    with (run.directory / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _into(log: Any) -> Iterator[None]:
    with contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
        yield


@contextlib.contextmanager
def _limited(seconds: float | None, *, spent: float) -> Iterator[None]:
    """Raises in the block when the wall clock of the run is used up."""
    if seconds is None:
        yield
        return

    def over(_number: int, _frame: FrameType | None) -> None:
        raise OverBudgetError(f"used up its budget of {seconds:g} s")

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, max(seconds - spent, 0.001))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def provenance(run: Run, words: Sequence[Sequence[str]]) -> dict[str, Any]:
    """What a record says of where its numbers come from: commands, commit, versions, hashes, machine."""
    found: dict[str, Any] = {
        "commit": commit(),
        "versions": {package: version(package) for package in VERSIONS} | {"python": platform.python_version()},
        "commands": [shlex.join(["perturbcast", *command]) for command in words],
        "command_line": shlex.join(sys.argv),
        "host": platform.node(),
        "steps": run.trial.parameters.get("steps"),
        "slurm": {name: os.environ[name] for name in SLURM if name in os.environ},
    }
    file = run.evaluation("validation") / "provenance.json"
    if file.is_file():
        scored = json.loads(file.read_text())
        found |= {"dataset": scored["dataset"], "dataset_sha256": scored["dataset_hash"]}
        found["split_sha256"] = [fold["split_sha256"] for fold in scored["folds"]]
        found["model_fingerprints"] = [fold["model_fingerprint"] for fold in scored["folds"]]
    return found


def open_test(folder: SuiteFolder, run: Run) -> None:
    """Predict and score the test part of a finalist, once.

    Raises:
        ValueError: a stage ended with an exit code.
    """
    if (run.evaluation("test") / "provenance.json").is_file():
        return
    with run.log.open("a") as log, _into(log):
        for command in _scored(folder, run, "test", bounds=True):
            code = call(command)
            if code:
                raise ValueError(
                    f"'perturbcast {command[0]}' of {run.label} ended with exit code {code}. See {log.name}."
                )
