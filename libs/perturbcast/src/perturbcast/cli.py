"""The command ``perturbcast``: wires each module of ``stages/`` to the verb of its name, and nothing else.

Only the stage that is called is imported, so that a pipeline of many short steps starts fast.
"""

from __future__ import annotations

import gc
import importlib
import os
import sys
from typing import Annotated

import typer

import perturbcast
from perturbcast.errors import UsageError
from perturbcast.postponed import postpone

# A stage is small and others run beside it: threads that wait for each other by spinning cost up to eight times the
# whole stage on a shared 2-core machine. Set before numpy and numba are imported, which look only then; a library's
# own variable, where the user set it, decides for that library.
for _variable in (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMBA_NUM_THREADS",
):
    os.environ.setdefault(_variable, os.environ.get("PERTURBCAST_THREADS", "1"))

VERBS = {
    "datasets": "datasets",
    "import": "import_",
    "import-h5ad": "import_h5ad",
    "merge": "merge",
    "simulate": "simulate",
    "split": "split",
    "splits": "splits",
    "graph": "graph",
    "pretrain": "pretrain",
    "train": "train",
    "ablate": "ablate",
    "modules": "modules",
    "predict": "predict",
    "evaluate": "evaluate",
    "compare": "compare",
    "parity": "parity",
    "leaderboard": "leaderboard",
    "report": "report",
    "register": "register",
    "export": "export",
    "serve": "serve",
    "submit": "submit",
    "jobs": "jobs",
    "gather": "gather",
    "task": "task",
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
    """Predict how cells respond to perturbations, and know how far to trust the answer.

    PERTURBCAST_THREADS=N in the environment gives each process N threads for its arithmetic instead of 1; the
    libraries' own variables (OMP_NUM_THREADS, NUMBA_NUM_THREADS, ...) decide where they are set.
    """


def main() -> None:
    """Run one command; exit code 2 for a usage error, 1 for a failure, with one message.

    ``PERTURBCAST_TRACEBACK=1`` shows where the error came from, for reporting a defect.
    """
    called = [word for word in sys.argv[1:2] if word in VERBS]
    try:
        # what is imported stays: looking for garbage in it, again and again, takes a tenth of a short stage
        gc.disable()
        postpone()
        app = build(called or list(VERBS))
        gc.freeze()
        gc.enable()
        app()
    except (ValueError, OSError) as error:
        if os.environ.get("PERTURBCAST_TRACEBACK"):
            raise
        typer.echo(f"error: {error}", err=True)
        sys.exit(2 if isinstance(error, UsageError) else 1)
