"""Whether conditions with many significant genes are predicted to have many.

Spearman correlation, over the conditions of a context that have at least one significant gene, of the numbers of
significant genes in truth and prediction, with mid ranks. Significant: FDR below 0.05 by the Mann-Whitney test of
the condition's cells against the true controls (``mann_whitney``); the predicted cells are tested like the measured
ones, so that their dispersion counts. Source: cell-eval 0.8.2, ``de_spearman_sig``. One number for a context,
repeated for each of its conditions, so there is no interval.

Equal predicted numbers have no order and score 0 (the reference gives NaN). A context with fewer than two such
conditions, or with equal measured numbers, asks for no order: it is excluded and counted. (The reference gives NaN,
and 1 where no condition has a significant gene.)
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
    id="celleval.de_spearman_sig@1",
    title="Spearman of numbers of significant genes",
    direction="higher",
    optimum=1.0,
    chance=0.0,
    needs="cells",
    undefined="excluded",
    undefined_when="fewer than two conditions of the context differ in their number of significant genes",
    over="context",
    divisible=False,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """No parameters: the id fixes them."""


def score(comparison: Comparison, config: Config) -> np.ndarray:  # noqa: ARG001
    """Correlation of the condition's context [condition], -1 to 1; NaN where undefined."""
    truth, predicted = (
        x.significant.sum(axis=1) for x in (measured_expression(comparison), predicted_expression(comparison))
    )
    scores = np.full(len(truth), np.nan)
    for rows in comparison.truth.rows_of_contexts:
        asked = rows[truth[rows] > 0]
        if len(np.unique(truth[asked])) > 1:
            found = spearman(truth[asked], predicted[asked])
            scores[rows] = 0.0 if np.isnan(found) else found
    return scores
