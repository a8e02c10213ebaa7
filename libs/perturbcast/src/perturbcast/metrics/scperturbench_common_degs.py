"""How many of the 100 most surely changed genes a prediction's own test ranks among its 100.

``|T and P| / 100``: T the genes of the truth with the largest |t| against control (Welch), P those of the predicted
cells against the same control cells. Source: scPerturBench (bm2-lab), overlap of top-k gene sets; formula only. The
prediction's dispersion enters P, so that a small one is rewarded (``perturbcast.de_overlap_top50`` uses the truth's).

Genes tied at the edge of P share the places left: a prediction of no change gets exactly chance, 100 over the number
of genes. With no more than 100 genes both sets are everything: the conditions are excluded and counted.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from perturbcast.metrics.cell_moments import control_moments, predicted_moments
from perturbcast.metrics.comparison import Comparison
from perturbcast.metrics.de_ranking import top_genes
from perturbcast.metrics.descriptor import Metric
from perturbcast.metrics.ranks import membership

__all__ = ["METRIC", "Config", "chance", "score"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Parameters of the gene set.

    Attributes:
        top: number of genes.
    """

    top: int = 100


def chance(comparison: Comparison, config: Config) -> np.ndarray:
    """Set size over the number of genes [condition]; NaN where undefined."""
    n, genes = comparison.truth.mean.shape
    return np.full(n, config.top / genes if genes > config.top else np.nan)


def score(comparison: Comparison, config: Config) -> np.ndarray:
    """Share of the truth's set that the prediction finds [condition], 0 to 1; NaN where undefined."""
    truth = comparison.truth
    scores = np.full(len(truth.conditions), np.nan)
    if len(truth.genes) <= config.top:
        return scores
    predicted, control = predicted_moments(comparison), control_moments(comparison)
    error = np.sqrt(predicted.error + control.error)
    delta = np.abs(predicted.mean - control.mean)
    t = np.divide(delta, error, out=np.where(delta > 0, np.inf, 0.0), where=error > 0)
    for row, genes in enumerate(top_genes(truth, config.top)):
        scores[row] = membership(t[row], config.top)[genes].mean()
    return scores


METRIC = Metric(
    id="scperturbench.common_degs_top100@1",
    title="common DEGs, top100 genes",
    direction="higher",
    optimum=1.0,
    chance=chance,
    needs="cells",
    undefined="excluded",
    undefined_when="there are no more than 100 genes",
)
