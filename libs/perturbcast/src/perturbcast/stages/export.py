"""Command ``export``: pack a model directory for another server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from perturbcast import catalog
from perturbcast.errors import UsageError

FORMATS = ("torchserve",)


def command(
    model: Annotated[Path, typer.Argument(help="Model directory.")],
    out: Annotated[Path, typer.Option(help="Archive to write, NAME.mar.")],
    form: Annotated[str, typer.Option("--format", help="torchserve: a .mar with our handler.")] = "torchserve",
) -> None:
    """Pack a trained model with what answers for it, after checking it against its fingerprint.

    perturbcast export --format torchserve --out linear.mar artifacts/models/kang2018-unseen_context/linear/fold_0

    The archive runs in a TorchServe whose environment holds perturbcast; 'serve --backend torchserve' makes and serves
    it by itself.
    """
    if form not in FORMATS:
        raise UsageError(f"Formats are {', '.join(FORMATS)}; got {form!r}. Choose one of them.")
    if out.suffix != ".mar":
        raise UsageError(f"A TorchServe archive is named NAME.mar; got {out}. Name it so.")
    fingerprint = catalog.service("torchserve_archive")(model, out, name=out.stem)
    typer.echo(f"{out}: model {out.stem}, fingerprint {fingerprint}")
