"""Options of the commands that train a network, and the exit code of one that was stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["AGAIN", "Accelerator", "CheckpointEvery", "Checkpoints", "Devices", "NumNodes", "Precision"]

AGAIN = 75  # EX_TEMPFAIL of sysexits.h: the same command goes on from where it stopped

Accelerator = Annotated[str, typer.Option(help="Where a network trains: cpu, gpu or auto.")]
Devices = Annotated[int, typer.Option(help="Processes (cpu) or cards (gpu) per node.")]
NumNodes = Annotated[int, typer.Option(help="Nodes; start one process per device by torchrun or SLURM.")]
Precision = Annotated[str, typer.Option(help="Of a network: 32-true, bf16-mixed or 16-mixed.")]
CheckpointEvery = Annotated[int, typer.Option(help="Steps between checkpoints; 0: on a signal only.")]
Checkpoints = Annotated[
    Path | None, typer.Option(help="Folder of checkpoints in progress [default: .NAME.checkpoints beside --out]")
]
