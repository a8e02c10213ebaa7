"""Euclidean distance of the predicted from the measured mean on the 1000 genes with the highest control expression.

``sqrt(sum_g (m_g - mhat_g)^2)`` over the 1000 genes with the largest control mean (all of them where there are
fewer). Source: Ahlmann-Eltze, Huber and Anders 2025, the error of their comparison with linear baselines. Units of
X. Always defined.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from perturbcast.metrics.comparison import Comparison
from perturbcast.metrics.de_ranking import expressed_genes
from perturbcast.metrics.descriptor import Metric

__all__ = ["METRIC", "Config", "score"]

METRIC = Metric(
    id="gears.l2_top1000@1",
    title="L2, 1000 highest genes",
    direction="lower",
    optimum=0.0,
    chance=None,
    needs="means",
    undefined="excluded",
    undefined_when="never",
)

TOP = 1000


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """No parameters: the id fixes them."""


def score(comparison: Comparison, config: Config) -> np.ndarray:  # noqa: ARG001
    """L2 per condition [condition], in the units of X."""
    genes = expressed_genes(comparison.truth, TOP)
    off = np.take_along_axis(comparison.truth.mean - comparison.predicted, genes, axis=1)
    return np.sqrt((off**2).sum(axis=1))
