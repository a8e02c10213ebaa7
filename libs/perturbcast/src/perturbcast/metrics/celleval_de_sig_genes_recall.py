"""How many of the significant genes the prediction finds significant too.

``|S and Shat| / |S|``. Significant: FDR below 0.05 by the Mann-Whitney test of the condition's cells against the
true controls (``mann_whitney``); the predicted cells are tested like the measured ones, so that their dispersion
counts. Source: cell-eval 0.8.2, ``de_sig_genes_recall``. A condition without a significant gene is excluded and
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
    id="celleval.de_sig_genes_recall@1",
    title="recall of significant genes",
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
    """Recall per condition [condition], 0 to 1; NaN where undefined."""
    truth, predicted = measured_expression(comparison).significant, predicted_expression(comparison).significant
    n = truth.sum(axis=1)
    return np.divide((truth & predicted).sum(axis=1), n, out=np.full(len(n), np.nan), where=n > 0)
