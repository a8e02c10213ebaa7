"""Share of genes whose measured delta lies in the prediction's 90 % interval.

``mean_g [ |d_g - dhat_g| <= h_g ]`` over genes with a finite half width h. Spec of intervals: split conformal
on calibration conditions (Lei et al. 2018).

The truth's own sampling error is inside, not added: the half widths were calibrated against *measured*
deltas, noise included, so they promise to hold the next measured delta. A condition with many fewer cells
than the calibration conditions is therefore covered less, one with many more is covered more.

An infinite interval promises nothing: its gene is left out, and a condition with none but infinite ones, or
without intervals, is excluded and counted.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from perturbcast.metrics.comparison import Comparison
from perturbcast.metrics.descriptor import Metric
from perturbcast.metrics.intervals import SLACK, covered_share

__all__ = ["METRIC", "Config", "score"]

LEVEL = 0.9

METRIC = Metric(
    id="perturbcast.coverage_90@1",
    title="coverage of 90 % intervals",
    direction="target",
    optimum=LEVEL,
    chance=None,
    needs="intervals",
    undefined="excluded",
    undefined_when="the prediction carries no finite 90 % interval",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Parameters of the comparison.

    Attributes:
        slack: distance (units of X) by which a delta may miss the edge: rounding of (c + d) - c for genes
            that are silent in truth and prediction and have a half width of 0.
    """

    slack: float = SLACK


def score(comparison: Comparison, config: Config) -> np.ndarray:
    """Covered share per condition [condition], 0 to 1; NaN where undefined."""
    return covered_share(comparison, LEVEL, slack=config.slack)
