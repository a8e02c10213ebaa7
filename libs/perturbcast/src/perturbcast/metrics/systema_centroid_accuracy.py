"""How many of the other conditions lie farther from the prediction than its own truth does.

For a condition p of a context with n conditions: the share of the n - 1 others q with ``|mhat_p - m_q| > |mhat_p -
m_p|``, Euclidean over all genes; 1 is best. Equal distances count half. Source: Systema (Vinas Torne et al. 2025),
centroid accuracy. Chance is 0.5: a constant predictor gets it exactly, on average over the conditions of a context.
Alone in its context a condition cannot be mistaken for another: it is excluded and counted.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from perturbcast.metrics.comparison import Comparison
from perturbcast.metrics.descriptor import Metric
from perturbcast.metrics.profiles import distances
from perturbcast.metrics.ranks import position

__all__ = ["METRIC", "Config", "score"]

METRIC = Metric(
    id="systema.centroid_accuracy@1",
    title="centroid accuracy",
    direction="higher",
    optimum=1.0,
    chance=0.5,
    needs="means",
    undefined="excluded",
    undefined_when="the condition is alone in its context",
    discrimination="exact",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Parameters of the ranking.

    Attributes:
        tie: distances (units of X) no further apart than this are equal; above rounding of equal profiles.
    """

    tie: float = 1e-12


def score(comparison: Comparison, config: Config) -> np.ndarray:
    """Accuracy per condition [condition], 0 to 1; NaN where undefined."""
    scores = np.full(len(comparison.truth.conditions), np.nan)
    for rows in comparison.truth.rows_of_contexts:
        if len(rows) > 1:
            distance = distances(comparison.predicted[rows], comparison.truth.mean[rows], norm="l2")
            scores[rows] = 1 - position(distance, np.arange(len(rows)), tie=config.tie) / (len(rows) - 1)
    return scores
