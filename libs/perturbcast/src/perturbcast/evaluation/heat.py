"""Tables whose cells are shaded from worst to best, so that a pattern is seen before a number is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from perturbcast.metrics import metric as descriptor

__all__ = ["STEPS", "by_label"]

STEPS = 8  # shades, classes h0 (worst) to h7 (best) of the page's style


def by_label(
    split: Mapping[str, Any], nested: Mapping[str, Any], *, metric_id: str, order: Sequence[str]
) -> dict[str, Any]:
    """Rows of a heat map: a label (context or perturbation) by every model, then by the champion's other metrics.

    Args:
        split: the split's part of a report.
        nested: metric id -> label -> model -> mean.
        metric_id: the metric of the models' block, shaded as one.
        order: models from left to right.

    Returns:
        ``models`` and ``metrics`` (heads of the columns) and ``rows``: label -> cells ``(value, shade)``, the
        shade None where there is no value.
    """
    champion = split["champion"]
    others = [i for i in split["primary"] if i != metric_id and i in nested]
    labels = list(nested.get(metric_id, {}))
    block = [[nested[metric_id][label].get(model) for model in order] for label in labels]
    flat = _shades([value for row in block for value in row], metric_id)
    cells = {
        label: list(zip(row, flat[k * len(order) : (k + 1) * len(order)], strict=True))
        for k, (label, row) in enumerate(zip(labels, block, strict=True))
    }
    for other in others:
        column = [nested[other].get(label, {}).get(champion) for label in labels]
        for label, value, shade in zip(labels, column, _shades(column, other), strict=True):
            cells[label].append((value, shade))
    return {"models": list(order), "metrics": others, "rows": cells}


def _shades(values: Sequence[float | None], metric_id: str) -> list[int | None]:
    """0 for the worst to ``STEPS - 1`` for the best; one middle shade where all are equal."""
    metric = descriptor(metric_id)
    if metric.direction == "target" and callable(metric.optimum):
        return [None] * len(values)
    losses = [None if value is None else metric.loss(value) for value in values]
    known = [loss for loss in losses if loss is not None]
    if not known:
        return [None] * len(values)
    low, high = min(known), max(known)
    if high == low:
        return [None if loss is None else STEPS // 2 for loss in losses]
    return [None if loss is None else round((STEPS - 1) * (high - loss) / (high - low)) for loss in losses]
