"""The command ``perturbcast``: wires each module of ``stages/`` to the verb of its name, and nothing else.

Only the stage that is called is imported, so that a pipeline of many short steps starts fast.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import Annotated

import typer

import perturbcast
from perturbcast.errors import UsageError

# A stage is small and others run beside it: BLAS threads that wait for each other by spinning cost up to eight
# times the whole stage on a shared 2-core machine. Set before numpy is imported; the environment decides otherwise.
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

VERBS = {
    "datasets": "datasets",
    "import": "import_",
    "import-h5ad": "import_h5ad",
    "simulate": "simulate",
    "split": "split",
    "splits": "splits",
    "graph": "graph",
    "train": "train",
    "ablate": "ablate",
    "predict": "predict",
    "evaluate": "evaluate",
    "parity": "parity",
    "leaderboard": "leaderboard",
    "report": "report",
    "register": "register",
    "serve": "serve",
    "doctor": "doctor",
    "demo": "demo",
}


def build(verbs: list[str]) -> typer.Typer:
    """The command line with the named verbs."""
    app = typer.Typer(
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    app.callback()(_root)
    for verb in verbs:
        module = importlib.import_module(f"perturbcast.stages.{VERBS[verb]}")
        if isinstance(module.command, typer.Typer):
            app.add_typer(module.command, name=verb)
        else:
            app.command(verb, context_settings=getattr(module, "CONTEXT_SETTINGS", None))(module.command)
    return app


def _say_version(wanted: bool) -> None:
    if wanted:
        typer.echo(perturbcast.__version__)
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Predict how cells respond to perturbations, and know how far to trust the answer."""


def main() -> None:
    """Run one command; exit code 2 for a usage error, 1 for a failure, with one message.

    ``PERTURBCAST_TRACEBACK=1`` shows where the error came from, for reporting a defect.
    """
    called = [word for word in sys.argv[1:2] if word in VERBS]
    try:
        build(called or list(VERBS))()
    except (ValueError, OSError) as error:
        if os.environ.get("PERTURBCAST_TRACEBACK"):
            raise
        typer.echo(f"error: {error}", err=True)
        sys.exit(2 if isinstance(error, UsageError) else 1)
