"""Stage ``report``: one page and one JSON about the test scores of every split."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from perturbcast import splits
from perturbcast.errors import UsageError
from perturbcast.evaluation.directory import find_directories
from perturbcast.evaluation.exports import latex, tables
from perturbcast.evaluation.report import gather
from perturbcast.evaluation.report_schema import check
from perturbcast.evaluation.scorecard import scorecard
from perturbcast.evaluation.tables import scores_by_model, scores_table
from perturbcast.schema import Split
from perturbcast.stages import resources
from perturbcast.stages.layout import ARTIFACTS, split_files
from perturbcast.stores.atomic import write_bytes, write_json


def command(
    evaluations: Annotated[Path, typer.Option(help="Folder of test evaluations, SPLIT/MODEL/ each.")] = ARTIFACTS
    / "evaluations/test",
    leaderboard: Annotated[Path, typer.Option(help="leaderboard.json, which names the champions.")] = ARTIFACTS
    / "leaderboard/leaderboard.json",
    split_folder: Annotated[Path, typer.Option("--splits", help="Folder of frozen splits.")] = ARTIFACTS / "splits",
    out: Annotated[
        Path, typer.Option(help="Folder for report.html, report.json, scores.json, scores.csv and tables/.")
    ] = ARTIFACTS / "report",
    models: Annotated[
        Path, typer.Option(help="Folder of trained models: what the champions' intervals were fitted on is checked.")
    ] = ARTIFACTS / "models",
) -> None:
    """Write the report: tables and plots with intervals, floors and ceilings, one self-contained HTML page.

    The champion of every split is the leaderboard's, chosen on validation; test scores choose nothing. report.json
    has the shape of evaluation/schemas/report.schema.json; tables/ holds its tables as csv and LaTeX,
    and resources.csv what training and prediction took, where they ran on this machine.

        perturbcast report --evaluations artifacts/evaluations/test --out artifacts/report
    """
    if not leaderboard.is_file():
        raise UsageError(
            f"A report names the chosen models; {leaderboard} does not exist. Run 'perturbcast leaderboard' first."
        )
    found = find_directories(evaluations)
    board = json.loads(leaderboard.read_text())
    folds = {name: [splits.load(file) for file in split_files(split_folder / name)] for name in found}
    champions = {name: board["splits"][name]["selected"] for name in set(found) & set(board["splits"])}
    calibration = {
        name: used
        for name, champion in champions.items()
        if (used := _calibrated_on(models / name / champion, folds[name])) is not None
    }
    report = gather(found, board=board, folds=folds, calibration=calibration)
    check(report)
    from perturbcast.evaluation.page import render  # matplotlib: only once there is something to draw

    page = render(report)
    for table, rows in tables(report).items():
        write_bytes(out / "tables" / f"{table}.csv", rows.to_csv(index=False, lineterminator="\n").encode())
    for table, text in latex(report).items():
        write_bytes(out / "tables" / f"{table}.tex", text.encode())
    write_json(out / "scores.json", scores_by_model(found))
    write_bytes(out / "scores.csv", scores_table(found).to_csv(index=False, lineterminator="\n").encode())
    write_json(out / "report.json", report)
    write_bytes(out / "report.html", page.encode())
    taken = resources.table((name, model) for name, models_of in found.items() for model in models_of)
    if len(taken):
        write_bytes(out / "resources.csv", taken.to_csv(index=False, lineterminator="\n").encode())
    Console().print(scorecard(report))
    typer.echo(f"report: {out / 'report.html'}")


def _calibrated_on(folder: Path, folds: Sequence[Split]) -> list[str] | None:
    """Per fold the sha256 of the cells that a model's intervals were fitted on; None where a fold is not there."""
    files = [folder / f"fold_{fold.fold}" / "calibration.json" for fold in folds]
    if not all(file.is_file() for file in files):
        return None
    return [str(json.loads(file.read_text())["cells_sha256"]) for file in files]
