"""Rank correlation of log2 fold changes over the significant genes.

``Spearman_{g in S}(log2FC_g, log2FChat_g)`` with mid ranks, in float32 as the reference keeps its tables.
Significant: FDR below 0.05 by the Mann-Whitney test of the condition's cells against the true controls
(``mann_whitney``); the predicted cells are tested like the measured ones, so that their dispersion counts. Source:
cell-eval 0.8.2, ``de_spearman_lfc_sig``. Equal predicted changes have no order and score 0, which is chance (the
reference gives NaN). A condition with fewer than two significant genes, or equal measured changes, is excluded and
counted (the reference gives NaN, which then spreads to its mean).
"""

from __future__ import annotations

import dataclasses

import numpy as np

from perturbcast.metrics.comparison import Comparison
from perturbcast.metrics.descriptor import Metric
from perturbcast.metrics.mann_whitney import measured_expression, predicted_expression
from perturbcast.metrics.ranks import spearman

__all__ = ["METRIC", "Config", "score"]

METRIC = Metric(
    id="celleval.de_spearman_lfc_sig@1",
    title="Spearman of significant fold changes",
    direction="higher",
    optimum=1.0,
    chance=0.0,
    needs="cells",
    undefined="excluded",
    undefined_when="the truth has fewer than two significant genes, or equal fold changes",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """No parameters: the id fixes them."""


def score(comparison: Comparison, config: Config) -> np.ndarray:  # noqa: ARG001
    """Correlation per condition [condition], -1 to 1; NaN where undefined."""
    truth, predicted = measured_expression(comparison), predicted_expression(comparison)
    scores = np.full(len(comparison.truth.conditions), np.nan)
    for row, genes in enumerate(truth.significant):
        wanted, named = (x.log2_fold_change[row, genes].astype(np.float32) for x in (truth, predicted))
        if len(np.unique(wanted)) > 1:
            found = spearman(wanted, named)
            scores[row] = 0.0 if np.isnan(found) else found
    return scores
