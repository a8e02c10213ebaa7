"""How well the size of the predicted effect tells truly changed genes from the others.

Labels: the truth's differential genes (z test of the measured delta, Benjamini-Hochberg 5 %). Scores: ``|dhat_g| /
s_g`` with s the standard error of the *truth's* delta. ``_average_precision`` is the area under the precision-recall
curve, ``_roc_auc`` the share of pairs in the right order; ties enter together, and count half. Genes that never vary
in the truth take no part.

The prediction brings no p-values and no spread of its own, so neither can be bought by inventing a small dispersion,
and exact means without any are not punished (per-cell tests give those an ROC AUC of 0.42). Chance is the share of
differential genes, and 0.5. A condition where no gene is truly differential, or all are, is excluded and counted.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np

from perturbcast.metrics.comparison import Comparison
from perturbcast.metrics.descriptor import Metric
from perturbcast.metrics.ranks import average_precision, roc_area

__all__ = ["METRICS", "Config", "chance", "score"]

AREAS = {"average_precision": average_precision, "roc_auc": roc_area}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Parameters of the score.

    Attributes:
        area: ``average_precision`` or ``roc_auc``.
        fdr: false discovery rate (0 to 1) of 'truly differential'.
    """

    area: Literal["average_precision", "roc_auc"] = "average_precision"
    fdr: float = 0.05


def chance(comparison: Comparison, config: Config) -> np.ndarray:
    """Share of differential among varying genes, or 0.5 [condition]; NaN where undefined."""
    varies = (comparison.truth.standard_error > 0).sum(axis=1)
    wanted = comparison.truth.differential(fdr=config.fdr).sum(axis=1)
    expected = wanted / np.maximum(varies, 1) if config.area == "average_precision" else np.full(len(varies), 0.5)
    return np.where((wanted > 0) & (wanted < varies), expected, np.nan)


def score(comparison: Comparison, config: Config) -> np.ndarray:
    """Area per condition [condition], 0 to 1; NaN where undefined."""
    truth = comparison.truth
    claimed = truth.over_standard_error(comparison.delta)
    scores = np.full(len(claimed), np.nan)
    for row, wanted in enumerate(truth.differential(fdr=config.fdr)):
        varies = truth.standard_error[row] > 0
        if 0 < wanted.sum() < varies.sum():
            scores[row] = AREAS[config.area](wanted[varies], claimed[row, varies])
    return scores


METRICS = tuple(
    Metric(
        id=f"perturbcast.de_recovery_{config.area}@1",
        title=title,
        direction="higher",
        optimum=1.0,
        chance=chance,
        needs="means",
        undefined="excluded",
        undefined_when="no gene is truly differential, or all are",
        config=config,
    )
    for title, config in (
        ("average precision of DE genes", Config(area="average_precision")),
        ("ROC AUC of DE genes", Config(area="roc_auc")),
    )
)
