"""How many of the measured top differential genes are among the predicted top.

Significant genes of each side are sorted by |log2 fold change|, largest first; with k the smaller of the named
number and the number of significant genes of the truth (``N``: all of them), ``|top-k truth and top-k prediction| /
k``. Source: cell-eval 0.8.2, ``overlap_at_N``, ``_50``, ``_100``, ``_200``, ``_500``. Significant: FDR below 0.05
by the Mann-Whitney test of the condition's cells against the true controls (``mann_whitney``); the predicted cells
are tested like the measured ones, so that their dispersion counts. Genes with equal fold changes keep the order of
the file, as in the reference.

Where the truth has no significant gene there is nothing to find: the reference prints 0, which would keep a perfect
prediction from its optimum. The 0 is listed, left out of the mean, and counted.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from perturbcast.metrics.comparison import Comparison
from perturbcast.metrics.descriptor import Metric
from perturbcast.metrics.mann_whitney import measured_expression
from perturbcast.metrics.significant_sets import SIZES, shared_share

__all__ = ["METRICS", "Config", "counts", "score"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Parameters of the top set.

    Attributes:
        top: genes at most; None for all significant ones.
    """

    top: int | None = None


def counts(comparison: Comparison, config: Config) -> np.ndarray:  # noqa: ARG001
    """The truth has a significant gene [condition] bool."""
    return np.asarray(measured_expression(comparison).significant.any(axis=1))


def score(comparison: Comparison, config: Config) -> np.ndarray:
    """Shared share of the top genes per condition [condition], 0 to 1."""
    return shared_share(comparison, top=config.top, sized_by="truth")


METRICS = tuple(
    Metric(
        id=f"celleval.overlap_at_{top or 'N'}@1",
        title=f"DE overlap at {top or 'N'}",
        direction="higher",
        optimum=1.0,
        chance=None,
        needs="cells",
        undefined="excluded",
        undefined_when="the truth has no significant gene",
        config=Config(top=top),
        counts=counts,
    )
    for top in SIZES
)
