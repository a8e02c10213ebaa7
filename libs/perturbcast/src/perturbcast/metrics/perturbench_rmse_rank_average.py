"""Whether a condition's own prediction is the one nearest to it, by RMSE of means.

For a condition b all predictions of its context are sorted by their RMSE to b's measured mean
(``perturbench.rmse_average``); the score is the position of b's own prediction over the number n of conditions of
the context: 0 is best. Ties share their mean position (the reference shuffles them without a seed), so a constant
predictor gets exactly the chance value, (n - 1) / 2n. Source: PerturBench, rank of ``rmse`` on ``average`` (Wu et al.
2024, arXiv 2408.10609; commit d357dfa).

Alone in its context a condition cannot be mistaken for another: it is excluded and counted.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from perturbcast.metrics.comparison import Comparison
from perturbcast.metrics.descriptor import Metric
from perturbcast.metrics.profiles import distances
from perturbcast.metrics.ranks import position

__all__ = ["METRIC", "Config", "chance", "score"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Parameters of the rank.

    Attributes:
        tie: RMSEs (units of X) no further apart than this are tied; above rounding of equal profiles.
    """

    tie: float = 1e-12


def chance(comparison: Comparison, config: Config) -> np.ndarray:  # noqa: ARG001
    """(n - 1) / 2n [condition], n the number of conditions in the context."""
    expected = np.empty(len(comparison.truth.conditions))
    for rows in comparison.truth.rows_of_contexts:
        expected[rows] = (len(rows) - 1) / (2 * len(rows))
    return expected


def score(comparison: Comparison, config: Config) -> np.ndarray:
    """Position over number of conditions [condition], 0 to 1; NaN where undefined."""
    means = comparison.as_stored
    scores = np.full(len(means.truth), np.nan)
    for rows in comparison.truth.rows_of_contexts:
        if len(rows) > 1:
            truth, predicted = (x[rows].astype(np.float64) for x in (means.truth, means.predicted))
            distance = distances(truth, predicted, norm="l2") / np.sqrt(truth.shape[1])  # [measured, predicted]
            scores[rows] = position(distance, np.arange(len(rows)), tie=config.tie) / len(rows)
    return scores


METRIC = Metric(
    id="perturbench.rmse_rank_average@1",
    title="rank by RMSE of means",
    direction="lower",
    optimum=0.0,
    chance=chance,
    needs="means",
    undefined="excluded",
    undefined_when="the condition is alone in its context",
    discrimination="exact",
)
