"""Distance between the predicted and the measured distribution of cells, as the reference computes it.

``2 E|a - b| - E|a - a'| - E|b - b'|``, Euclidean, means over all pairs with each cell's distance to itself among
them (V-statistic): two samples of one population are apart by an amount that grows with the number of genes and
shrinks with cells (``perturbcast.energy_distance`` is without that bias). Genes: the k of the truth with the
largest |t| against control (Welch; ``top100``: k = 100, ``all``: at most 5000, which the reference calls 5000). At
most 2000 cells of each group, drawn with a seed (42, as the reference's; its generator is another). Source:
scPerturBench (bm2-lab; metrics of pertpy 0.7), formulas only. Units of X. Always defined.
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np

from perturbcast.metrics.comparison import Comparison
from perturbcast.metrics.de_ranking import ALL, top_genes
from perturbcast.metrics.descriptor import Metric
from perturbcast.metrics.distances import distance_sum

__all__ = ["METRICS", "Config", "score"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Parameters of the gene set.

    Attributes:
        top: number of genes.
        max_cells: cells per group and condition.
        seed: decides which cells.
    """

    top: int = 100
    max_cells: int = 2000
    seed: int = 42


def score(comparison: Comparison, config: Config) -> np.ndarray:
    """E-distance per condition [condition], in the units of X."""
    truth = comparison.truth
    cells, predicted_cells, _ = comparison.sides()
    scores = np.empty(len(truth.conditions))
    for row, genes in enumerate(top_genes(truth, config.top)):
        centre = truth.control[row, genes].astype(np.float32)
        a, b = (
            side.draw(row, limit=config.max_cells, seed=config.seed)[:, genes] - centre
            for side in (cells, predicted_cells)
        )
        n, m = len(a), len(b)
        within = truth.shared(("v-statistic", config, row), functools.partial(distance_sum, a, a))
        scores[row] = 2 * distance_sum(a, b) / (n * m) - within / n**2 - distance_sum(b, b) / m**2
        if n == m and np.array_equal(a, b):
            scores[row] = 0.0  # half the pairs were summed within, all of them across: equal up to rounding
    return scores


METRICS = tuple(
    Metric(
        id=f"scperturbench.edistance_{name}@1",
        title=f"E-distance (V), {name} genes",
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
