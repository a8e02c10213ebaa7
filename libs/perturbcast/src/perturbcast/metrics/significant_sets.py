"""Top sets of significant genes, shared by cell-eval's overlap and precision: how many the two sides have in common."""

from __future__ import annotations

from typing import Literal

import numpy as np

from perturbcast.metrics.comparison import Comparison
from perturbcast.metrics.mann_whitney import measured_expression, predicted_expression

__all__ = ["SIZES", "shared_share"]

SIZES: tuple[int | None, ...] = (None, 50, 100, 200, 500)


def shared_share(comparison: Comparison, *, top: int | None, sized_by: Literal["truth", "prediction"]) -> np.ndarray:
    """``|top-k truth and top-k prediction| / k`` [condition], 0 where ``k`` is 0.

    Args:
        comparison: the prediction beside the truth.
        top: genes at most; None for all significant ones.
        sized_by: whose number of significant genes limits ``k``.
    """
    truth, predicted = measured_expression(comparison), predicted_expression(comparison)
    scores = np.zeros(len(comparison.truth.conditions))
    for row in range(len(scores)):
        wanted, named = truth.largest_first[row], predicted.largest_first[row]
        size = len(wanted if sized_by == "truth" else named)
        k = size if top is None else min(top, size)
        if k:
            scores[row] = len(np.intersect1d(wanted[:k], named[:k], assume_unique=True)) / k
    return scores
