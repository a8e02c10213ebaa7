"""Correlation over genes of the predicted with the measured mean profile.

``Pearson_g(m, mhat)`` of the means of X. Source: PerturBench, ``pearson`` on the aggregation ``average`` (Wu et
al. 2024, arXiv 2408.10609; commit d357dfa). The baseline expression of genes dominates it: predicting no
change scores near 1, so read it beside its floors.

A prediction that is the same for every gene scores 0 (the reference gives NaN). A condition whose measured mean is
the same for every gene is excluded and counted.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from perturbcast.metrics.comparison import Comparison
from perturbcast.metrics.descriptor import Metric
from perturbcast.metrics.profiles import centred, directed, rounding, similarity

__all__ = ["METRIC", "Config", "score"]

METRIC = Metric(
    id="perturbench.pearson_average@1",
    title="Pearson of means",
    direction="higher",
    optimum=1.0,
    chance=None,
    needs="means",
    undefined="excluded",
    undefined_when="the measured mean is the same for every gene",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """No parameters: the id fixes them."""


def score(comparison: Comparison, config: Config) -> np.ndarray:  # noqa: ARG001
    """Pearson correlation per condition [condition], -1 to 1; NaN where undefined."""
    means = comparison.as_stored
    truth, predicted = (centred(x.astype(np.float64)) for x in (means.truth, means.predicted))
    noise = rounding(means.predicted)
    return np.where(directed(truth, noise=noise), similarity(truth, predicted, noise=noise), np.nan)
