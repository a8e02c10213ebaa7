"""Whether the out-of-distribution score tells new conditions from those whose parts train held.

Area under the ROC curve of the prediction's score for the split's own label: a condition is new where train lacks
its perturbation or its context. Probability that a new condition scores above a known one, ties half (midranks).

The value listed for a condition is its part: of a new one the share of known ones below it, of a known one the share
of new ones above it (placement values, DeLong et al. 1988); the mean of the parts is the area.

Most splits hold out one kind only: where all conditions of a fold are new, or none is, there is nothing to tell
apart, and the fold is excluded and counted. So is a prediction without a score.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from perturbcast.metrics.comparison import Comparison
from perturbcast.metrics.descriptor import Metric
from perturbcast.metrics.ranks import mid_ranks

__all__ = ["METRIC", "Config", "score"]

METRIC = Metric(
    id="perturbcast.ood_auroc@1",
    title="OOD AUROC",
    direction="higher",
    optimum=1.0,
    chance=0.5,
    needs="intervals",
    undefined="excluded",
    undefined_when="all conditions of the fold are new to train, or none is, or the prediction carries no "
    "out-of-distribution score",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """No parameters: the id fixes them."""


def score(comparison: Comparison, config: Config) -> np.ndarray:  # noqa: ARG001
    """Part of the area per condition [condition], 0 to 1; NaN where undefined."""
    novel, values = comparison.novel, comparison.ood_score
    parts = np.full(len(comparison.truth.conditions), np.nan)
    if novel is None or values is None or novel.all() or not novel.any():
        return parts
    known = ~novel
    among = mid_ranks(values)
    # rank among all minus rank among one's own kind: how many of the other kind are below, ties half
    parts[novel] = (among[novel] - mid_ranks(values[novel])) / known.sum()
    parts[known] = 1 - (among[known] - mid_ranks(values[known])) / novel.sum()
    return parts
