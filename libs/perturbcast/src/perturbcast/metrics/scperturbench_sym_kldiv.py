"""Divergence of the predicted from the measured cells gene by gene, each gene a Gaussian.

``log2(1 + mean_g [KL(a_g || b_g) + KL(b_g || a_g)])`` with the mean and standard deviation (over n, plus 1e-8) of
each gene in measured (a) and predicted (b) cells. Genes: the k of the truth with the largest |t| against control
(Welch; ``top100``: k = 100, ``all``: at most 5000, which the reference calls 5000). Source: scPerturBench (bm2-lab;
metrics of pertpy 0.7), formulas only. (The reference also rounds the mean over genes to 4 decimals.)

It cannot rank: one gene without spread on one side divides by 1e-8 squared and decides the value (39.98 for a
replicate of the truth, 40.14 for the control). Kept for comparison with published tables. Always defined.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from perturbcast.metrics.cell_moments import measured_moments, predicted_moments
from perturbcast.metrics.comparison import Comparison
from perturbcast.metrics.de_ranking import ALL, top_genes
from perturbcast.metrics.descriptor import Metric

__all__ = ["METRICS", "Config", "score"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Parameters of the gene set.

    Attributes:
        top: number of genes.
        floor: added to every standard deviation (units of X).
    """

    top: int = 100
    floor: float = 1e-8


def score(comparison: Comparison, config: Config) -> np.ndarray:
    """Divergence per condition [condition], in doublings."""
    genes = top_genes(comparison.truth, config.top)
    a, b = measured_moments(comparison), predicted_moments(comparison)
    means, variances = (
        [np.take_along_axis(x, genes, axis=1) for x in pair] for pair in ((a.mean, b.mean), (a.variance, b.variance))
    )
    s, t = ((np.sqrt(x) + config.floor) ** 2 for x in variances)
    off = (means[0] - means[1]) ** 2
    divergence = (s + off) / (2 * t) + (t + off) / (2 * s) - 1  # the logarithms of the two directions cancel
    return np.log2(1 + np.maximum(divergence, 0.0).mean(axis=1))


METRICS = tuple(
    Metric(
        id=f"scperturbench.sym_kldiv_{name}@1",
        title=f"symmetric KL, {name} genes",
        direction="lower",
        optimum=0.0,
        chance=None,
        needs="cells",
        undefined="excluded",
        undefined_when="never",
        config=Config(top=top),
    )
    for name, top in (("top100", 100), ("all", ALL))
)
