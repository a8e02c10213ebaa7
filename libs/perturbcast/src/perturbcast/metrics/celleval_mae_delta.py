"""Mean absolute error of the predicted delta.

``mean_g |d_g - dhat_g|``, d = m - c and dhat = mhat - c with the true matched control mean c in both (so that it
equals the error of the means; the reference subtracts each file's own controls). Source: cell-eval 0.8.2,
``mae_delta``. Units of X. Always defined.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from perturbcast.metrics.comparison import Comparison
from perturbcast.metrics.descriptor import Metric

__all__ = ["METRIC", "Config", "score"]

METRIC = Metric(
    id="celleval.mae_delta@1",
    title="MAE of deltas",
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
    """MAE per condition [condition]."""
    error: np.ndarray = np.abs(comparison.truth.delta - comparison.delta).mean(axis=1)
    return error
