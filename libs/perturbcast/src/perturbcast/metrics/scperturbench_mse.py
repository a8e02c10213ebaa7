"""Mean squared error of the predicted mean profile on the genes that changed most surely.

``mean_g (m_g - mhat_g)^2``. Genes: the k of the truth with the largest |t| against control (Welch; ``top100``: k =
100, ``all``: at most 5000, which the reference calls 5000). Source: scPerturBench (bm2-lab; metrics of pertpy 0.7),
formulas only. Units of X squared. Always defined.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from perturbcast.metrics.comparison import Comparison
from perturbcast.metrics.de_ranking import ALL, top_genes
from perturbcast.metrics.descriptor import Metric

__all__ = ["METRICS", "Config", "score"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Parameters of the gene set.

    Attributes:
        top: number of genes.
    """

    top: int = 100


def score(comparison: Comparison, config: Config) -> np.ndarray:
    """MSE per condition [condition]."""
    genes = top_genes(comparison.truth, config.top)
    truth, predicted = (np.take_along_axis(x, genes, axis=1) for x in (comparison.truth.mean, comparison.predicted))
    error: np.ndarray = ((truth - predicted) ** 2).mean(axis=1)
    return error


METRICS = tuple(
    Metric(
        id=f"scperturbench.mse_{name}@1",
        title=f"MSE, {name} genes",
        direction="lower",
        optimum=0.0,
        chance=None,
        needs="means",
        undefined="excluded",
        undefined_when="never",
        config=Config(top=top),
    )
    for name, top in (("top100", 100), ("all", ALL))
)
