"""Scores on a terminal: value and interval of each model, under each metric's floors, chance and best ceiling."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from perturbcast.evaluation.bounds import FLOORS
from perturbcast.evaluation.summary import Evaluation
from perturbcast.metrics import metric as descriptor

__all__ = ["best_ceiling", "interval_text", "number_text", "scores_summary"]

FEW = 12  # metrics of several models: more would scroll away
SHARE = "share of range: 0 at the best of floors and chance, 1 at the best ceiling"


def scores_summary(evaluations: Mapping[str, Evaluation], *, title: str = "") -> str:
    """Lines of at most 80 columns (names of models permitting).

    Of several models only the first metrics of a panel are shown; all are in metrics.json.

    Args:
        evaluations: model -> evaluation of the same panel.
        title: above the lines.
    """
    listed = list(next(iter(evaluations.values())).metrics)
    shown = listed[: FEW if len(evaluations) > 1 else None]
    width = max(map(len, evaluations))
    lines = [title] if title else []
    for metric_id in shown:
        rows = {model: evaluation.metrics[metric_id] for model, evaluation in evaluations.items()}
        # floors and ceilings are the truth's: the same for every model that has a value
        first = next((row for row in rows.values() if row["value"] is not None), None)
        if first is None:
            lines.append(f"{metric_id}  no value: {'; '.join(next(iter(rows.values()))['notes'])}")
            continue
        beside = {name: first["floor"][name] for name in FLOORS}
        beside |= {"chance": first["chance"], "ceiling": best_ceiling(metric_id, first)}
        known = [f"{name} {number_text(value)}" for name, value in beside.items() if value is not None]
        lines.append("  ".join([metric_id, *known]))
        for model, row in rows.items():
            score = f"{number_text(row['value'])} {interval_text(row['interval'])}".strip()
            share = "" if row["share_of_range"] is None else f"  share {number_text(row['share_of_range'], digits=2)}"
            lines.append(f"  {model:<{width}}  {score:<24}{share}".rstrip())
    if len(shown) < len(listed):
        lines.append(f"{len(shown)} of {len(listed)} metrics; all of them are in metrics.json")
    return "\n".join([*lines, SHARE])


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
