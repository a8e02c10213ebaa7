"""Mean absolute error of the predicted mean profile.

``mean_g |m_g - mhat_g|``, m and mhat the measured and predicted means of X. Source: cell-eval 0.8.2,
``mae``. Units of X. Always defined. Since noise in the truth counts against any prediction, a constant can
beat a fresh draw of the true generator: read it beside its floors.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from perturbcast.metrics.comparison import Comparison
from perturbcast.metrics.descriptor import Metric

__all__ = ["METRIC", "Config", "score"]

METRIC = Metric(
    id="celleval.mae@1",
    title="MAE of means",
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
    """MAE per condition [condition], in the units of X."""
    error: np.ndarray = np.abs(comparison.truth.mean - comparison.predicted).mean(axis=1)
    return error
