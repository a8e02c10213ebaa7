"""Correlation of deltas against the control, and against the mean perturbed profile of the train conditions.

``Pearson_g(m - o, mhat - o)`` with the reference o the true matched control mean (``_control``) or the mean of
train condition means (``_perturbed``), over all genes or over the 20 of the truth with the largest |t|
(``_top20``). Against the control a prediction is paid for the effect that all perturbations share; against the
perturbed mean it is not. Source: Systema (Vinas Torne et al. 2025), ``corr_all_allpert`` and ``corr_20de_allpert``
with either reference.

A predicted profile that is the reference itself says nothing and scores 0, which is chance. A condition whose
measured profile is the reference up to a constant is excluded and counted, as is every condition where the train
mean is not known (``evaluate --train``).
"""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np

from perturbcast.metrics.comparison import Comparison
from perturbcast.metrics.de_ranking import top_genes
from perturbcast.metrics.delta_correlation import delta_correlation
from perturbcast.metrics.descriptor import Metric

__all__ = ["METRICS", "Config", "score"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Parameters of the comparison.

    Attributes:
        reference: what is taken off both profiles: ``control`` or ``perturbed`` (train conditions).
        top: number of genes; None for all.
    """

    reference: Literal["control", "perturbed"] = "control"
    top: int | None = None


def score(comparison: Comparison, config: Config) -> np.ndarray:
    """Correlation per condition [condition], -1 to 1; NaN where undefined."""
    truth = comparison.truth
    origin = truth.control if config.reference == "control" else truth.train_mean
    if origin is None:
        return np.full(len(truth.conditions), np.nan)
    genes = None if config.top is None else top_genes(truth, config.top)
    return delta_correlation(comparison, origin, genes=genes)


METRICS = (
    *(
        Metric(
            id=f"systema.pearson_delta_control{name}@1",
            title=f"Pearson of deltas, control reference{title}",
            direction="higher",
            optimum=1.0,
            chance=0.0,
            needs="means",
            undefined="excluded",
            undefined_when="the measured delta is the same for every gene",
            config=Config(reference="control", top=top),
        )
        for name, title, top in (("", "", None), ("_top20", ", top 20 genes", 20))
    ),
    *(
        Metric(
            id=f"systema.pearson_delta_perturbed{name}@1",
            title=f"Pearson of deltas, perturbed reference{title}",
            direction="higher",
            optimum=1.0,
            chance=0.0,
            needs="train",
            undefined="excluded",
            undefined_when="the train mean is not known (with files, name the train cells by --train), or the "
            "condition's mean equals it",
            config=Config(reference="perturbed", top=top),
        )
        for name, title, top in (("", "", None), ("_top20", ", top 20 genes", 20))
    ),
)
