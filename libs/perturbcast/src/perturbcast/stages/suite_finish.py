"""The end of a suite: the choice on validation, the finalists opened on test, scorecard, MLflow."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from perturbcast.schema import canonical_hash
from perturbcast.stages.leaderboard import ORACLES
from perturbcast.stages.suite_run import open_test
from perturbcast.stores.atomic import write_bytes, write_json
from perturbcast.suites import Scorecard, SuiteFolder, choose, failure, finalists

__all__ = ["conclude"]

SHOWN = 20  # rows of a printed table
TAGS = ("commit", "dataset", "dataset_sha256", "reason")


def conclude(folder: SuiteFolder, *, track: bool) -> tuple[Scorecard, dict[str, Any]]:
    """Choose, open test for the finalists alone, and write leaderboard and scorecard.

    Args:
        folder: the suite, its runs ended.
        track: log every row to MLflow.

    Raises:
        ValueError: no model ended well.
    """
    board = choose(folder, oracles=ORACLES)
    write_json(folder.path / "leaderboard.json", board)  # before test is looked at
    chosen = finalists(board, count=folder.section.finalists)
    for run in folder.runs():
        if run.trial.name in chosen.get(run.split, ()):
            open_test(folder, run)
    card = Scorecard.of(folder, chosen=chosen)
    write_json(folder.path / "scorecard.json", card.to_json(folder))
    write_bytes(folder.path / "scorecard.csv", card.table().to_csv(index=False, lineterminator="\n").encode())
    if track:
        _track(folder, card)
    return card, board


def show(folder: SuiteFolder, card: Scorecard, board: dict[str, Any]) -> None:
    """Print the choice of each split, and what failed."""
    console, metric = Console(), folder.section.metric
    for split, choice in board["splits"].items():
        table = Table("rank", title=f"{split}: {metric}", title_justify="left")
        table.add_column("model", no_wrap=True)
        for column in ("validation", "95 % interval", "seeds", "s a run", "test"):
            table.add_column(column)
        ranked = sorted(choice["candidates"].items(), key=lambda item: (item[1]["rank"] is None, item[1]["rank"]))
        for name, found in ranked[:SHOWN]:
            rows = [row for row in card.rows if (row["split"], row["model"]) == (split, name)]
            test = [row["test"] for row in rows if row["test"] is not None]
            seconds = sum(row["wall_s"] or 0.0 for row in rows) / len(rows)
            low, high = found["interval"]
            table.add_row(
                str(found["rank"] or "-"),
                name,
                "undefined" if found["value"] is None else f"{found['value']:.4g}",
                "" if low is None else f"{low:.4g} to {high:.4g}",
                str(len(rows)),
                f"{seconds:.1f}",
                f"{sum(test) / len(test):.4g}" if test else "",
            )
        console.print(table)
        if len(ranked) > SHOWN:
            console.print(f"{len(ranked) - SHOWN} more in {folder.path / 'scorecard.csv'}", highlight=False)
    for run in folder.runs():
        if why := failure(run):
            console.print(f"failed: {run.label}: {why.splitlines()[0]} ({run.log})", soft_wrap=True, markup=False)
    commits = {row["commit"] for row in card.rows if row["commit"]}
    if len(commits) > 1:
        console.print(f"note: the rows come from {len(commits)} commits; see scorecard.json", highlight=False)


def _track(folder: SuiteFolder, card: Scorecard) -> None:
    from perturbcast import tracking  # two seconds to import

    rows = []
    for row in card.rows:
        metrics = {f"{part}/{folder.section.metric.replace('@', '.v')}": row[part] for part in ("validation", "test")}
        metrics |= {f"resources/{name}": row[name] for name in ("wall_s", "cpu_s", "peak_rss_mb", "peak_gpu_mb")}
        named = {f"model.{field}": value for field, value in row["parameters"].items()}
        tags = {name: str(row[name])[:500] for name in TAGS if row[name]}
        rows.append(
            tracking.Row(
                name=f"{row['split']}/{row['model']}/{row['seed']}",
                key=canonical_hash({"folder": str(folder.path), "row": row}),
                parameters=named | {"split": row["split"], "family": row["family"], "seed": row["seed"]},
                metrics={name: float(value) for name, value in metrics.items() if value is not None},
                tags=tags | {"config_sha256": row["config_sha256"], "model": row["model"]},
                failed=row["state"] != "done",
            )
        )
    tracking.log_rows(tracking.connect(), f"{folder.kind}-{folder.path.name}", rows)
