"""Root mean squared error of means after each gene is scaled to unit variance.

In each file every gene is centred and divided by its standard deviation over all cells (conditions and controls,
n - 1), clipped at 10; then ``sqrt(mean_g (m_g - mhat_g)^2)`` of the scaled condition means. Source: PerturBench,
``rmse`` on the aggregation ``scaled`` (Wu et al. 2024, arXiv 2408.10609; commit d357dfa; scanpy ``pp.scale`` with
``max_value=10``). Standard deviations. A gene that does not vary is not divided. Always defined.

The two sides are scaled apart, each by its own cells, and the true controls stand in both: a prediction of wrong
spread is therefore scaled otherwise than the truth, which is how the reference does it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable

import numpy as np

from perturbcast.metrics.cell_moments import Moments, control_moments, measured_moments, predicted_moments
from perturbcast.metrics.comparison import Cells, Comparison
from perturbcast.metrics.descriptor import Metric

__all__ = ["METRIC", "Config", "score"]

METRIC = Metric(
    id="perturbench.rmse_scaled@1",
    title="RMSE of scaled means",
    direction="lower",
    optimum=0.0,
    chance=None,
    needs="cells",
    undefined="excluded",
    undefined_when="never",
    divisible=False,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Parameters of the scaling.

    Attributes:
        limit: scaled values are clipped here (standard deviations).
    """

    limit: float = 10.0


def score(comparison: Comparison, config: Config) -> np.ndarray:
    """RMSE per condition [condition], in standard deviations."""
    measured, predicted, _ = comparison.sides()
    truth = comparison.truth.shared(
        ("scaled means", config.limit), lambda: _scaled(comparison, measured, measured_moments(comparison), config)
    )
    other = _scaled(comparison, predicted, predicted_moments(comparison), config)
    return np.sqrt(((truth - other) ** 2).mean(axis=1))


def _scaled(comparison: Comparison, cells: Cells, moments: Moments, config: Config) -> np.ndarray:
    """Scaled means [condition, gene] of one side."""
    controls = control_moments(comparison)
    contexts = [rows[0] for rows in comparison.truth.rows_of_contexts]
    n = np.concatenate([moments.cells, controls.cells[contexts]])[:, None]
    means = np.concatenate([moments.mean, controls.mean[contexts]])
    variances = np.concatenate([moments.variance, controls.variance[contexts]])
    total = n.sum()
    centre = (n * means).sum(axis=0) / total
    spread = np.sqrt((n * (variances + (means - centre) ** 2)).sum(axis=0) / max(total - 1, 1))
    spread[spread == 0] = 1.0
    zero = np.clip(-centre / spread, -config.limit, config.limit)
    scaled = np.empty_like(moments.mean)
    first: dict[Hashable, int] = {}
    for row in range(len(scaled)):
        like = first.setdefault(cells.key(row), row)
        if like < row:
            scaled[row] = scaled[like]
            continue
        x = cells.matrix(row)
        values = np.clip((x.data - centre[x.indices]) / spread[x.indices], -config.limit, config.limit)
        # zeros are not stored: count them as what a zero becomes
        total_of_gene = np.bincount(x.indices, weights=values - zero[x.indices], minlength=len(centre))
        scaled[row] = zero + total_of_gene / x.shape[0]
    return scaled
