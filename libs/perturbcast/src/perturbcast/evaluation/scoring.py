"""Scores one comparison with a panel, and its floors with the same code on the same conditions.

Axes: C conditions.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from perturbcast.evaluation.cells import MovedCells
from perturbcast.metrics import Cells, Comparison, Measure, Metric, Truth

__all__ = ["FLOORS", "Scored", "ScoredMetric", "floors_of", "score"]

FLOORS = ("control", "train_mean")


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
    """

    metric: Metric
    per_condition: np.ndarray
    chance: np.ndarray | None
    floors: Mapping[str, np.ndarray | None]
    optimum: np.ndarray | None = None
    counted: np.ndarray | None = None


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


def floors_of(
    truth: Truth, *, controls: Cells, train_mean: np.ndarray | None, smallest: float
) -> dict[str, Comparison]:
    """The predictions that every model has to beat.

    ``control``: nothing changes. ``train_mean``: the mean perturbed train profile, whatever is asked.

    Args:
        truth: the measured conditions.
        controls: the measured control cells of each condition.
        train_mean: [gene], or None where it is not known.
        smallest: what no expression value goes below.
    """

    def constant(mean: np.ndarray, stored: np.ndarray | None) -> Comparison:
        moved = MovedCells(controls=controls, delta=mean - truth.control, smallest=smallest)
        return Comparison(truth=truth, predicted=mean, cells=moved, stored_predicted=stored)

    floors = {"control": constant(truth.control, truth.stored_control)}
    if train_mean is not None:
        profile = np.tile(train_mean, (len(truth.conditions), 1))
        stored = None if truth.stored_mean is None else profile.astype(truth.stored_mean.dtype)
        floors["train_mean"] = constant(profile, stored)
    return floors


def score(
    comparison: Comparison,
    *,
    floors: Mapping[str, Comparison],
    panel: Sequence[Measure],
    labels: Sequence[tuple[str, str]],
) -> Scored:
    """Values of every metric of ``panel``.

    Args:
        comparison: the prediction beside the truth.
        floors: trivial predictions of the same truth, by name.
        panel: metrics.
        labels: per condition (context, perturbation) as it shall be written.

    Raises:
        ValueError: a metric gives an infinite value or the wrong number of them (a defect of that metric).
    """
    metrics = []
    for measure in panel:
        metric = measure.metric
        metrics.append(
            ScoredMetric(
                metric=metric,
                per_condition=measure.score(comparison),
                optimum=measure.of_rule(metric.optimum, comparison) if callable(metric.optimum) else None,
                counted=None if metric.counts is None else measure.of_rule(metric.counts, comparison) > 0,
                chance=None if metric.chance is None else measure.of_rule(metric.chance, comparison),
                # a floor is a point prediction: it has no intervals to be scored
                floors={
                    name: measure.score(floors[name]) if name in floors and metric.needs != "intervals" else None
                    for name in FLOORS
                },
            )
        )
    return Scored(labels=tuple(labels), metrics=tuple(metrics), notes=_absent(floors))


def _absent(floors: Mapping[str, Comparison]) -> dict[str, str]:
    why = "no train data were given; with files, name them by --train"
    return {name: why for name in FLOORS if name not in floors}
