"""Whether a prediction is better where it says it is: area under the risk-coverage curve (AURC).

Risk of a condition: RMSE of its delta. Conditions are kept in the order of their stated error, smallest first (root
mean variance over genes); the area is the mean over k of the mean risk of the first k (Geifman and El-Yaniv 2017).
Tied conditions share their places (mean over the tie), so one variance for all conditions gives the mean risk, which
is what a random order gives: that is the chance value.

The value listed for a condition is its part, its risk times ``sum_{k >= place} 1 / k``; the mean of the parts is the
area. Units of X. A prediction without variance is excluded.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from perturbcast.metrics.comparison import Comparison
from perturbcast.metrics.descriptor import Metric
from perturbcast.metrics.stated_error import rank_weights, risk, stated_error

__all__ = ["METRIC", "Config", "chance", "score"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """No parameters: the id fixes them."""


def chance(comparison: Comparison, config: Config) -> np.ndarray:  # noqa: ARG001
    """Risk of each condition [condition]: in a random order every weight is 1."""
    return risk(comparison)


def score(comparison: Comparison, config: Config) -> np.ndarray:  # noqa: ARG001
    """Part of the area per condition [condition], units of X; NaN where undefined."""
    if comparison.variance is None:
        return np.full(len(comparison.truth.conditions), np.nan)
    return risk(comparison) * rank_weights(stated_error(comparison.variance))


METRIC = Metric(
    id="perturbcast.risk_coverage_area@1",
    title="area under risk-coverage",
    direction="lower",
    optimum=0.0,
    chance=chance,
    needs="intervals",
    undefined="excluded",
    undefined_when="the prediction states no variance",
)
