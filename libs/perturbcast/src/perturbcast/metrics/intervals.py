"""What the intervals of a prediction held, for the metrics and curves of them.

An infinite interval promises nothing: its gene is left out, and a condition with none but infinite ones, or
without intervals of the level, has no value.

Axes: C conditions, G genes.
"""

from __future__ import annotations

import math

import numpy as np

from perturbcast.metrics.comparison import Comparison

__all__ = ["LEVELS", "SLACK", "covered_share", "mean_width"]

LEVELS = (0.5, 0.8, 0.9, 0.95)
SLACK = 1e-9  # units of X: rounding of (c + d) - c for genes that are silent on both sides


def covered_share(comparison: Comparison, level: float, *, slack: float = SLACK) -> np.ndarray:
    """Share of genes whose measured delta is inside the interval of ``level`` [condition], 0 to 1 or NaN."""
    half = _half_width(comparison, level)
    finite = np.isfinite(half)
    held = finite & (np.abs(comparison.truth.delta - comparison.delta) <= half + slack)
    return _share(held, finite)


def mean_width(comparison: Comparison, level: float) -> np.ndarray:
    """Mean full width over genes with a finite interval of ``level`` [condition], units of X, or NaN."""
    half = _half_width(comparison, level)
    finite = np.isfinite(half)
    return _share(np.where(finite, 2 * half, 0.0), finite)


def _half_width(comparison: Comparison, level: float) -> np.ndarray:
    """Half widths of a level [condition, gene]; infinite where the prediction does not offer it."""
    for offered, half in comparison.half_widths.items():
        if math.isclose(offered, level, abs_tol=1e-9):
            return half
    return np.full(comparison.predicted.shape, np.inf)


def _share(values: np.ndarray, among: np.ndarray) -> np.ndarray:
    n = among.sum(axis=1)
    return np.divide(values.sum(axis=1), n, out=np.full(len(n), np.nan), where=n > 0)
