"""Mean squared error of the predicted mean on the 20 most differential genes.

``mean_g (m_g - mhat_g)^2`` over the 20 genes of the truth with the largest |t| against control (Welch). Source: GEARS
(Roohani et al. 2024), ``mse_de``. Units of X squared. Always defined.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from perturbcast.metrics.comparison import Comparison
from perturbcast.metrics.de_ranking import top_genes
from perturbcast.metrics.descriptor import Metric

__all__ = ["METRIC", "Config", "score"]

METRIC = Metric(
    id="gears.mse_top20_de@1",
    title="MSE, top 20 DE genes",
    direction="lower",
    optimum=0.0,
    chance=None,
    needs="means",
    undefined="excluded",
    undefined_when="never",
)

TOP = 20


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """No parameters: the id fixes them."""


def score(comparison: Comparison, config: Config) -> np.ndarray:  # noqa: ARG001
    """MSE per condition [condition]."""
    off = np.take_along_axis(comparison.truth.mean - comparison.predicted, top_genes(comparison.truth, TOP), axis=1)
    error: np.ndarray = (off**2).mean(axis=1)
    return error
