"""Coefficient of determination between the two mean profiles, with the prediction in the place of the truth.

``1 - sum_g (mhat_g - m_g)^2 / sum_g (mhat_g - mean(mhat))^2``. Source: PerturBench, ``r2_score`` on the aggregation
``average`` (Wu et al. 2024, arXiv 2408.10609; commit d357dfa), which passes the prediction as ``y_true`` to
scikit-learn: the spread of the *prediction* is what the error is divided by, so a prediction with larger spread is
favoured. Kept for comparison with published tables; no basis for a choice.

A prediction without spread scores 0, as scikit-learn does, or 1 where it equals the truth. Always defined.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from perturbcast.metrics.comparison import Comparison
from perturbcast.metrics.descriptor import Metric
from perturbcast.metrics.profiles import centred, directed, rounding

__all__ = ["METRIC", "Config", "score"]

METRIC = Metric(
    id="perturbench.r2_score_average@1",
    title="R2 of means (prediction as reference)",
    direction="higher",
    optimum=1.0,
    chance=None,
    needs="means",
    undefined="worst",
    undefined_when="never",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """No parameters: the id fixes them."""


def score(comparison: Comparison, config: Config) -> np.ndarray:  # noqa: ARG001
    """R2 per condition [condition], at most 1."""
    means = comparison.as_stored
    truth, predicted = means.truth.astype(np.float64), means.predicted.astype(np.float64)
    error = ((predicted - truth) ** 2).sum(axis=1)
    around = centred(predicted)
    spread = (around**2).sum(axis=1)
    spreads = directed(around, noise=rounding(means.predicted))
    ratio = np.divide(error, spread, out=np.where(error > 0, 1.0, 0.0), where=spreads)
    return 1 - ratio
