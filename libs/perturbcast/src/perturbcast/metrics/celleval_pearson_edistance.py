"""Whether conditions that lie far from control are predicted to lie far from it.

Pearson correlation over the conditions of a context of two E-distances to the control cells, of the measured and of
the predicted cells: ``2 E|a - c| - E|a - a'| - E|c - c'|``, Euclidean over all genes, means over all pairs with each
cell's distance to itself among them (V-statistic). Source: cell-eval 0.8.2, ``pearson_edistance``. One number for a
context, repeated for each of its conditions, so there is no interval. The true controls are used on both sides.

Distances are summed in float64 here; the reference averages them in float32, which moves its value by some 3e-6 on
files of a million pairs per condition.

Predictions that all lie equally far say nothing of the order and score 0 (the reference gives NaN). A context with
fewer than three conditions, or with equal measured distances, is excluded and counted.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from perturbcast.metrics.comparison import Comparison
from perturbcast.metrics.descriptor import Metric
from perturbcast.metrics.distances import control_energies

__all__ = ["METRIC", "Config", "score"]

METRIC = Metric(
    id="celleval.pearson_edistance@1",
    title="Pearson of E-distances to control",
    direction="higher",
    optimum=1.0,
    chance=0.0,
    needs="cells",
    undefined="excluded",
    undefined_when="the context has fewer than three conditions, or equal measured E-distances",
    over="context",
    divisible=False,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Parameters of the comparison.

    Attributes:
        tie: E-distances (units of X) whose range is no wider are equal; above float32 rounding of a distance.
    """

    tie: float = 1e-5


def score(comparison: Comparison, config: Config) -> np.ndarray:
    """Correlation of the condition's context [condition], -1 to 1; NaN where undefined."""
    measured, predicted, _ = comparison.sides()
    scores = np.full(len(comparison.truth.conditions), np.nan)
    for rows in comparison.truth.rows_of_contexts:
        far, claimed = (control_energies(cells, rows, comparison) for cells in (measured, predicted))
        if len(rows) < 3 or np.ptp(far) <= config.tie:
            continue
        scores[rows] = 0.0 if np.ptp(claimed) <= config.tie else np.corrcoef(far, claimed)[0, 1]
    return scores
