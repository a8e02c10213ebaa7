"""How many of the most surely changed genes a prediction ranks at its top.

The truth's set T are its 50 genes with the largest |d| / s among the truly differential ones (z test,
Benjamini-Hochberg 5 %; fewer than 50 where fewer are), s the standard error of the measured delta. The
prediction's set P are its |T| genes with the largest |dhat| / s. Score: ``|T and P| / |T|``.

Both rankings use the truth's s. A prediction brings no p-values and no spread of its own, so that neither
copying exact means without dispersion nor inventing a small dispersion moves the score; per-cell tests on
predictions can be bought that way. Genes tied at the edge of P share the places left, so a prediction of no
change gets exactly the chance value, |T| over the number of genes that vary.

A condition without a truly differential gene asks nothing: it is excluded and counted.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from perturbcast.metrics.comparison import Comparison
from perturbcast.metrics.descriptor import Metric
from perturbcast.metrics.ranks import membership

__all__ = ["METRIC", "Config", "chance", "score"]

TOP = 50


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Parameters of the truth's test; the id fixes the number of genes.

    Attributes:
        fdr: false discovery rate (0 to 1) of 'truly differential'.
    """

    fdr: float = 0.05


def _set_sizes(comparison: Comparison, config: Config) -> np.ndarray:
    return np.minimum(comparison.truth.differential(fdr=config.fdr).sum(axis=1), TOP)


def chance(comparison: Comparison, config: Config) -> np.ndarray:
    """|T| over the number of genes that vary [condition]; NaN where undefined."""
    varies = (comparison.truth.standard_error > 0).sum(axis=1)
    sizes = _set_sizes(comparison, config).astype(np.float64)
    return np.divide(sizes, varies, out=np.full(len(sizes), np.nan), where=sizes > 0)


def score(comparison: Comparison, config: Config) -> np.ndarray:
    """Share of the truth's set that the prediction finds [condition], 0 to 1; NaN where undefined."""
    truth = comparison.truth
    varies = truth.standard_error > 0
    surety = truth.over_standard_error(truth.delta)
    claimed = truth.over_standard_error(comparison.delta)
    scores = np.full(len(varies), np.nan)
    for row, size in enumerate(_set_sizes(comparison, config)):
        if size == 0:
            continue
        genes = np.flatnonzero(varies[row])
        wanted = np.zeros(len(genes), dtype=bool)
        wanted[np.argsort(-surety[row, genes], kind="stable")[:size]] = True
        scores[row] = wanted @ membership(claimed[row, genes], int(size)) / size
    return scores


METRIC = Metric(
    id="perturbcast.de_overlap_top50@1",
    title="top-50 DE overlap",
    direction="higher",
    optimum=1.0,
    chance=chance,
    needs="means",
    undefined="excluded",
    undefined_when="no gene is truly differential",
)
