"""Correlation over genes of two deltas from one reference profile, for the metrics that differ in the reference."""

from __future__ import annotations

import numpy as np

from perturbcast.metrics.comparison import Comparison
from perturbcast.metrics.profiles import centred, directed, rounding, similarity

__all__ = ["delta_correlation"]


def delta_correlation(comparison: Comparison, origin: np.ndarray, *, genes: np.ndarray | None = None) -> np.ndarray:
    """``Pearson_g(m - o, mhat - o)`` [condition], -1 to 1; 0 where the prediction is the reference up to a constant.

    NaN where the measured mean is.

    Args:
        comparison: the prediction beside the truth.
        origin: reference o, [condition, gene] or [gene].
        genes: columns [condition, k] to look at; None for all.
    """
    truth = comparison.truth
    measured, predicted = truth.mean - origin, comparison.predicted - origin
    if genes is not None:
        measured, predicted = (np.take_along_axis(x, genes, axis=1) for x in (measured, predicted))
    measured, predicted = centred(measured), centred(predicted)
    noise = rounding(comparison.predicted) * float(np.abs(truth.control).max(initial=1.0))
    return np.where(directed(measured, noise=noise), similarity(measured, predicted, noise=noise), np.nan)
