"""Share of genes whose measured delta lies in the prediction's 50, 80 or 95 % interval.

``mean_g [ |d_g - dhat_g| <= h_g ]`` over genes with a finite half width h; 90 % is ``coverage_90``, of which this is
the same formula. Source of the intervals: split conformal on calibration conditions (Lei et al. 2018).

The truth's own sampling error is inside, not added: the half widths were calibrated against *measured* deltas, so
they promise to hold the next measured delta of about as many cells.

An infinite interval promises nothing: its gene is left out, and a condition with none but infinite ones, or without
intervals, is excluded and counted.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from perturbcast.metrics.comparison import Comparison
from perturbcast.metrics.descriptor import Metric
from perturbcast.metrics.intervals import covered_share

__all__ = ["METRICS", "Config", "score"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Which interval.

    Attributes:
        level: probability (0 to 1) that the interval promises.
    """

    level: float = 0.95


def score(comparison: Comparison, config: Config) -> np.ndarray:
    """Covered share per condition [condition], 0 to 1; NaN where undefined."""
    return covered_share(comparison, config.level)


METRICS = tuple(
    Metric(
        id=f"perturbcast.coverage_{percent}@1",
        title=f"coverage of {percent} % intervals",
        direction="target",
        optimum=percent / 100,
        chance=None,
        needs="intervals",
        undefined="excluded",
        undefined_when=f"the prediction carries no finite {percent} % interval",
        config=Config(level=percent / 100),
    )
    for percent in (50, 80, 95)
)
