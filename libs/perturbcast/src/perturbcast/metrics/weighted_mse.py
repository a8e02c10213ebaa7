"""Squared error of the delta on the genes that changed, each by how surely it did.

``sum_g w_g (dhat_g - d_g)^2`` with weights w of sum 1: |t| of the truth's delta, brought to 0..1 within the condition
and squared. Source: weighted MSE of Mejia et al. 2025 (arXiv 2506.22641). An error over all genes is mostly noise of
genes that did not change, which is why a constant prediction beats a second draw of the truth itself there; here the
unchanged genes weigh next to nothing.

Two departures: |t| is against the matched control and not against the other perturbations, so that the score of a
condition does not depend on which others are measured with it; and t is Welch's, from the standard error of the
measured delta. Units of X squared. A condition in which no gene changed is excluded and counted.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from perturbcast.metrics.comparison import Comparison
from perturbcast.metrics.de_ranking import de_weights
from perturbcast.metrics.descriptor import Metric

__all__ = ["METRIC", "Config", "score"]

METRIC = Metric(
    id="perturbcast.weighted_mse@1",
    title="DE-weighted MSE",
    direction="lower",
    optimum=0.0,
    chance=None,
    needs="means",
    undefined="excluded",
    undefined_when="no gene was measured with a change",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """No parameters: the id fixes them."""


def score(comparison: Comparison, config: Config) -> np.ndarray:  # noqa: ARG001
    """Weighted squared error per condition [condition], units of X squared; NaN where undefined."""
    weights = de_weights(comparison.truth)
    error = (weights * (comparison.delta - comparison.truth.delta) ** 2).sum(axis=1)
    return np.where(weights.any(axis=1), error, np.nan)
