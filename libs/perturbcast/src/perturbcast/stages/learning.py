"""A network in training under Lightning: what its options say, and what a person is told when it stops or goes on."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from perturbcast.stages.training_options import AGAIN

if TYPE_CHECKING:
    from perturbcast.training.lightning import Learner

__all__ = ["check_machine", "learning"]


def check_machine(accelerator: str, devices: int) -> None:
    """The cards that are asked for are here, and Lightning is installed.

    Raises:
        UsageError: one of them is not.
    """
    from perturbcast.training.lightning import check_cards

    check_cards(accelerator, devices)


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

    learner = Learner(folder=folder, progress=sys.stderr.isatty(), **options)
    try:
        yield learner
    except Interrupted as stopped:
        typer.echo(str(stopped), err=True)
        raise typer.Exit(AGAIN) from stopped
    for step in learner.resumed:
        typer.echo(f"{what}: went on from step {step}", err=True)
