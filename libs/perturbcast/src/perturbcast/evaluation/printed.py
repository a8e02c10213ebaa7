"""Scores on a terminal: value and interval of each metric beside its floors, ceiling and share of range."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.table import Table

from perturbcast.evaluation.bounds import FLOORS
from perturbcast.evaluation.summary import Evaluation
from perturbcast.metrics import metric as descriptor

__all__ = ["best_ceiling", "interval_text", "number_text", "scores_summary"]

FEW = 12  # metrics of several models: more would scroll away


def scores_summary(evaluations: Mapping[str, Evaluation], *, title: str = "") -> Table:
    """A table, printed with ``rich.console.Console().print``; it fits into 80 columns.

    Of several models only the first metrics of a panel are shown; all are in metrics.json.

    Args:
        evaluations: model -> evaluation of the same panel.
        title: above the table.
    """
    listed = list(next(iter(evaluations.values())).metrics)
    shown = listed[: FEW if len(evaluations) > 1 else None]
    table = Table(
        title=title or None,
        title_justify="left",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    table.add_column("metric, model", no_wrap=True)
    for column in ("value [95 %]", "control", "mean", "chance", "ceiling", "share"):
        table.add_column(column, justify="right", no_wrap=True)
    for metric_id in shown:
        table.add_row(f"[bold]{metric_id}[/bold]")
        for model, evaluation in evaluations.items():
            row = evaluation.metrics[metric_id]
            table.add_row(
                f" {model}",
                f"{number_text(row['value'])} {interval_text(row['interval'])}".strip(),
                *(number_text(row["floor"][name]) for name in FLOORS),
                number_text(row["chance"]),
                number_text(best_ceiling(metric_id, row)),
                number_text(row["share_of_range"], digits=2),
            )
    said = ["control and mean: floors; share: 0 at the best of floors and chance, 1 at the best ceiling"]
    said += (
        [f"{len(shown)} of {len(listed)} metrics; all of them are in metrics.json"] if len(shown) < len(listed) else []
    )
    table.caption = "\n".join(said)
    return table


def best_ceiling(metric_id: str, row: Mapping[str, Any]) -> float | None:
    """The best of a metric's ceilings; None where there is none, or no one optimum to be close to."""
    known = [value for value in row["ceiling"].values() if value is not None]
    metric = descriptor(metric_id)
    if not known or (metric.direction == "target" and callable(metric.optimum)):
        return None
    return min(known, key=metric.loss)


def number_text(value: float | None, *, digits: int = 3) -> str:
    """A number in a few digits; a dash where there is none."""
    return "-" if value is None else f"{value:.{digits}g}"


def interval_text(bounds: list[float | None]) -> str:
    """``[low, high]``; empty where there is none."""
    low, high = bounds
    return "" if low is None or high is None else f"[{low:.2g}, {high:.2g}]"
