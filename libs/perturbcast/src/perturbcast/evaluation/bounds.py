"""What stands beside every number: floors, ceilings and degenerate predictors, scored once per truth.

They belong to the truth and not to a model, so that all models scored in one pass share them. Floors are scored for
every metric. Ceilings and degenerate rows are scored for every metric of means and for our own metrics of cells; the
references' metrics of cells (per-cell tests, transport between cells) would take longer for them than for all models
together, and are left without, with a note.

The share of range is 0 at the best trivial answer (a floor or chance) and 1 at the best ceiling, each by the metric's
own loss. It may be below 0, and above 1 within the error of both.

Axes: C conditions.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from perturbcast.metrics import Comparison, Measure, Metric

__all__ = ["CEILINGS", "DEGENERATE", "FLOORS", "Bounds", "MetricBounds", "References", "score_bounds", "share_of_range"]

FLOORS = ("control", "train_mean")
CEILINGS = ("split_half", "interpolated", "resampled")
DEGENERATE = (
    "constant",
    "control",
    "shuffled_labels",
    "means_without_spread",
    "twisted_controls",
    "scaled_noise",
)
OURS = "perturbcast."


@dataclasses.dataclass(frozen=True, kw_only=True)
class References:
    """Predictions that are compared with the same truth as every model, by name.

    Attributes:
        floors: trivial predictions.
        ceilings: what the data themselves allow; empty where they were not asked for.
        degenerate: predictors that must not look good; empty likewise.
        undefined: name -> [condition] bool, conditions that a ceiling or degenerate predictor cannot answer.
        absent: name of a floor or ceiling -> why it is not there.
    """

    floors: Mapping[str, Comparison]
    ceilings: Mapping[str, Comparison] = dataclasses.field(default_factory=dict)
    degenerate: Mapping[str, Comparison] = dataclasses.field(default_factory=dict)
    undefined: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    absent: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class MetricBounds:
    """Bounds of one metric.

    Attributes:
        floors: floor -> [condition], or None where it cannot be scored.
        ceilings: ceiling -> [condition]; those that were not scored are absent.
        degenerate: degenerate predictor -> [condition]; likewise.
        notes: why some are absent.
    """

    floors: Mapping[str, np.ndarray | None]
    ceilings: Mapping[str, np.ndarray]
    degenerate: Mapping[str, np.ndarray]
    notes: tuple[str, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bounds:
    """Bounds of every metric of a panel on one truth.

    Attributes:
        metrics: metric id -> bounds.
        absent: floor -> why it is not there.
        complete: ceilings and degenerate predictors were asked for.
    """

    metrics: Mapping[str, MetricBounds]
    absent: Mapping[str, str]
    complete: bool


def score_bounds(references: References, *, panel: Sequence[Measure]) -> Bounds:
    """Score every reference with every metric that it can be scored with."""
    complete = bool(references.degenerate)
    return Bounds(
        metrics={measure.metric.id: _of_metric(measure, references, complete=complete) for measure in panel},
        absent={name: why for name, why in references.absent.items() if name in FLOORS},
        complete=complete,
    )


def _of_metric(measure: Measure, references: References, *, complete: bool) -> MetricBounds:
    metric = measure.metric
    if metric.needs == "intervals":  # the references are point predictions: they have no intervals to be scored
        return MetricBounds(floors=dict.fromkeys(FLOORS), ceilings={}, degenerate={}, notes=())
    floors = {name: measure.score(references.floors[name]) if name in references.floors else None for name in FLOORS}
    if not complete:
        why = "no ceilings and no degenerate rows: they were not asked for (--no-bounds)"
        return MetricBounds(floors=floors, ceilings={}, degenerate={}, notes=(why,))
    degenerate = {} if floors["control"] is None else {"control": floors["control"]}
    if metric.needs == "cells" and not metric.id.startswith(OURS):
        why = "no ceilings and no degenerate rows: of metrics of cells only our own have them"
        return MetricBounds(floors=floors, ceilings={}, degenerate=degenerate, notes=(why,))

    def values(name: str, comparison: Comparison) -> np.ndarray:
        scores = measure.score(comparison)
        return np.where(references.undefined[name], np.nan, scores) if name in references.undefined else scores

    return MetricBounds(
        floors=floors,
        ceilings={name: values(name, comparison) for name, comparison in references.ceilings.items()},
        degenerate=degenerate | {name: values(name, one) for name, one in references.degenerate.items()},
        notes=tuple(f"no ceiling {name}: {references.absent[name]}" for name in CEILINGS if name in references.absent),
    )


def share_of_range(
    metric: Metric,
    value: float | None,
    *,
    trivial: Sequence[float | None],
    ceilings: Sequence[float | None],
    optimum: float | None,
) -> tuple[float | None, str | None]:
    """Where ``value`` lies between the best trivial answer (0) and the best ceiling (1).

    Args:
        metric: its direction decides which is best.
        value: of the model; None where undefined.
        trivial: floors and chance.
        ceilings: what the data allow.
        optimum: what a metric with direction ``target`` is closest to.

    Returns:
        The share, or None with the reason in words (no words where nothing was to be expected).
    """
    low, high = ([x for x in group if x is not None] for group in (trivial, ceilings))
    if value is None or not low or not high:
        return None, None

    def loss(x: float) -> float:
        if metric.direction == "target":
            assert optimum is not None
            return abs(x - optimum)
        return metric.loss(x)

    if metric.direction == "target" and optimum is None:
        return None, None
    worst, best = min(map(loss, low)), min(map(loss, high))
    # beyond rounding: the range is what the share is divided by
    if worst - best <= 1e-12 * max(abs(worst), abs(best), 1e-300):
        return None, "no share of range: the best ceiling is not better than the best trivial answer"
    return (worst - loss(value)) / (worst - best), None
