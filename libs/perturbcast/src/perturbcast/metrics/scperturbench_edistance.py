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
from typing import Any

import numpy as np

from perturbcast.metrics.comparison import Comparison, drawn_genes
from perturbcast.metrics.de_ranking import ALL, top_genes
from perturbcast.metrics.descriptor import Metric
from perturbcast.metrics.distances import distance_sum, group_sizes, pair_sums

__all__ = ["METRICS", "Config", "score"]

ROUNDING = 1e-5  # share of the mean distance below which the rounding of sums may be all there is


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
    rows = np.arange(len(truth.conditions))
    scores = np.empty(len(rows))
    whole = np.zeros(len(rows), dtype=bool)
    if config.top >= len(truth.genes):
        n, m = (group_sizes(side, rows) for side in (cells, predicted_cells))
        whole = np.maximum(n, m) <= config.max_cells
        scores[whole] = _of_whole_groups(comparison, rows[whole], n[whole], m[whole])
    genes = top_genes(truth, config.top)
    for row in rows[~whole].tolist():
        centre = truth.control[row, genes[row]].astype(np.float32)
        a, b = (
            drawn_genes(side, row, genes[row], limit=config.max_cells, seed=config.seed) - centre
            for side in (cells, predicted_cells)
        )
        within = truth.shared(("v-statistic", config, row), functools.partial(distance_sum, a, a))
        scores[row] = _v_statistic(distance_sum(a, b), within, distance_sum(b, b), len(a), len(b))
        if len(a) == len(b) and np.array_equal(a, b):
            scores[row] = 0.0  # half the pairs were summed within, all of them across: equal up to rounding
    return scores


def _of_whole_groups(comparison: Comparison, rows: np.ndarray, n: np.ndarray, m: np.ndarray) -> np.ndarray:
    """E-distance on all genes and cells [row], from sums that other metrics need too."""
    cells, predicted, _ = comparison.sides()
    across, within_a, within_b = (
        pair_sums(a, b, rows, comparison) for a, b in ((cells, predicted), (cells, cells), (predicted, predicted))
    )
    scores: np.ndarray = _v_statistic(across, within_a, within_b, n, m)
    for k in np.flatnonzero((n == m) & (np.abs(scores) <= ROUNDING * across / (n * m))):
        if np.array_equal(*(side.draw(rows[k], limit=int(n[k]), seed=0) for side in (cells, predicted))):
            scores[k] = 0.0
    return scores


def _v_statistic(across: Any, within_a: Any, within_b: Any, n: Any, m: Any) -> Any:
    """From sums over pairs and numbers of cells, of one condition or [condition]."""
    return 2 * across / (n * m) - within_a / n**2 - within_b / m**2


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
