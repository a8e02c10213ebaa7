"""A network in training under Lightning: what its options say, and what a person is told when it stops or goes on."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import typer

from perturbcast.stages.resources import is_first_process
from perturbcast.stages.training_options import AGAIN

if TYPE_CHECKING:
    from perturbcast.training.lightning import Learner

__all__ = ["again_on_signal", "check_machine", "learning"]


def check_machine(accelerator: str, devices: int) -> None:
    """The cards that are asked for are here, and Lightning is installed.

    Raises:
        UsageError: one of them is not.
    """
    from perturbcast.training.lightning import check_cards

    check_cards(accelerator, devices)


@contextlib.contextmanager
def again_on_signal() -> Iterator[None]:
    """Around all that trains: a signal before, between or after trainings also ends with exit code 75.

    What has been trained is in its checkpoint, and what was written is whole: the same command goes on. Without this a
    task that is told to save itself while it reads its data would die of the signal and not be run again.
    """

    def stop(_number: int, _frame: FrameType | None) -> None:
        typer.echo("Stopped by a signal outside of a training. The same command goes on from there.", err=True)
        raise typer.Exit(AGAIN)

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGUSR1)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def learning(what: str, *, folder: Path, **options: Any) -> Iterator[Learner]:
    """What trains a network in the block.

    A signal ends the command with exit code 75 after the checkpoint is saved; what went on from one says from where.

    Args:
        what: is trained, for whoever reads along.
        folder: of its checkpoints.
        options: of ``training_options``, as ``Learner`` takes them.
    """
    from perturbcast.training.lightning import Interrupted, Learner  # here, so that --help does without torch

    # where there is nothing left to train no trainer says who is first, and all would write the same files
    learner = Learner(folder=folder, progress=sys.stderr.isatty(), is_first=is_first_process(), **options)
    try:
        yield learner
    except Interrupted as stopped:
        typer.echo(str(stopped), err=True)
        raise typer.Exit(AGAIN) from stopped
    for step in learner.resumed:
        typer.echo(f"{what}: went on from step {step}", err=True)
