"""Distance between the predicted and the measured distribution of cells.

``2 E|a - b| - E|a - a'| - E|b - b'|``, Euclidean over all genes, a measured and b predicted cells (Szekely and
Rizzo 2013; used for perturbations by Peidli et al. 2024, scPerturb). Expectations are means over pairs of
*different* cells (U-statistic), so that two samples of one population give 0 on average in any number of
dimensions and a floor is a floor; a single value can lie a little below 0. A cell that is in both samples
(equal in every gene) is not two observations: such pairs are left out, so identical input gives exactly 0.

At most ``max_cells`` cells of each group, drawn with a seed; memory is one tile of distances. A group of one
cell has no spread to compare: the condition is excluded and counted. Units of X.
"""

from __future__ import annotations

import dataclasses
import functools
from collections import Counter

import numpy as np
import scipy.sparse as sp

from perturbcast.metrics.comparison import Cells, Comparison, Truth
from perturbcast.metrics.descriptor import Metric
from perturbcast.metrics.distances import distance_sum, group_sizes, pair_sums

__all__ = ["METRIC", "Config", "energy_distance", "score"]

SHARED = 2e10  # products of pairs and genes from which compiled sums over whole groups pay for their start

METRIC = Metric(
    id="perturbcast.energy_distance@1",
    title="E-distance",
    direction="lower",
    optimum=0.0,
    chance=None,
    needs="cells",
    undefined="excluded",
    undefined_when="a group has fewer than two cells",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Parameters of the draw.

    Attributes:
        max_cells: cells per group and condition.
        seed: decides which cells.
    """

    max_cells: int = 200
    seed: int = 0


def score(comparison: Comparison, config: Config) -> np.ndarray:
    """E-distance per condition [condition], in the units of X; NaN where undefined."""
    truth = comparison.truth
    if truth.cells is None or comparison.cells is None:
        raise ValueError("The E-distance compares cells; this comparison holds means only. Leave the metric out.")
    rows = np.arange(len(truth.conditions))
    scores = np.full(len(rows), np.nan)
    n, m = (group_sizes(side, rows) for side in (truth.cells, comparison.cells))
    defined = np.minimum(n, m) >= 2
    whole = defined & (np.maximum(n, m) <= config.max_cells)
    if (n * m)[whole].sum() * len(truth.genes) < SHARED:
        whole[:] = False
    scores[whole] = _of_whole_groups(comparison, truth.cells, comparison.cells, rows[whole], n[whole], m[whole])
    for row in rows[defined & np.isnan(scores)].tolist():
        scores[row] = _of_drawn(truth, truth.cells, comparison.cells, row, config)
    return scores


def _of_whole_groups(
    comparison: Comparison, cells: Cells, predicted: Cells, rows: np.ndarray, n: np.ndarray, m: np.ndarray
) -> np.ndarray:
    """E-distance of all cells [row], from sums that other metrics need too; NaN where cells may be in both groups."""
    across, within_a, within_b = (
        pair_sums(a, b, rows, comparison) for a, b in ((cells, predicted), (cells, cells), (predicted, predicted))
    )
    scores: np.ndarray = 2 * across / (n * m) - within_a / (n * (n - 1)) - within_b / (m * (m - 1))
    for k, row in enumerate(rows.tolist()):
        if _may_share(cells.matrix(row), predicted.matrix(row)):
            scores[k] = np.nan
    return scores


def _may_share(a: sp.csr_matrix, b: sp.csr_matrix) -> bool:
    """Whether a cell of ``a`` is as long as one of ``b``, without which no cell is in both."""
    lengths, every = (_squared_lengths(x) for x in (a, b))
    every.sort()
    above = np.minimum(np.searchsorted(every, lengths), len(every) - 1)
    gap = np.minimum(np.abs(every[above] - lengths), np.abs(every[np.maximum(above - 1, 0)] - lengths))
    return bool((gap <= 1e-12 * lengths).any())


def _squared_lengths(x: sp.csr_matrix) -> np.ndarray:
    """Of each cell [cell], in float64."""
    cell = np.repeat(np.arange(x.shape[0]), np.diff(x.indptr))
    return np.bincount(cell, weights=x.data.astype(np.float64) ** 2, minlength=x.shape[0])


def _of_drawn(truth: Truth, cells: Cells, predicted_cells: Cells, row: int, config: Config) -> float:
    measured = cells.draw(row, limit=config.max_cells, seed=config.seed)
    predicted = predicted_cells.draw(row, limit=config.max_cells, seed=config.seed)
    # one centre for all predictions, so that the measured part is computed once
    centre = truth.mean[row].astype(np.float32)
    measured, predicted = measured - centre, predicted - centre
    within = truth.shared(("energy_distance", config, row), functools.partial(distance_sum, measured, measured))
    return energy_distance(measured, predicted, within=within)


def energy_distance(a: np.ndarray, b: np.ndarray, *, within: float | None = None) -> float:
    """Unbiased E-distance of two groups of at least two cells.

    Args:
        a: [cell, gene] float32.
        b: [cell, gene] float32.
        within: ``distance_sum(a, a)`` where it is known.
    """
    # equal cells have equal sums: most pairs of groups are told apart without a look at each gene
    some = np.isin(a.sum(axis=1), b.sum(axis=1)).any()
    both = (Counter(map(bytes, a)) & Counter(map(bytes, b))).total() if some else 0
    if both == len(a) == len(b):
        return 0.0
    n, m = len(a), len(b)
    within_a = (distance_sum(a, a) if within is None else within) / (n * (n - 1))
    within_b = distance_sum(b, b) / (m * (m - 1))
    across = distance_sum(a, b) / (n * m - both)
    return 2 * across - within_a - within_b
