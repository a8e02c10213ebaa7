"""Command ``demo``: the main job once, from measured cells to an answer over gRPC, and a scorecard.

It runs what a person would type: ``dvc repro``, ``perturbcast serve`` in a process of its own, and a client in a
second environment that holds no platform. Splits of a dataset that cannot be reached are left out and named; where
no measured data can be reached, the simulated dataset stands in.
"""

from __future__ import annotations

import contextlib
import json
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console

from perturbcast import catalog
from perturbcast.datasets.source import find
from perturbcast.evaluation.scorecard import scorecard
from perturbcast.stages.layout import ARTIFACTS, dataset_file, load_fold, open_data, split_files
from perturbcast.stages.params import Params, read
from perturbcast.stages.submit import dvc_program
from perturbcast.stores import predictions
from perturbcast.stores.atomic import write_json

TOLERANCE = 1e-6  # the service's answer and the offline prediction are the same computation
FINAL = ("leaderboard", "report", "register")
SIMULATED = "simulated"
START_S = 120.0


def command(
    client_python: Annotated[Path, typer.Option(help="Python of an environment that holds perturbcast-client only.")],
    example: Annotated[Path, typer.Option(help="The client's example script.")] = Path(
        "libs/perturbcast-client/examples/ask.py"
    ),
) -> None:
    """Run the pipeline on real data, serve the champions, ask over gRPC, compare with the offline prediction.

    Prints a scorecard, the path of the HTML report and the command that opens MLflow; exits non-zero if a step
    failed. Run again, it redoes only what has changed. 'make demo' calls it with both environments in place.
    """
    console = Console()
    started = time.monotonic()
    params = read()
    names, complete = _reachable(params, console)
    _reproduce(names, console, complete=complete)
    registry = json.loads((ARTIFACTS / "registry/registry.json").read_text())
    console.rule("ask over gRPC")
    with _serving([f"models:/{name}@champion" for name in names]) as address:
        worst = _ask(address, names, registry["models"], client_python=client_python, example=example, console=console)
    report = json.loads((ARTIFACTS / "report/report.json").read_text())
    console.rule("scorecard")
    console.print(scorecard(report))
    console.print(f"gRPC and offline predictions differ by at most {worst:.1e} (allowed: {TOLERANCE:.0e})")
    console.print(f"report:  {(ARTIFACTS / 'report/report.html').resolve()}", soft_wrap=True)
    uri = registry["tracking_uri"]
    console.print(f"MLflow:  {uri if uri.startswith('http') else f'.venv/bin/mlflow ui --backend-store-uri {uri}'}")
    console.print(f"done in {time.monotonic() - started:.0f} s")


def _reachable(params: Params, console: Console) -> tuple[list[str], bool]:
    """Names of the splits that can be run here, and whether every dataset of params.yaml is at hand.

    A dataset is at hand when it is imported already, made here, or can be found.
    """
    absent = {name for name in params.datasets if not _at_hand(name)}
    names = [name for name in params.run.splits if params.splits[name].dataset not in absent]
    if not names:
        raise ValueError(
            f"The demo needs a split whose dataset is at hand; {', '.join(sorted(absent))} cannot be reached, and none "
            f"of run.splits is on the dataset {SIMULATED!r}. Add one to params.yaml, or see 'perturbcast datasets'."
        )
    if all(params.splits[name].dataset == SIMULATED for name in names):
        console.print("No measured dataset can be reached (see 'perturbcast datasets'): using the simulated dataset.")
    elif absent:
        console.print(f"Left out, not reachable (see 'perturbcast datasets'): {', '.join(sorted(absent))}.")
    return names, not absent


def _at_hand(dataset: str) -> bool:
    if dataset_file(dataset).is_file():
        return True
    source = catalog.load("datasets", dataset).SOURCE
    return find(source) is not None or bool(source.url)


