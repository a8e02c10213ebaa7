"""Distance between the stated normal distribution of each delta and the delta that was measured.

Continuous ranked probability score of a normal distribution with mean dhat and standard deviation s, at z = (d -
dhat) / s: ``mean_g s [ z (2 Phi(z) - 1) + 2 phi(z) - 1 / sqrt(pi) ]``, in the units of X (Gneiting and Raftery 2007,
equation 21). Proper as the log likelihood is, and kinder to one surprising gene: for s = 0 it is the absolute error.

The truth's own sampling error is inside s and is not added, as in ``gaussian_nll``.

The optimum shown is that of an exact mean at the stated variances, ``mean_g s (sqrt 2 - 1) / sqrt(pi)``. A
prediction without variance is excluded.
"""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr

from perturbcast.metrics.comparison import Comparison
from perturbcast.metrics.descriptor import Metric
from perturbcast.metrics.stated_error import FlooredVariance as Config

__all__ = ["METRIC", "Config", "optimum", "score"]


def optimum(comparison: Comparison, config: Config) -> np.ndarray:
    """Value of an exact mean at the stated variances [condition]; NaN where undefined."""
    deviation = np.sqrt(config.of(comparison))
    least: np.ndarray = deviation.mean(axis=1) * (np.sqrt(2) - 1) / np.sqrt(np.pi)
    return least


def score(comparison: Comparison, config: Config) -> np.ndarray:
    """Mean over genes per condition [condition], units of X; NaN where undefined."""
    deviation = np.sqrt(config.of(comparison))
    z = (comparison.truth.delta - comparison.delta) / deviation
    density = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
    distance: np.ndarray = (deviation * (z * (2 * ndtr(z) - 1) + 2 * density - 1 / np.sqrt(np.pi))).mean(axis=1)
    return distance


METRIC = Metric(
    id="perturbcast.gaussian_crps@1",
    title="CRPS of deltas",
    direction="lower",
    optimum=optimum,
    chance=None,
    needs="intervals",
    undefined="excluded",
    undefined_when="the prediction states no variance",
)
