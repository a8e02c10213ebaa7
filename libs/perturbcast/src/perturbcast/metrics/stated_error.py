"""The order in which a prediction says that its errors grow, beside the errors that were measured.

Risk of a condition: RMSE of its predicted delta. Stated error: root mean over genes of its variance. With the n
conditions in ascending order of the stated error, the risk at coverage k / n is the mean risk of the first k
(El-Yaniv and Wiener 2010; Geifman and El-Yaniv 2017). Tied conditions enter together: each counts with the mean of
its tie, which is what a random order gives on average.

Axes: C conditions.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from perturbcast.metrics.comparison import Comparison

__all__ = ["VARIANCE_FLOOR", "FlooredVariance", "rank_weights", "risk", "stated_error", "tied_groups"]

VARIANCE_FLOOR = 1e-6  # units of X squared: what the baselines state at least

DIGITS = 12  # significant digits to which stated errors are compared; below are roundings of a mean over genes


@dataclasses.dataclass(frozen=True, kw_only=True)
class FlooredVariance:
    """Parameters of a metric that reads the stated variance as that of a normal distribution.

    Attributes:
        floor: least variance (units of X squared); a gene that is silent everywhere would have an infinite density.
    """

    floor: float = VARIANCE_FLOOR

    def of(self, comparison: Comparison) -> np.ndarray:
        """Stated variance [condition, gene], at least ``floor``; NaN where none is stated."""
        if comparison.variance is None:
            return np.full(comparison.predicted.shape, np.nan)
        return np.maximum(comparison.variance, self.floor)


def risk(comparison: Comparison) -> np.ndarray:
    """RMSE of the predicted delta [condition], units of X."""
    error = comparison.truth.delta - comparison.delta
    root: np.ndarray = np.sqrt((error**2).mean(axis=1))
    return root


def stated_error(variance: np.ndarray) -> np.ndarray:
    """Root mean variance over genes [condition], units of X."""
    root: np.ndarray = np.sqrt(variance.mean(axis=1))
    return root


def tied_groups(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Group of each value, in ascending order [condition], and the size of each group."""
    scale = np.abs(values).max(initial=0.0)
    rounded = np.round(values / scale, DIGITS) if scale > 0 else values
    _, group, size = np.unique(rounded, return_inverse=True, return_counts=True)
    return group, size


def rank_weights(values: np.ndarray) -> np.ndarray:
    """How much each condition's risk weighs in the area under the risk-coverage curve [condition], mean 1.

    The condition in place i is in the means of k = i .. n: sum over these of 1 / k, averaged over a tie.
    """
    group, size = tied_groups(values)
    n = len(values)
    of_place = np.cumsum(1 / np.arange(n, 0, -1))[::-1]
    last = np.cumsum(size)
    of_group = np.add.reduceat(of_place, last - size) / size
    weights: np.ndarray = of_group[group]
    return weights
