"""Mean width of the prediction's 50, 80, 90 and 95 % intervals: of two that hold alike, the narrower says more.

``mean_g 2 h_g`` over genes with a finite half width h, in the units of X. A width says nothing without the coverage
beside it: an interval of width 0 is the narrowest. (Gneiting, Balabdaoui and Raftery 2007: sharpness subject to
calibration.)

A condition with none but infinite intervals, or without intervals, is excluded and counted.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from perturbcast.metrics.comparison import Comparison
from perturbcast.metrics.descriptor import Metric
from perturbcast.metrics.intervals import LEVELS, mean_width

__all__ = ["METRICS", "Config", "score"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Which interval.

    Attributes:
        level: probability (0 to 1) that the interval promises.
    """

    level: float = 0.9


def score(comparison: Comparison, config: Config) -> np.ndarray:
    """Mean full width per condition [condition], units of X; NaN where undefined."""
    return mean_width(comparison, config.level)


METRICS = tuple(
    Metric(
        id=f"perturbcast.interval_width_{round(100 * level)}@1",
        title=f"width of {round(100 * level)} % intervals",
        direction="lower",
        optimum=0.0,
        chance=None,
        needs="intervals",
        undefined="excluded",
        undefined_when=f"the prediction carries no finite {round(100 * level)} % interval",
        config=Config(level=level),
    )
    for level in LEVELS
)
