"""Correlation over genes of the predicted with the measured delta.

``Pearson_g(m - c, mhat - c)`` with the true matched control mean c in both, so that a prediction's own
controls cannot lift it (cell-eval subtracts those; they are equal in its usual input). Source: cell-eval
0.8.2, ``pearson_delta``.

Its chance is 0 only for a prediction that knows nothing of the measured controls: a model fitted on deltas from
the same control cells shares their sampling error and scores about 0.01 to 0.04 with nothing to learn at 100
controls per context (none is left at 900).

A predicted delta that is constant over genes says nothing about them and scores 0, which is chance; the
reference gives NaN. A condition whose measured delta is constant over genes is undefined for every
prediction: it is excluded and counted.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from perturbcast.metrics.comparison import Comparison
from perturbcast.metrics.descriptor import Metric
from perturbcast.metrics.profiles import centred, directed, rounding, similarity

__all__ = ["METRIC", "Config", "score"]

METRIC = Metric(
    id="celleval.pearson_delta@1",
    title="Pearson of deltas",
    direction="higher",
    optimum=1.0,
    chance=0.0,
    needs="means",
    undefined="excluded",
    undefined_when="the measured delta is the same for every gene",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """No parameters: the id fixes them."""


def score(comparison: Comparison, config: Config) -> np.ndarray:  # noqa: ARG001
    """Pearson correlation per condition [condition], -1 to 1; NaN where undefined."""
    truth, predicted = centred(comparison.truth.delta), centred(comparison.delta)
    noise = rounding(comparison.predicted) * float(np.abs(comparison.truth.control).max(initial=1.0))
    return np.where(directed(truth, noise=noise), similarity(truth, predicted, noise=noise), np.nan)
