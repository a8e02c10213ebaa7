"""Curves of what a prediction says of its own error: do its intervals hold, and does its error grow where it says.

Both are plain numbers of a comparison, ready for ``curves.json``; nothing is drawn or written here.

Axes: C conditions.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from perturbcast.metrics import Comparison
from perturbcast.metrics.intervals import covered_share, mean_width
from perturbcast.metrics.stated_error import risk, stated_error, tied_groups

__all__ = ["POINTS", "RISK_UNIT", "interval_curve", "risk_coverage"]

POINTS = 50  # of a curve, at most
RISK_UNIT = "RMSE of deltas"


def interval_curve(comparison: Comparison, rows: np.ndarray | slice = slice(None)) -> list[dict[str, float | int]]:
    """Coverage and mean full width of each interval level, levels ascending.

    Means over conditions, each the mean over its genes with a finite interval. A level without any finite
    interval among the rows is left out: it promises nothing. Empty where the prediction carries no intervals.

    Args:
        comparison: the prediction beside the truth.
        rows: conditions (index or mask), such as those of one context or stratum.
    """
    curve: list[dict[str, float | int]] = []
    for level in sorted(comparison.half_widths):
        covered = covered_share(comparison, level)[rows]
        width = mean_width(comparison, level)[rows]
        defined = ~np.isnan(covered)
        if defined.any():
            curve.append(
                {
                    "level": float(level),
                    "coverage": float(covered[defined].mean()),
                    "mean_width": float(width[defined].mean()),
                    "n_conditions": int(defined.sum()),
                }
            )
    return curve


def risk_coverage(comparison: Comparison) -> dict[str, Any] | None:
    """Mean risk of the conditions with the smallest stated errors, at each share of conditions that is kept.

    Conditions with equal stated errors enter together, each with the mean risk of its tie. At most ``POINTS``
    points, evenly spaced among the conditions, the last at coverage 1. None where no variance is stated.
    """
    if comparison.variance is None:
        return None
    group, size = tied_groups(stated_error(comparison.variance))
    of_group = np.bincount(group, weights=risk(comparison)) / size
    n = len(group)
    curve = np.cumsum(np.repeat(of_group, size)) / np.arange(1, n + 1)
    kept = np.unique(np.linspace(1, n, min(n, POINTS)).round().astype(int))
    return {
        "coverage": [float(k / n) for k in kept],
        "risk": [float(curve[k - 1]) for k in kept],
        "risk_unit": RISK_UNIT,
    }
