"""Mean squared error of the predicted mean profile, as PerturBench prints it.

``mean_g (m_g - mhat_g)^2``, m and mhat the measured and predicted means of X. Source: PerturBench, ``mse`` on the
aggregation ``average`` (Wu et al. 2024, arXiv 2408.10609; commit d357dfa). Units of X squared. Always defined.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from perturbcast.metrics.comparison import Comparison
from perturbcast.metrics.descriptor import Metric

__all__ = ["METRIC", "Config", "score"]

METRIC = Metric(
    id="perturbench.mse_average@1",
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
    means = comparison.as_stored
    error: np.ndarray = ((means.truth.astype(np.float64) - means.predicted) ** 2).mean(axis=1)
    return error
