"""Stage ``report``: one page and one JSON about the test scores of every split."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from perturbcast import splits
from perturbcast.errors import UsageError
from perturbcast.evaluation.directory import find_directories
from perturbcast.evaluation.report import gather
from perturbcast.evaluation.scorecard import scorecard
from perturbcast.evaluation.tables import scores_by_model, scores_table
from perturbcast.stages.layout import ARTIFACTS, split_files
from perturbcast.stores.atomic import write_bytes, write_json


def command(
    evaluations: Annotated[Path, typer.Option(help="Folder of test evaluations, SPLIT/MODEL/ each.")] = ARTIFACTS
    / "evaluations/test",
    leaderboard: Annotated[Path, typer.Option(help="leaderboard.json, which names the champions.")] = ARTIFACTS
    / "leaderboard/leaderboard.json",
    split_folder: Annotated[Path, typer.Option("--splits", help="Folder of frozen splits.")] = ARTIFACTS / "splits",
    out: Annotated[Path, typer.Option(help="Folder for report.html, report.json, scores.json, scores.csv.")] = ARTIFACTS
    / "report",
) -> None:
    """Write the report: tables and plots with intervals, floors and chance, one self-contained HTML page.

    The champion of every split is the leaderboard's, chosen on validation; test scores choose nothing.

        perturbcast report --evaluations artifacts/evaluations/test --out artifacts/report
    """
    if not leaderboard.is_file():
        raise UsageError(
            f"A report names the chosen models; {leaderboard} does not exist. Run 'perturbcast leaderboard' first."
        )
    found = find_directories(evaluations)
    board = json.loads(leaderboard.read_text())
    folds = {name: [splits.load(file) for file in split_files(split_folder / name)] for name in found}
    report = gather(found, board=board, folds=folds)
    from perturbcast.evaluation.page import render  # matplotlib: only once there is something to draw

    page = render(report)
    write_json(out / "scores.json", scores_by_model(found))
    write_bytes(out / "scores.csv", scores_table(found).to_csv(index=False, lineterminator="\n").encode())
    write_json(out / "report.json", report)
    write_bytes(out / "report.html", page.encode())
    Console().print(scorecard(report))
    typer.echo(f"report: {out / 'report.html'}")
