"""How surprising the measured deltas are to a prediction that states a mean and a variance.

Negative log likelihood of a normal density, per gene: ``mean_g 1/2 [ log(2 pi v_g) + (d_g - dhat_g)^2 / v_g ]`` in
nats, v the variance that the model states. It is a proper score: right mean and right variance are its least value,
and stating too little variance costs more than too much. (Gneiting and Raftery 2007.)

The truth's own sampling error is inside v and is not added: a model states how far *measured* deltas of a usual
condition lie from its prediction. A model that states the variance of the true delta instead is charged for the
cells that it left out. A variance below ``floor`` is read as that.

The optimum shown is that of an exact mean at the stated variances. A prediction without variance is excluded.
"""

from __future__ import annotations

import numpy as np

from perturbcast.metrics.comparison import Comparison
from perturbcast.metrics.descriptor import Metric
from perturbcast.metrics.stated_error import FlooredVariance as Config

__all__ = ["METRIC", "Config", "optimum", "score"]


def optimum(comparison: Comparison, config: Config) -> np.ndarray:
    """Value of an exact mean at the stated variances [condition]; NaN where undefined."""
    variance = config.of(comparison)
    least: np.ndarray = 0.5 * np.log(2 * np.pi * variance).mean(axis=1)
    return least


def score(comparison: Comparison, config: Config) -> np.ndarray:
    """Mean over genes per condition [condition], nats; NaN where undefined."""
    variance = config.of(comparison)
    error = comparison.truth.delta - comparison.delta
    surprise: np.ndarray = 0.5 * (np.log(2 * np.pi * variance) + error**2 / variance).mean(axis=1)
    return surprise


METRIC = Metric(
    id="perturbcast.gaussian_nll@1",
    title="Gaussian NLL of deltas",
    direction="lower",
    optimum=optimum,
    chance=None,
    needs="intervals",
    undefined="excluded",
    undefined_when="the prediction states no variance",
)
