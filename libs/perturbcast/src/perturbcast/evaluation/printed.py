"""Scores on a terminal: value and interval of each metric beside its floors, ceiling and share of range."""

from __future__ import annotations

from collections.abc import Mapping

from rich import box
from rich.table import Table

from perturbcast.evaluation.bounds import FLOORS
from perturbcast.evaluation.summary import Evaluation
from perturbcast.metrics import metric as descriptor

__all__ = ["interval_text", "number_text", "scores_summary"]

FEW = 12  # metrics; more of several models would scroll away: then those of our own panel are shown


def scores_summary(evaluations: Mapping[str, Evaluation], *, title: str = "") -> Table:
    """A table, printed with ``rich.console.Console().print``.

    Of a panel with many metrics only the first ones of the reports are shown; all are in metrics.json.

    Args:
        evaluations: model -> evaluation of the same panel.
        title: above the table.
    """
    listed = list(next(iter(evaluations.values())).metrics)
    shown = listed[: FEW if len(evaluations) > 1 else None]
    table = Table(
        title=title or None, title_justify="left", caption_justify="left", box=box.SIMPLE_HEAD, pad_edge=False
    )
    table.add_column("metric", no_wrap=True)
    if len(evaluations) > 1:
        table.add_column("model", no_wrap=True)
    for column in ("value [95 %]", *FLOORS, "chance", "ceiling", "share", "n"):
        table.add_column(column, justify="right", no_wrap=True)
    for metric_id in shown:
        for place, (model, evaluation) in enumerate(evaluations.items()):
            row = evaluation.metrics[metric_id]
            names = [metric_id if place == 0 else ""] + ([model] if len(evaluations) > 1 else [])
            ceilings = [value for value in row["ceiling"].values() if value is not None]
            best = min(ceilings, key=descriptor(metric_id).loss, default=None) if ceilings else None
            table.add_row(
                *names,
                f"{number_text(row['value'])} {interval_text(row['interval'])}".strip(),
                *(number_text(row["floor"][name]) for name in FLOORS),
                number_text(row["chance"]),
                number_text(best),
                number_text(row["share_of_range"], digits=2),
                str(row["n"]),
            )
    if len(shown) < len(listed):
        table.caption = f"{len(shown)} of {len(listed)} metrics; all of them are in metrics.json"
    return table


def number_text(value: float | None, *, digits: int = 3) -> str:
    """A number in a few digits; a dash where there is none."""
    return "-" if value is None else f"{value:.{digits}g}"


def interval_text(bounds: list[float | None]) -> str:
    """``[low, high]``; empty where there is none."""
    low, high = bounds
    return "" if low is None or high is None else f"[{low:.2g}, {high:.2g}]"
