"""Command ``compare``: models beside a baseline on the conditions that they share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer

from perturbcast.errors import UsageError
from perturbcast.evaluation.comparison import by_model, compare
from perturbcast.evaluation.directory import Stored, read_directory
from perturbcast.evaluation.printed import interval_text, number_text
from perturbcast.stores.atomic import write_bytes, write_json

DEFAULT = ("perturbench.rmse_average@1", "celleval.pearson_delta@1", "perturbcast.energy_distance@1")


def command(
    directories: Annotated[list[Path], typer.Argument(help="Evaluations of one part of one split, a folder each.")],
    metric: Annotated[
        list[str] | None, typer.Option(help=f"Metric id; repeat it for more [default: {', '.join(DEFAULT)}].")
    ] = None,
    baseline: Annotated[
        str | None, typer.Option(help="Model that the others are compared with [default: the first folder's].")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for comparison.json and comparison.csv.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of bootstrap and permutations.")] = 0,
) -> None:
    """Compare models pairwise with a baseline: mean difference over shared conditions, interval, adjusted p-value.

    Several seeds of a model are combined before conditions are compared. Differences are model minus baseline in the
    units of the metric.

        perturbcast compare artifacts/evaluations/test/kang2018-unseen_context/{control,additive,linear} --out compared
    """
    stored: dict[str, Stored] = {}
    for directory in directories:
        one = read_directory(directory)
        if directory.name in stored:
            raise UsageError(
                f"Evaluations are told apart by the names of their folders; {stored[directory.name].directory} and "
                f"{directory} share {directory.name!r}. Rename one."
            )
        stored[directory.name] = one
    chosen = baseline or next(iter(by_model(stored)))
    if metric is None:
        scored = set.intersection(*(set(one.evaluation.metrics) for one in stored.values()))
        metric = [name for name in DEFAULT if name in scored] or sorted(scored)[:1]
    found = [compare(stored, metric_id=name, baseline=chosen, seed=seed) for name in metric]
    if out is not None:
        write_json(out / "comparison.json", {"format": "perturbcast.comparisons/1", "comparisons": found})
        table = pd.DataFrame([row for comparison in found for row in _rows(comparison)])
        write_bytes(out / "comparison.csv", table.to_csv(index=False, lineterminator="\n").encode())
    for comparison in found:
        typer.echo(_text(comparison))
    if out is not None:
        typer.echo(f"comparison: {out / 'comparison.json'}")


def _rows(found: dict[str, Any]) -> list[dict[str, Any]]:
    """One row per model: what comparison.csv holds."""
    return [
        {
            "metric_id": found["metric_id"],
            "model": name,
            "baseline": found["baseline"],
            "n": found["n"],
            "seeds": len(row["seeds"]),
            "value": row["value"],
            "low": row["interval"][0],
            "high": row["interval"][1],
            "difference": row.get("difference"),
            "difference_low": row.get("difference_interval", [None, None])[0],
            "difference_high": row.get("difference_interval", [None, None])[1],
            "p_value": row.get("p_value"),
            "p_adjusted": row.get("p_adjusted"),
            "verdict": row.get("verdict", "baseline"),
        }
        for name, row in found["models"].items()
    ]


def _text(found: dict[str, Any]) -> str:
    """Lines of at most 80 columns (names of models permitting)."""
    lines = [f"{found['metric_id']} ({found['direction']}), {found['part']}, {found['n']} shared conditions"]
    width = max(map(len, found["models"]))
    for row in _rows(found):
        line = f"  {row['model']:<{width}}  {_with_interval(row, 'value', 'low', 'high')}"
        if row["verdict"] != "baseline":
            difference = _with_interval(row, "difference", "difference_low", "difference_high")
            adjusted = number_text(row["p_adjusted"], digits=2)
            line = f"{line:<{width + 28}}  {difference:<24}  p {adjusted:<7} {row['verdict']}"
        lines.append(line)
    lines.append(f"  differences are model minus {found['baseline']}; p adjusted by {found['adjustment']}")
    return "\n".join(lines)


def _with_interval(row: dict[str, Any], value: str, low: str, high: str) -> str:
    return f"{number_text(row[value])} {interval_text([row[low], row[high]])}".strip()
