"""Area under the precision-recall curve of finding the significant genes by the prediction's FDR.

Labels: the truth's significant genes. Scores: ``-log10(FDR)`` of the prediction, FDR clipped to 1e-10 and 1, in
float32 as the reference keeps its tables; ties enter together. Significant: FDR below 0.05 by the Mann-Whitney test
of the condition's cells against the true controls (``mann_whitney``); the predicted cells are tested like the
measured ones, so that their dispersion counts. Source: cell-eval 0.8.2, ``pr_auc`` (average precision). A condition
where no gene is significant, or all are, is excluded and counted (the reference gives NaN, which then spreads to
its mean).
"""

from __future__ import annotations

import dataclasses

import numpy as np

from perturbcast.metrics.comparison import Comparison
from perturbcast.metrics.descriptor import Metric
from perturbcast.metrics.mann_whitney import measured_expression, predicted_expression, surety
from perturbcast.metrics.ranks import average_precision

__all__ = ["METRIC", "Config", "chance", "score"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """No parameters: the id fixes them."""


def chance(comparison: Comparison, config: Config) -> np.ndarray:  # noqa: ARG001
    """Share of significant genes [condition]; NaN where undefined."""
    share = measured_expression(comparison).significant.mean(axis=1)
    return np.where((share > 0) & (share < 1), share, np.nan)


def score(comparison: Comparison, config: Config) -> np.ndarray:  # noqa: ARG001
    """AUC per condition [condition], 0 to 1; NaN where undefined."""
    truth, predicted = measured_expression(comparison), predicted_expression(comparison)
    scores = np.full(len(comparison.truth.conditions), np.nan)
    for row, wanted in enumerate(truth.significant):
        if 0 < wanted.sum() < len(wanted):
            scores[row] = average_precision(wanted, surety(predicted.fdr[row]))
    return scores


METRIC = Metric(
    id="celleval.pr_auc@1",
    title="PR AUC of significant genes",
    direction="higher",
    optimum=1.0,
    chance=chance,
    needs="cells",
    undefined="excluded",
    undefined_when="the truth has no significant gene, or no other",
)
