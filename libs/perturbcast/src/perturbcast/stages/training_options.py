"""Options of the commands that train a network, and the exit code of one that was stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

__all__ = ["AGAIN", "Accelerator", "CheckpointEvery", "Checkpoints", "Devices", "NumNodes", "Precision"]

AGAIN = 75  # EX_TEMPFAIL of sysexits.h: the same command goes on from where it stopped

Accelerator = Annotated[
    Literal["cpu", "gpu", "auto"],
    typer.Option(help="Where a network trains.", envvar="PERTURBCAST_ACCELERATOR"),
]
Devices = Annotated[
    int, typer.Option(min=1, help="Processes (cpu) or cards (gpu) per node.", envvar="PERTURBCAST_DEVICES")
]
NumNodes = Annotated[
    int, typer.Option(min=1, help="Nodes; SLURM starts one process per device.", envvar="PERTURBCAST_NUM_NODES")
]
Precision = Annotated[Literal["32-true", "bf16-mixed", "16-mixed"], typer.Option(help="Of a network.")]
CheckpointEvery = Annotated[int, typer.Option(min=0, help="Steps between checkpoints; 0: on a signal only.")]
Checkpoints = Annotated[
    Path | None, typer.Option(help="Folder of checkpoints in progress [default: .NAME.checkpoints beside --out]")
]
