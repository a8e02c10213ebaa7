"""Named sets of metrics that are reported together."""

from __future__ import annotations

import functools
from types import ModuleType

from perturbcast import catalog
from perturbcast.errors import UsageError
from perturbcast.metrics.descriptor import Metric

__all__ = ["PANELS", "metric", "panel"]

# module names, in the order of a report
PANELS: dict[str, tuple[str, ...]] = {
    "spine": (
        "perturbench_rmse_average",
        "celleval_mae",
        "celleval_pearson_delta",
        "perturbench_cosine_logfc",
        "perturbench_cosine_rank_logfc",
        "energy_distance",
        "de_overlap_top50",
        "coverage_90",
    ),
}


@functools.cache  # looking for other people's plugins reads the whole environment
def panel(name: str) -> tuple[ModuleType, ...]:
    """The metric modules of a panel.

    Raises:
        UsageError: no panel has the name.
    """
    if name not in PANELS:
        raise UsageError(f"A panel is a named set of metrics; {name!r} is unknown. Known: {', '.join(PANELS)}.")
    return tuple(catalog.load("metrics", module) for module in PANELS[name])


@functools.cache
def metric(metric_id: str) -> Metric:
    """The descriptor of a metric id.

    Raises:
        UsageError: no metric has the id.
    """
    known = {
        module.METRIC.id: module.METRIC for module in (catalog.load("metrics", m) for m in catalog.names("metrics"))
    }
    if metric_id not in known:
        raise UsageError(
            f"Metrics are named 'panel.name@version'; {metric_id!r} is unknown. Known: {', '.join(known)}."
        )
    found: Metric = known[metric_id]
    return found
