"""Stage ``register``: every run to MLflow, every model to its registry, the validation's choice to ``champion``."""

from __future__ import annotations

import json
import os
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer

from perturbcast import splits, tracking
from perturbcast.schema import Split, canonical_hash
from perturbcast.stages.commit import commit
from perturbcast.stages.layout import ARTIFACTS, split_files
from perturbcast.stages.progress import track
from perturbcast.stages.resources import of_model
from perturbcast.stores.atomic import write_json
from perturbcast.training import load_model
from perturbcast.training.trained_model import TrainedModel

VERSIONS = ("perturbcast", "numpy", "scipy", "anndata", "mlflow")


def command(
    leaderboard: Annotated[Path, typer.Option(help="leaderboard.json; its choice becomes the champion.")] = ARTIFACTS
    / "leaderboard/leaderboard.json",
    evaluations: Annotated[Path, typer.Option(help="Folder with validation/ and test/ evaluations.")] = ARTIFACTS
    / "evaluations",
    models: Annotated[Path, typer.Option(help="Folder of trained models.")] = ARTIFACTS / "models",
    split_folder: Annotated[Path, typer.Option("--splits", help="Folder of frozen splits.")] = ARTIFACTS / "splits",
    report: Annotated[Path, typer.Option(help="HTML report to keep with each run.")] = ARTIFACTS / "report/report.html",
    out: Annotated[Path, typer.Option(help="Receipt: which versions were registered.")] = ARTIFACTS
    / "registry/registry.json",
) -> None:
    """Log one MLflow run per model, split and dataset, register its models, and set the alias champion.

    The choice is read from the leaderboard, which has seen validation scores only; test scores are logged for
    reading and take no part. The server is MLFLOW_TRACKING_URI, by default sqlite:///mlflow.db here.
    Calling it again logs nothing twice.
    """
    board = json.loads(leaderboard.read_text())
    client = tracking.connect()
    receipt: dict[str, Any] = {}
    for name, choice in track(sorted(board["splits"].items()), "register"):
        folds = [splits.load(file) for file in split_files(split_folder / name)]
        versions = {}
        for kind in sorted(choice["candidates"]):
            run = _run(name, kind, folds, models=models, evaluations=evaluations, artifacts=[report])
            versions[kind] = tracking.log_run(client, run)
        rule = {key: value for key, value in choice.items() if key != "selected"} | {
            "model": choice["selected"],
            "leaderboard_sha256": canonical_hash(board),
        }
        tracking.name_champion(client, name, versions=versions[choice["selected"]], rule=rule)
        receipt[name] = {"champion": choice["selected"], "versions": versions}
    write_json(out, {"tracking_uri": os.environ.get("MLFLOW_TRACKING_URI", tracking.DEFAULT_URI), "models": receipt})
    typer.echo(f"registered {sum(len(r['versions']) for r in receipt.values())} runs of {len(receipt)} splits")


def _run(
    name: str, kind: str, folds: list[Split], *, models: Path, evaluations: Path, artifacts: list[Path]
) -> tracking.ModelRun:
    """Gather what a run is logged with."""
    trained = {fold.fold: load_model(models / name / kind / f"fold_{fold.fold}") for fold in folds}
    metrics = {
        f"{part}/{metric.replace('@', '.v')}": row["value"]
        for part in ("validation", "test")
        for metric, row in json.loads((evaluations / part / name / kind / "metrics.json").read_text()).items()
        if row["value"] is not None
    }
    first, split = trained[folds[0].fold], folds[0]
    key = canonical_hash({"models": [trained[f.fold].fingerprint for f in folds], "metrics": metrics})
    return tracking.ModelRun(
        experiment=name,
        kind=kind,
        key=key,
        parameters={
            **{f"model.{field}": value for field, value in first.parameters.items()},
            **{f"split.{field}": value for field, value in split.parameters.items()},
            "model": kind,
            "dataset": split.dataset,
            "rule": split.rule,
            "seed": first.seed,
        },
        metrics=metrics | of_model(name, kind),  # outside the key: no two runs take equally long
        tags=_tags(first, folds),
        artifacts=artifacts,
        folds=[
            tracking.FoldModel(
                fold=fold.fold,
                held_out=fold.held_out,
                directory=models / name / kind / f"fold_{fold.fold}",
                fingerprint=trained[fold.fold].fingerprint,
            )
            for fold in folds
        ],
    )


def _tags(model: TrainedModel, folds: list[Split]) -> dict[str, str]:
    return {
        "dataset": model.dataset,
        "data_sha256": model.dataset_hash,
        "split_sha256": canonical_hash([fold.hash for fold in folds]),
        "config_sha256": canonical_hash(
            {"plugin": model.plugin, "parameters": dict(model.parameters), "seed": model.seed}
        ),
        "commit": commit(),
        "versions": json.dumps({package: version(package) for package in VERSIONS}),
        "command": " ".join(sys.argv),
    }
