"""Correlation of deltas on all genes, the 20 most differential, and the 1000 with the highest control expression.

``Pearson_g(m - c, mhat - c)`` with the true matched control mean c in both. ``_top20_de``: the genes of the truth
with the largest |t| against control (Welch). ``_top1000``: the genes with the largest c. Sources: GEARS (Roohani et
al. 2024), ``pearson_delta`` and its top-20 DE form; Ahlmann-Eltze et al. 2025 for the 1000 highest.

A predicted delta that is the same for every gene says nothing and scores 0, which is chance; a condition whose
measured delta is, is excluded and counted.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np

from perturbcast.metrics.comparison import Comparison
from perturbcast.metrics.de_ranking import expressed_genes, top_genes
from perturbcast.metrics.descriptor import Metric
from perturbcast.metrics.profiles import centred, directed, rounding, similarity

__all__ = ["METRICS", "Config", "score"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Parameters of the gene set.

    Attributes:
        genes: ``all``, ``de`` (20 genes by |t|) or ``expressed`` (1000 genes by control mean).
    """

    genes: Literal["all", "de", "expressed"] = "all"


def score(comparison: Comparison, config: Config) -> np.ndarray:
    """Correlation per condition [condition], -1 to 1; NaN where undefined."""
    truth = comparison.truth
    measured, predicted = truth.delta, comparison.delta
    if config.genes != "all":
        genes = top_genes(truth, 20) if config.genes == "de" else expressed_genes(truth, 1000)
        measured, predicted = (np.take_along_axis(x, genes, axis=1) for x in (measured, predicted))
    measured, predicted = centred(measured), centred(predicted)
    noise = rounding(comparison.predicted) * float(np.abs(truth.control).max(initial=1.0))
    return np.where(directed(measured, noise=noise), similarity(measured, predicted, noise=noise), np.nan)


METRICS = tuple(
    Metric(
        id=f"gears.pearson_delta{name}@1",
        title=f"Pearson of deltas{title}",
        direction="higher",
        optimum=1.0,
        chance=0.0,
        needs="means",
        undefined="excluded",
        undefined_when="the measured delta is the same for every gene",
        config=config,
    )
    for name, title, config in (
        ("", "", Config()),
        ("_top20_de", ", top 20 DE genes", Config(genes="de")),
        ("_top1000", ", 1000 highest genes", Config(genes="expressed")),
    )
)
