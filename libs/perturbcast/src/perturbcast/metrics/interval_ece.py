"""How far the coverage of the intervals is from what they promise, over all levels.

Expected calibration error: ``mean_l |coverage(l) - l|`` over the levels 50, 80, 90 and 95 % that have a finite
interval, coverage being the mean over conditions of ``coverage_<level>`` (Kuleshov, Fenner and Ermon 2018, the mean
absolute form).

The error is one of all conditions together: a condition of few cells is covered less and one of many more, and that
is no defect. The value listed for a condition is its part, ``mean_l s_l (coverage_condition(l) - l)`` with s_l the
sign of the error over all conditions; the mean of these parts is the expected calibration error. A part can be
negative, where a condition makes up for the others.

A condition without a finite interval is excluded and counted.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from perturbcast.metrics.comparison import Comparison
from perturbcast.metrics.descriptor import Metric
from perturbcast.metrics.intervals import LEVELS, covered_share

__all__ = ["METRIC", "Config", "score"]

METRIC = Metric(
    id="perturbcast.interval_ece@1",
    title="calibration error of intervals",
    direction="lower",
    optimum=0.0,
    chance=None,
    needs="intervals",
    undefined="excluded",
    undefined_when="the prediction carries no finite interval",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Parameters of the error.

    Attributes:
        levels: probabilities (0 to 1) of the intervals that are looked at, where they are offered.
    """

    levels: tuple[float, ...] = LEVELS


def score(comparison: Comparison, config: Config) -> np.ndarray:
    """Part of the error per condition [condition]; their mean is the error, 0 to 1. NaN where undefined."""
    off = np.stack([covered_share(comparison, level) - level for level in config.levels])  # [level, condition]
    offered = ~np.isnan(off).all(axis=1)
    off = off[offered]
    if not len(off):
        return np.full(len(comparison.truth.conditions), np.nan)
    # a condition that lacks one of the levels (an infinite interval) has no part that can be compared
    defined = ~np.isnan(off).any(axis=0)
    sign = np.sign(off[:, defined].mean(axis=1, keepdims=True)) if defined.any() else 1.0
    part: np.ndarray = (sign * off).mean(axis=0)
    return part
