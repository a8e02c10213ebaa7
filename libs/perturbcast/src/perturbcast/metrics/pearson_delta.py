"""Correlation of deltas against both references: the control, and what train conditions have in common.

``Pearson_g(m - o, mhat - o)`` over all genes with o the true matched control mean (``_control``), or the mean of the
train condition means (``_perturbed``). The first pays for the response that all perturbations share, which the mean
of train conditions has as well; the second pays for what sets a condition apart from it, so that this mean scores 0
(Vinas Torne et al. 2025). The two are read together: a model that is good by the first alone has learned the shared
response. Where the test context is not one of train, the reference also carries the difference of the baselines, and
no change at all scores above 0 by ``_perturbed``: read it beside its floor there.

A prediction that is the reference up to a constant says nothing and scores 0, which is chance. A condition that was
measured as the reference is excluded and counted, as is, for ``_perturbed``, every condition where the train mean is
not known.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np

from perturbcast.metrics.comparison import Comparison
from perturbcast.metrics.delta_correlation import delta_correlation
from perturbcast.metrics.descriptor import Metric

__all__ = ["METRICS", "Config", "score"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Which reference.

    Attributes:
        reference: what is taken off both profiles: ``control`` or ``perturbed`` (train conditions).
    """

    reference: Literal["control", "perturbed"] = "control"


def score(comparison: Comparison, config: Config) -> np.ndarray:
    """Correlation per condition [condition], -1 to 1; NaN where undefined."""
    truth = comparison.truth
    origin = truth.control if config.reference == "control" else truth.train_mean
    return np.full(len(truth.conditions), np.nan) if origin is None else delta_correlation(comparison, origin)


METRICS = (
    Metric(
        id="perturbcast.pearson_delta_control@1",
        title="Pearson of deltas, control reference",
        direction="higher",
        optimum=1.0,
        chance=0.0,
        needs="means",
        undefined="excluded",
        undefined_when="the measured delta is the same for every gene",
        config=Config(reference="control"),
    ),
    Metric(
        id="perturbcast.pearson_delta_perturbed@1",
        title="Pearson of deltas, perturbed reference",
        direction="higher",
        optimum=1.0,
        chance=0.0,
        needs="train",
        undefined="excluded",
        undefined_when="the train mean is not known (with files, name the train cells by --train), or the "
        "condition's mean equals it",
        config=Config(reference="perturbed"),
    ),
)
