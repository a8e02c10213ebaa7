"""How many genes are significant in the truth, and how many in the prediction.

Significant: FDR below 0.05 by the Mann-Whitney test of the condition's cells against the true controls
(``mann_whitney``); the predicted cells are tested like the measured ones, so that their dispersion counts. Source:
cell-eval 0.8.2, ``de_nsig_counts_real`` and ``de_nsig_counts_pred``. The optimum of both is the number in the
truth: the first is there to be read beside the second. Always defined.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np

from perturbcast.metrics.comparison import Comparison
from perturbcast.metrics.descriptor import Metric
from perturbcast.metrics.mann_whitney import measured_expression, predicted_expression

__all__ = ["METRICS", "Config", "optimum", "score"]

Side = Literal["real", "pred"]
SIDES: dict[Side, str] = {"real": "truth", "pred": "prediction"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Which side is counted.

    Attributes:
        side: ``real`` for the truth, ``pred`` for the prediction (genes).
    """

    side: Side = "pred"


def optimum(comparison: Comparison, config: Config) -> np.ndarray:  # noqa: ARG001
    """Number of significant genes of the truth [condition]."""
    n: np.ndarray = measured_expression(comparison).significant.sum(axis=1)
    return n


def score(comparison: Comparison, config: Config) -> np.ndarray:
    """Number of significant genes per condition [condition]."""
    side = measured_expression(comparison) if config.side == "real" else predicted_expression(comparison)
    n: np.ndarray = side.significant.sum(axis=1)
    return n


METRICS = tuple(
    Metric(
        id=f"celleval.de_nsig_counts_{side}@1",
        title=f"significant genes of the {name}",
        direction="target",
        optimum=optimum,
        chance=None,
        needs="cells",
        undefined="excluded",
        undefined_when="never",
        config=Config(side=side),
    )
    for side, name in SIDES.items()
)
