"""Area under the ROC curve of finding the significant genes by the prediction's FDR.

Labels: the truth's significant genes. Scores: ``-log10(FDR)`` of the prediction, FDR clipped to 1e-10 and 1, in
float32 as the reference keeps its tables; ties enter together. Significant: FDR below 0.05 by the Mann-Whitney test
of the condition's cells against the true controls (``mann_whitney``); the predicted cells are tested like the
measured ones, so that their dispersion counts. Source: cell-eval 0.8.2, ``roc_auc``. A condition where no gene is
significant, or all are, is excluded and counted (the reference gives NaN, which then spreads to its mean).
"""

from __future__ import annotations

import dataclasses

import numpy as np

from perturbcast.metrics.comparison import Comparison
from perturbcast.metrics.descriptor import Metric
from perturbcast.metrics.mann_whitney import measured_expression, predicted_expression, surety
from perturbcast.metrics.ranks import roc_area

__all__ = ["METRIC", "Config", "score"]

METRIC = Metric(
    id="celleval.roc_auc@1",
    title="ROC AUC of significant genes",
    direction="higher",
    optimum=1.0,
    chance=0.5,
    needs="cells",
    undefined="excluded",
    undefined_when="the truth has no significant gene, or no other",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """No parameters: the id fixes them."""


def score(comparison: Comparison, config: Config) -> np.ndarray:  # noqa: ARG001
    """AUC per condition [condition], 0 to 1; NaN where undefined."""
    truth, predicted = measured_expression(comparison), predicted_expression(comparison)
    scores = np.full(len(comparison.truth.conditions), np.nan)
    for row, wanted in enumerate(truth.significant):
        if 0 < wanted.sum() < len(wanted):
            scores[row] = roc_area(wanted, surety(predicted.fdr[row]))
    return scores
