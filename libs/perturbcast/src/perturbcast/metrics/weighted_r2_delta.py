"""Share of the variation of the delta over genes that the prediction explains, changed genes first.

``1 - sum_g w_g (d_g - dhat_g)^2 / sum_g w_g (d_g - sum w d)^2`` with the weights of ``weighted_mse`` (|t| of the
truth against control, brought to 0..1 within the condition, squared, sum 1). Source: weighted delta R2 of Mejia et
al. 2025 (arXiv 2506.22641), against the matched control for the reason that ``weighted_mse`` gives.

1 is exact; 0 is as good as one number for all genes; no change at all lies below 0, and there is no lower
bound. A condition in which no gene changed, or all did by the same amount, is excluded and counted.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from perturbcast.metrics.comparison import Comparison
from perturbcast.metrics.de_ranking import de_weights
from perturbcast.metrics.descriptor import Metric

__all__ = ["METRIC", "Config", "score"]

METRIC = Metric(
    id="perturbcast.weighted_r2_delta@1",
    title="DE-weighted R2 of deltas",
    direction="higher",
    optimum=1.0,
    chance=None,
    needs="means",
    undefined="excluded",
    undefined_when="no gene was measured with a change, or all with the same",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Parameters of the score.

    Attributes:
        spread: weighted variance (share of the weighted mean square) below which all genes changed alike.
    """

    spread: float = 1e-12


def score(comparison: Comparison, config: Config) -> np.ndarray:
    """Weighted R2 per condition [condition], at most 1; NaN where undefined."""
    delta, weights = comparison.truth.delta, de_weights(comparison.truth)
    centre = (weights * delta).sum(axis=1, keepdims=True)
    variation = (weights * (delta - centre) ** 2).sum(axis=1)
    error = (weights * (delta - comparison.delta) ** 2).sum(axis=1)
    varies = variation > config.spread * (weights * delta**2).sum(axis=1)
    return 1 - np.divide(error, variation, out=np.full(len(delta), np.nan), where=varies)
