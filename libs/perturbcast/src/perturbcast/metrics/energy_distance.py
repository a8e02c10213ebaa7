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

from perturbcast.metrics.comparison import Comparison
from perturbcast.metrics.descriptor import Metric
from perturbcast.metrics.distances import distance_sum

__all__ = ["METRIC", "Config", "energy_distance", "score"]

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
    scores = np.full(len(truth.conditions), np.nan)
    for row in range(len(scores)):
        measured = truth.cells.draw(row, limit=config.max_cells, seed=config.seed)
        predicted = comparison.cells.draw(row, limit=config.max_cells, seed=config.seed)
        if len(measured) < 2 or len(predicted) < 2:
            continue
        # one centre for all predictions, so that the measured part is computed once
        centre = truth.mean[row].astype(np.float32)
        measured, predicted = measured - centre, predicted - centre
        within = truth.shared(("energy_distance", config, row), functools.partial(distance_sum, measured, measured))
        scores[row] = energy_distance(measured, predicted, within=within)
    return scores


def energy_distance(a: np.ndarray, b: np.ndarray, *, within: float | None = None) -> float:
    """Unbiased E-distance of two groups of at least two cells.

    Args:
        a: [cell, gene] float32.
        b: [cell, gene] float32.
        within: ``distance_sum(a, a)`` where it is known.
    """
    both = (Counter(map(bytes, a)) & Counter(map(bytes, b))).total()
    if both == len(a) == len(b):
        return 0.0
    n, m = len(a), len(b)
    within_a = (distance_sum(a, a) if within is None else within) / (n * (n - 1))
    within_b = distance_sum(b, b) / (m * (m - 1))
    across = distance_sum(a, b) / (n * m - both)
    return 2 * across - within_a - within_b
