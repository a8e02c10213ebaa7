"""Stage ``leaderboard``: chooses a model per split by validation scores."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from perturbcast.evaluation.directory import find_directories
from perturbcast.evaluation.leaderboard import leaderboard
from perturbcast.evaluation.tables import scores_by_model, scores_table
from perturbcast.stages.layout import ARTIFACTS
from perturbcast.stores.atomic import write_bytes, write_json

ORACLES = ["truth"]


def command(
    metric: Annotated[str, typer.Option(help="Metric id that decides, like celleval.mae@1; its direction is its own.")],
    evaluations: Annotated[Path, typer.Option(help="Folder of validation evaluations, SPLIT/MODEL/ each.")] = ARTIFACTS
    / "evaluations/validation",
    out: Annotated[Path, typer.Option(help="Folder for leaderboard.json, scores.json and scores.csv.")] = ARTIFACTS
    / "leaderboard",
    oracle: Annotated[
        list[str] | None, typer.Option(help="Model that knows the truth: shown, never chosen [default: truth]")
    ] = None,
) -> None:
    """Rank the models of every split on validation conditions and select the first.

    Evaluations of test conditions are refused. leaderboard.json keeps the rule, the metric with its direction,
    every candidate with its score, and the selected model; scores.json is for 'dvc metrics show'.

        perturbcast leaderboard --metric perturbench.rmse_average@1
    """
    found = find_directories(evaluations)
    board = leaderboard(found, metric_id=metric, oracles=ORACLES if oracle is None else oracle)
    write_json(out / "scores.json", scores_by_model(found))
    write_bytes(out / "scores.csv", scores_table(found).to_csv(index=False, lineterminator="\n").encode())
    write_json(out / "leaderboard.json", board)
    for split, choice in board["splits"].items():
        others = [model for model in choice["tied"] if model != choice["selected"]]
        tie = f" (tied with {', '.join(others)})" if others else ""
        typer.echo(f"{split}: {choice['selected']} {choice['value']:.4g}{tie}")
