"""Mean squared error of the predicted mean profile.

``mean_g (m_g - mhat_g)^2``, m and mhat the measured and predicted means of X.
Source: cell-eval 0.8.2, ``mse``. Units of X squared. Always defined.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from perturbcast.metrics.comparison import Comparison
from perturbcast.metrics.descriptor import Metric

__all__ = ["METRIC", "Config", "score"]

METRIC = Metric(
    id="celleval.mse@1",
    title="MSE of means",
    direction="lower",
    optimum=0.0,
    chance=None,
    needs="means",
    undefined="excluded",
    undefined_when="never",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """No parameters: the id fixes them."""


def score(comparison: Comparison, config: Config) -> np.ndarray:  # noqa: ARG001
    """MSE per condition [condition]."""
    error: np.ndarray = ((comparison.truth.mean - comparison.predicted) ** 2).mean(axis=1)
    return error
