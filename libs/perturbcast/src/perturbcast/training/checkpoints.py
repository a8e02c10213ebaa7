"""Checkpoints of a run in progress: whole or not there, and only for the run that wrote them.

A checkpoint is what Lightning keeps (weights, optimiser, schedule, step, position of the data stream) and ours: the
signature of the run, and the best weights and score so far. Draws of a step are a function of seed and step, so that
no generator's state has to be kept. It is written beside, flushed to disk and renamed; it holds tensors and plain
values and is read with ``weights_only``, so that reading one runs no code.
"""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO

from perturbcast.nn.descent import Task
from perturbcast.nn.stream import digest_of
from perturbcast.schema import canonical_hash
from perturbcast.stores.atomic import replacing

__all__ = ["OURS", "WholeCheckpoints", "read", "signature"]

OURS = "perturbcast"


class WholeCheckpoints(TorchCheckpointIO):
    """Writes a checkpoint beside and renames it: a kill or a full disk leaves the one before."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write whole."""
        with replacing(Path(path)) as beside, beside.open("wb") as file:
            torch.save(checkpoint, file)
            file.flush()
            os.fsync(file.fileno())


def signature(task: Task) -> dict[str, str]:
    """What a checkpoint has to agree with: config, seed, the rows that are fitted, and what the network holds fixed.

    The last are its buffers, edges of graphs among them: a checkpoint would bring its own.
    """
    return {
        "config": canonical_hash(dict(task.config)),
        "seed": str(task.seed),
        "rows": task.rows.digest(),
        "set of graphs or gene features": digest_of(dict(task.network.named_buffers())),
    }


def read(path: Path, task: Task) -> dict[str, Any]:
    """A checkpoint of this very run.

    Raises:
        ValueError: the file cannot be read, or was written by a run with another config, seed or data.
    """
    try:
        found: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        wrote = dict(found[OURS]["signature"])
    except (RuntimeError, pickle.UnpicklingError, KeyError, TypeError, EOFError) as error:
        raise ValueError(
            f"A checkpoint is a file that 'perturbcast train' wrote; {path} cannot be read ({type(error).__name__}). "
            "Remove it: training then starts from the beginning."
        ) from error
    differs = [name for name, value in signature(task).items() if wrote.get(name) != value]
    if differs:
        raise ValueError(
            f"A checkpoint continues the run that wrote it; {path} was written with another {' and '.join(differs)}. "
            "Remove it to start anew, or give the parameters and data that it was written with."
        )
    return found
