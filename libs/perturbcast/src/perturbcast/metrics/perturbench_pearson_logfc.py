"""Correlation over genes of the predicted with the measured log fold change.

``Pearson_g(L(m), L(mhat))`` with ``L(x) = log2(x + 0.1) - log2(c + 0.1)`` on the log1p means as given, c the true
matched control. Source: PerturBench, ``pearson`` on the aggregation ``logfc`` (Wu et al. 2024, arXiv 2408.10609;
commit d357dfa).

A predicted change that is the same for every gene scores 0, which is chance (the reference gives NaN). A condition
whose measured change is the same for every gene is excluded and counted.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from perturbcast.metrics.comparison import Comparison
from perturbcast.metrics.descriptor import Metric
from perturbcast.metrics.profiles import centred, directed, log2_fold_change, rounding, similarity

__all__ = ["METRIC", "Config", "score"]

METRIC = Metric(
    id="perturbench.pearson_logfc@1",
    title="Pearson of log fold changes",
    direction="higher",
    optimum=1.0,
    chance=0.0,
    needs="means",
    undefined="excluded",
    undefined_when="the measured change is the same for every gene",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """No parameters: the id fixes them."""


def score(comparison: Comparison, config: Config) -> np.ndarray:  # noqa: ARG001
    """Pearson correlation per condition [condition], -1 to 1; NaN where undefined."""
    means = comparison.as_stored
    truth, predicted = (centred(log2_fold_change(x, means.control)) for x in (means.truth, means.predicted))
    noise = rounding(means.predicted)
    return np.where(directed(truth, noise=noise), similarity(truth, predicted, noise=noise), np.nan)
