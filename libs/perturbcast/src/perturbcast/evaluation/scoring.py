"""Scores one comparison with a panel; what belongs to the truth alone comes in as its bounds.

Axes: C conditions.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from perturbcast.evaluation.bounds import FLOORS, Bounds
from perturbcast.metrics import Comparison, Measure, Metric

__all__ = ["FLOORS", "Scored", "ScoredMetric", "score"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScoredMetric:
    """Values of one metric; NaN marks a condition for which it is undefined.

    Attributes:
        metric: its descriptor.
        per_condition: [condition].
        chance: [condition], or None where the metric has no chance value.
        floors: floor -> [condition], or None where the floor cannot be scored.
        optimum: [condition] where it depends on the data, else None.
        counted: [condition] bool, where a listed value may stay out of the mean (see ``Metric.counts``), else None.
        ceilings: ceiling -> [condition]; those that were not scored are absent.
        degenerate: degenerate predictor -> [condition]; those that were not scored are absent.
        notes: why ceilings or degenerate rows are absent.
    """

    metric: Metric
    per_condition: np.ndarray
    chance: np.ndarray | None
    floors: Mapping[str, np.ndarray | None]
    optimum: np.ndarray | None = None
    counted: np.ndarray | None = None
    ceilings: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    degenerate: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scored:
    """All values of one comparison (one fold, or one pair of files).

    Attributes:
        labels: per condition its context and its perturbation, spelled as the truth spells them.
        metrics: one entry per metric of the panel.
        notes: floor -> why it is not there.
    """

    labels: tuple[tuple[str, str], ...]
    metrics: tuple[ScoredMetric, ...]
    notes: Mapping[str, str]


def score(
    comparison: Comparison,
    *,
    panel: Sequence[Measure],
    labels: Sequence[tuple[str, str]],
    bounds: Bounds | None = None,
) -> Scored:
    """Values of every metric of ``panel``.

    Args:
        comparison: the prediction beside the truth.
        panel: metrics.
        labels: per condition (context, perturbation) as it shall be written.
        bounds: scores of floors, ceilings and degenerate predictors on the same truth; None where nothing but the
            prediction is asked about.

    Raises:
        ValueError: a metric gives an infinite value or the wrong number of them (a defect of that metric).
    """
    metrics = []
    for measure in panel:
        metric = measure.metric
        of_metric = None if bounds is None else bounds.metrics[metric.id]
        values = measure.score(comparison)
        degenerate = {} if of_metric is None else dict(of_metric.degenerate)
        if bounds is not None and bounds.complete and metric.needs != "intervals":
            # a comparison holds no controls but the true ones; whoever made it has shown that (see 'untwisted')
            degenerate["twisted_controls"] = values
        metrics.append(
            ScoredMetric(
                metric=metric,
                per_condition=values,
                optimum=measure.of_rule(metric.optimum, comparison) if callable(metric.optimum) else None,
                counted=None if metric.counts is None else measure.of_rule(metric.counts, comparison) > 0,
                chance=None if metric.chance is None else measure.of_rule(metric.chance, comparison),
                floors={} if of_metric is None else of_metric.floors,
                ceilings={} if of_metric is None else of_metric.ceilings,
                degenerate=degenerate,
                notes=() if of_metric is None else of_metric.notes,
            )
        )
    return Scored(labels=tuple(labels), metrics=tuple(metrics), notes={} if bounds is None else bounds.absent)
