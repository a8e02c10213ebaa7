"""Correlation of deltas on the genes that changed most surely, as a similarity and as the distance that is printed.

``pcc_delta = Pearson_g(m - c, mhat - c)`` with the true control mean c in both; ``pearson_distance`` is 1 minus it,
the form in which the reference prints it. Genes: the k of the truth with the largest |t| against control (Welch;
``top100``: k = 100, ``all``: at most 5000, which the reference calls 5000). Source: scPerturBench (bm2-lab; metrics
of pertpy 0.7), formulas only. A predicted delta that is the same for every gene says nothing and has correlation 0,
which is chance; a condition whose measured delta is, is excluded and counted.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from perturbcast.metrics.comparison import Comparison
from perturbcast.metrics.de_ranking import ALL, top_genes
from perturbcast.metrics.descriptor import Metric
from perturbcast.metrics.profiles import centred, directed, rounding, similarity

__all__ = ["METRICS", "Config", "score"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Parameters of the gene set.

    Attributes:
        top: number of genes.
        distance: 1 minus the correlation.
    """

    top: int = 100
    distance: bool = False


def score(comparison: Comparison, config: Config) -> np.ndarray:
    """Correlation (or 1 minus it) per condition [condition]; NaN where undefined."""
    genes = top_genes(comparison.truth, config.top)
    truth, predicted = (
        centred(np.take_along_axis(x, genes, axis=1)) for x in (comparison.truth.delta, comparison.delta)
    )
    noise = rounding(comparison.predicted) * float(np.abs(comparison.truth.control).max(initial=1.0))
    found = np.where(directed(truth, noise=noise), similarity(truth, predicted, noise=noise), np.nan)
    return 1 - found if config.distance else found


METRICS = tuple(
    Metric(
        id=f"scperturbench.{form}_{name}@1",
        title=f"{title}, {name} genes",
        direction="lower" if distance else "higher",
        optimum=0.0 if distance else 1.0,
        chance=1.0 if distance else 0.0,
        needs="means",
        undefined="excluded",
        undefined_when="the measured delta is the same for every gene",
        config=Config(top=top, distance=distance),
    )
    for form, title, distance in (
        ("pcc_delta", "Pearson of deltas", False),
        ("pearson_distance", "1 - Pearson of deltas", True),
    )
    for name, top in (("top100", 100), ("all", ALL))
)
