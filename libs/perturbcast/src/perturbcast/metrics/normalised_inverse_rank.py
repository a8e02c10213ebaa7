"""Whether a condition's own prediction is the nearest to it, on a scale on which chance is one half.

For a condition p of a context with n conditions: the share of the n - 1 other predictions q with ``|mhat_q - m_p| >
|mhat_p - m_p|``, Euclidean over all genes, equal distances half; 1 is best. It is the rank of PerturBench turned and
normalised by n - 1 (normalised inverse rank, Miller et al. 2025, bioRxiv 2025.10.20.683304, who rank truths for a
prediction; Systema's centroid accuracy here).

Predictions are ranked for a truth because a constant predictor then ties with itself everywhere and gets exactly 0.5
on every single condition, whatever the number of conditions. All genes count, the perturbed one too, in every query
alike. Alone in its context a condition cannot be mistaken for another: it is excluded and counted.
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
    id="perturbcast.normalised_inverse_rank@1",
    title="normalised inverse rank",
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
    """Parameters of the rank.

    Attributes:
        tie: distances (units of X) no further apart than this are equal; above rounding of equal profiles.
    """

    tie: float = 1e-12


def score(comparison: Comparison, config: Config) -> np.ndarray:
    """Share of other predictions farther away [condition], 0 to 1; NaN where undefined."""
    scores = np.full(len(comparison.truth.conditions), np.nan)
    for rows in comparison.truth.rows_of_contexts:
        if len(rows) > 1:
            distance = distances(
                comparison.truth.delta[rows], comparison.delta[rows], norm="l2"
            )  # [measured, predicted]
            scores[rows] = 1 - position(distance, np.arange(len(rows)), tie=config.tie) / (len(rows) - 1)
    return scores
