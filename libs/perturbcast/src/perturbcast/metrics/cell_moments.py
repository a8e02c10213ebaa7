"""Mean and spread of each gene over the cells of each condition, from sparse cells, one condition at a time."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import scipy.sparse as sp

from perturbcast.metrics.comparison import Cells, Comparison

__all__ = ["Moments", "control_moments", "measured_moments", "predicted_moments"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Moments:
    """Moments of the cells of each condition.

    Attributes:
        mean: [condition, gene].
        variance: [condition, gene], over n cells (not n - 1).
        cells: [condition] number of cells.
    """

    mean: np.ndarray
    variance: np.ndarray
    cells: np.ndarray

    @functools.cached_property
    def error(self) -> np.ndarray:
        """Unbiased sampling variance of the mean [condition, gene]; 0 for one cell."""
        return self.variance / np.maximum(self.cells - 1, 1)[:, None]


def measured_moments(comparison: Comparison) -> Moments:
    """Moments of the measured cells, once per truth."""
    return comparison.truth.shared("measured moments", lambda: _moments(comparison, comparison.sides()[0]))


def control_moments(comparison: Comparison) -> Moments:
    """Moments of the matched control cells, once per truth."""
    return comparison.truth.shared("control moments", lambda: _moments(comparison, comparison.sides()[2]))


def predicted_moments(comparison: Comparison) -> Moments:
    """Moments of the predicted cells, once per prediction."""
    return comparison.shared("predicted moments", lambda: _moments(comparison, comparison.sides()[1]))


def _moments(comparison: Comparison, cells: Cells) -> Moments:
    known: dict[object, tuple[np.ndarray, np.ndarray, int]] = {}
    rows = range(len(comparison.truth.conditions))
    for row in rows:
        if cells.key(row) not in known:
            known[cells.key(row)] = _of_group(cells.matrix(row))
    means, variances, counts = zip(*(known[cells.key(row)] for row in rows), strict=True)
    return Moments(mean=np.stack(means), variance=np.stack(variances), cells=np.array(counts))


def _of_group(x: sp.csr_matrix) -> tuple[np.ndarray, np.ndarray, int]:
    n, genes = x.shape
    values = x.data.astype(np.float64)
    mean = np.bincount(x.indices, weights=values, minlength=genes) / n
    # around the mean, not E[x^2] - m^2: that leaves a spread of rounding to a gene with none
    off = (values - mean[x.indices]) ** 2
    zeros = n - np.bincount(x.indices, minlength=genes)
    variance = (np.bincount(x.indices, weights=off, minlength=genes) + zeros * mean**2) / n
    return mean, variance, n