def _reproduce(names: list[str], console: Console, *, complete: bool) -> None:
    """``dvc repro``: everything, or the stages of the reachable splits and then the stages that gather."""
    console.rule("dvc repro")
    dvc = dvc_program()
    if complete:
        _run(dvc, "repro")
    else:
        _run(dvc, "repro", *(f"evaluate@{name}" for name in names))
        for stage in FINAL:
            _run(dvc, "repro", "--single-item", stage)
    if not _registered(names):
        # the receipt is a DVC output and the registry is not: a removed or other registry is filled again
        _run(dvc, "repro", "--single-item", "--force", "register")


def _run(*words: str | Path) -> None:
    """Run a program as a person would, its output on the screen."""
    code = subprocess.run([str(word) for word in words], check=False).returncode
    if code:
        raise ValueError(
            f"A step of the demo failed: '{shlex.join(map(str, words))}' ended with exit code {code}. "
            "Its message is above."
        )


def _registered(names: list[str]) -> bool:
    from perturbcast.tracking import resolve  # mlflow takes a second to import, and dvc repro runs before it

    try:
        for name in names:
            resolve(f"models:/{name}@champion")
    except ValueError:
        return False
    return True


@contextlib.contextmanager
def _serving(addresses: list[str]) -> Iterator[str]:
    """``perturbcast serve`` in a process of its own; gives its address and ends it with SIGTERM."""
    with tempfile.TemporaryDirectory() as folder:
        ready = Path(folder) / "ready"
        words = [word for address in addresses for word in ("--model", address)]
        command = [
            str(Path(sys.executable).with_name("perturbcast")),
            "serve",
            "--port",
            "0",
            "--ready-file",
            str(ready),
        ]
        process = subprocess.Popen([*command, *words])
        try:
            deadline = time.monotonic() + START_S
            while not ready.is_file():
                if process.poll() is not None or time.monotonic() > deadline:
                    raise ValueError(f"The prediction service did not start (exit code {process.poll()}); see above.")
                time.sleep(0.1)
            yield ready.read_text().strip()
        finally:
            process.terminate()
            if process.wait(60) != 0:
                raise ValueError(f"The prediction service ended with exit code {process.returncode}.")


def _ask(
    address: str,
    names: list[str],
    receipt: dict[str, dict[str, str]],
    *,
    client_python: Path,
    example: Path,
    console: Console,
) -> float:
    """Ask for fold 0's test conditions of every split; the largest difference from the offline prediction."""
    worst = 0.0
    for name in names:
        folder = ARTIFACTS / "splits" / name
        data = open_data(folder, None)
        fold = load_fold(split_files(folder)[0], data)
        offline = predictions.read(ARTIFACTS / "predictions" / name / receipt[name]["champion"] / "fold_0" / "test.npz")
        held_out = data.subset(fold.parts["control_input"])
        with tempfile.TemporaryDirectory() as scratch:
            question, answer = Path(scratch) / "question", Path(scratch) / "answer.npz"
            question.mkdir()
            pairs = [[c.perturbation, c.context] for c in offline.conditions]
            write_json(question / "question.json", {"model": name, "conditions": pairs, "genes": list(data.genes)})
            for i, context in enumerate(sorted({c.context for c in offline.conditions} & set(held_out.contexts))):
                cells = held_out.x[np.flatnonzero(held_out.obs["context"].astype(str).to_numpy() == context)]
                np.savez(question / f"controls_{i}.npz", context=context, expression=cells.toarray())
            _run(client_python, example, address, question, answer)
            with np.load(answer) as arrays:
                difference = float(np.abs(arrays["delta"] - offline.delta).max())
                if arrays["seen"].tolist() != offline.seen.tolist():
                    raise ValueError(f"{name}: the service and the offline prediction differ in what training held.")
        if not difference <= TOLERANCE:
            raise ValueError(f"{name}: gRPC and offline predictions differ by {difference:g}, more than {TOLERANCE:g}.")
        new = [str(c) for c, (_, _, pair) in zip(offline.conditions, offline.seen, strict=True) if not pair]
        console.print(f"{name}: {len(pairs)} conditions, {len(new)} not seen in training, difference {difference:.1e}")
        worst = max(worst, difference)
    return worst
