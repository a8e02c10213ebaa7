"""Transport distance between predicted and measured cells, averaged over random directions, with a null of 0.

Along a direction u the distance of two groups of m cells is ``mean_i |sort(a u)_i - sort(b u)_i|`` (Wasserstein-1 in
one dimension); W is its mean over ``directions`` random unit vectors of all genes (Rabin et al. 2012; Bonneel et al.
2015). Units of X.

W of two samples of one population is above 0, the more so the fewer cells, so a floor would not be a floor. Both
groups are therefore divided into halves of m cells each and the score is
``[W(a1, b2) + W(a2, b1) - W(a1, a2) - W(b1, b2)] / 2``: all four have the same sampling bias, and two samples of one
population give 0 on average at any number of cells and genes; a single value can lie a little below 0. Halves are
crossed, so that a cell which is in both files is not compared with itself: identical input gives exactly 0.

At most ``max_cells`` cells of each group, drawn with a seed, and as many of both as the smaller has; memory is one
group of cells and its projections. A group of fewer than two cells has no halves: the condition is excluded and
counted.
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np

from perturbcast.metrics.comparison import Cells, Comparison
from perturbcast.metrics.descriptor import Metric

__all__ = ["METRIC", "Config", "crossed_distance", "score"]

METRIC = Metric(
    id="perturbcast.sliced_wasserstein@1",
    title="sliced Wasserstein",
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
        directions: number of random directions.
        max_cells: cells per group and condition.
        seed: decides which cells and which directions.
    """

    directions: int = 64
    max_cells: int = 200
    seed: int = 0


def score(comparison: Comparison, config: Config) -> np.ndarray:
    """Sliced distance per condition [condition], units of X; NaN where undefined."""
    measured, predicted, _ = comparison.sides()
    truth = comparison.truth
    directions = truth.shared(("directions", config), lambda: _directions(len(truth.genes), config))
    scores = np.full(len(truth.conditions), np.nan)
    for row in range(len(scores)):
        centre = truth.mean[row].astype(np.float32)
        project = functools.partial(_projected, measured, row, centre, directions, config)
        a = truth.shared(("projections", config, row), project)
        b = _projected(predicted, row, centre, directions, config)
        if min(len(a), len(b)) >= 2:
            scores[row] = crossed_distance(a, b)
    return scores


def crossed_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Distance with a null of 0 of two groups of at least two projected cells [cell, direction] each."""
    half = min(len(a), len(b)) // 2
    a1, a2, b1, b2 = (np.sort(x[start : 2 * half : 2], axis=0) for x in (a, b) for start in (0, 1))
    across = _mean_gap(a1, b2) + _mean_gap(a2, b1)
    within = _mean_gap(a1, a2) + _mean_gap(b1, b2)
    return (across - within) / 2


def _mean_gap(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a - b).mean(dtype=np.float64))


def _directions(genes: int, config: Config) -> np.ndarray:
    """Unit vectors [gene, direction] float32."""
    drawn = np.random.default_rng([config.seed, genes]).standard_normal((genes, config.directions))
    return (drawn / np.linalg.norm(drawn, axis=0)).astype(np.float32)


def _projected(cells: Cells, row: int, centre: np.ndarray, directions: np.ndarray, config: Config) -> np.ndarray:
    drawn = cells.draw(row, limit=config.max_cells, seed=config.seed)
    projected: np.ndarray = (drawn - centre) @ directions
    return projected
