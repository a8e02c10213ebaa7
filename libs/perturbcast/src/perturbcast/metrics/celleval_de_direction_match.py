"""How many of the significant genes are predicted to change in the right direction.

Share of the truth's significant genes whose predicted log2 fold change has the sign of the measured one; no change
has a sign of its own (0). Significant: FDR below 0.05 by the Mann-Whitney test of the condition's cells against the
true controls (``mann_whitney``); the predicted cells are tested like the measured ones, so that their dispersion
counts. Source: cell-eval 0.8.2, ``de_direction_match``. A condition without a significant gene is excluded and
counted.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from perturbcast.metrics.comparison import Comparison
from perturbcast.metrics.descriptor import Metric
from perturbcast.metrics.mann_whitney import measured_expression, predicted_expression

__all__ = ["METRIC", "Config", "score"]

METRIC = Metric(
    id="celleval.de_direction_match@1",
    title="direction of significant genes",
    direction="higher",
    optimum=1.0,
    chance=None,
    needs="cells",
    undefined="excluded",
    undefined_when="the truth has no significant gene",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """No parameters: the id fixes them."""


def score(comparison: Comparison, config: Config) -> np.ndarray:  # noqa: ARG001
    """Matching share per condition [condition], 0 to 1; NaN where undefined."""
    truth, predicted = measured_expression(comparison), predicted_expression(comparison)
    same = np.sign(truth.log2_fold_change) == np.sign(predicted.log2_fold_change)
    n = truth.significant.sum(axis=1)
    return np.divide((truth.significant & same).sum(axis=1), n, out=np.full(len(n), np.nan), where=n > 0)
