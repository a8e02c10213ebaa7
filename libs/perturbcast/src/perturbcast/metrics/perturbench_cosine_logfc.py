"""Cosine over genes of the predicted with the measured log fold change.

``cos_g(L(m), L(mhat))`` with ``L(x) = log2(x + 0.1) - log2(c + 0.1)`` on the log1p means as given, c the true
matched control. Source: PerturBench, ``cosine`` on the aggregation ``logfc`` (arXiv 2408.10609; commit
d357dfa).

A prediction of no change has no direction and scores 0, which is chance; the reference gives NaN. A
condition that was measured without any change is undefined for every prediction: it is excluded and counted.
Profiles are not centred: a shift that all conditions share lifts even shuffled answers above 0, so read it
beside its rank.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from perturbcast.metrics.comparison import Comparison
from perturbcast.metrics.descriptor import Metric
from perturbcast.metrics.profiles import directed, log2_fold_change, rounding, similarity

__all__ = ["METRIC", "Config", "score"]

METRIC = Metric(
    id="perturbench.cosine_logfc@1",
    title="cosine of log fold changes",
    direction="higher",
    optimum=1.0,
    chance=0.0,
    needs="means",
    undefined="excluded",
    undefined_when="no gene was measured to change",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """No parameters: the id fixes them."""


def score(comparison: Comparison, config: Config) -> np.ndarray:  # noqa: ARG001
    """Cosine per condition [condition], -1 to 1; NaN where undefined."""
    means = comparison.as_stored
    truth, predicted = (log2_fold_change(x, means.control) for x in (means.truth, means.predicted))
    noise = rounding(means.predicted)
    return np.where(directed(truth, noise=noise), similarity(truth, predicted, noise=noise), np.nan)
