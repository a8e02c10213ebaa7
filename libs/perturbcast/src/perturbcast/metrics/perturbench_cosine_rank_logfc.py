"""Whether a condition's own prediction is the one nearest to it, by cosine of log fold changes.

For a condition b all predictions of its context are sorted by their cosine to b's measured log fold change
(``perturbench.cosine_logfc``); the score is the position of b's own prediction over the number n of
conditions of the context: 0 is best. Ties share their mean position (the reference shuffles them without a
seed), so a constant predictor gets exactly the chance value, (n - 1) / 2n. Source: PerturBench, rank of
``cosine`` on ``logfc`` (arXiv 2408.10609; commit d357dfa).

Alone in its context a condition cannot be mistaken for another: it is excluded and counted, as is one that
was measured without any change.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from perturbcast.metrics.comparison import Comparison
from perturbcast.metrics.descriptor import Metric
from perturbcast.metrics.profiles import directed, log2_fold_change, normalised, rounding
from perturbcast.metrics.ranks import position

__all__ = ["METRIC", "Config", "chance", "score"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Parameters of the rank.

    Attributes:
        tie: cosines (dimensionless) no further apart than this are tied; above float64 rounding of equal
            profiles, far below any difference that means something.
    """

    tie: float = 1e-10


def chance(comparison: Comparison, config: Config) -> np.ndarray:  # noqa: ARG001
    """(n - 1) / 2n [condition], n the number of conditions in the context."""
    expected = np.empty(len(comparison.truth.conditions))
    for rows in comparison.truth.rows_of_contexts:
        expected[rows] = (len(rows) - 1) / (2 * len(rows))
    return expected


def score(comparison: Comparison, config: Config) -> np.ndarray:
    """Position over number of conditions [condition], 0 to 1; NaN where undefined."""
    means = comparison.as_stored
    truth = log2_fold_change(means.truth, means.control)
    predicted = log2_fold_change(means.predicted, means.control)
    noise = rounding(means.predicted)
    scores = np.full(len(truth), np.nan)
    for rows in comparison.truth.rows_of_contexts:
        if len(rows) == 1:
            continue
        cosine = (
            normalised(truth[rows], noise=noise) @ normalised(predicted[rows], noise=noise).T
        )  # [measured, predicted]
        before = position(-cosine, np.arange(len(rows)), tie=config.tie)
        scores[rows] = np.where(directed(truth[rows], noise=noise), before / len(rows), np.nan)
    return scores


METRIC = Metric(
    id="perturbench.cosine_rank_logfc@1",
    title="rank by cosine of log fold changes",
    direction="lower",
    optimum=0.0,
    chance=chance,
    needs="means",
    undefined="excluded",
    undefined_when="the condition is alone in its context, or no gene was measured to change",
    discrimination="exact",
)
