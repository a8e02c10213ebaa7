"""Whether the interaction of a combination is predicted: error of its magnitude.

A double delta is written as ``d_ab = w_a d_a + w_b d_b`` of the *measured* single deltas of the same context, w by
least squares; the magnitude of the interaction is ``sqrt(w_a^2 + w_b^2)``: above sqrt(2) the two strengthen each
other, below they are redundant. Score: ``|magnitude of the truth - magnitude of the prediction|``. Source: GEARS
(Roohani et al. 2024) after Norman et al. 2019, who fit w robustly (Theil-Sen); least squares is ours, so that there
is one answer.

Excluded and counted: single perturbations, combinations of more than two, and doubles whose singles are not both
among the scored conditions of the context, or have proportional deltas.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from perturbcast.metrics.comparison import Comparison
from perturbcast.metrics.descriptor import Metric
from perturbcast.schema import Condition

__all__ = ["METRIC", "Config", "score"]

METRIC = Metric(
    id="gears.genetic_interaction_magnitude@1",
    title="error of interaction magnitude",
    direction="lower",
    optimum=0.0,
    chance=None,
    needs="means",
    undefined="excluded",
    undefined_when="not a double whose singles are both measured among the scored conditions of its context",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Parameters of the fit.

    Attributes:
        condition_number: single deltas (as two columns) above this are proportional.
    """

    condition_number: float = 1e6


def score(comparison: Comparison, config: Config) -> np.ndarray:
    """Error per condition [condition], dimensionless; NaN where undefined."""
    truth = comparison.truth
    place = {condition: row for row, condition in enumerate(truth.conditions)}
    scores = np.full(len(truth.conditions), np.nan)
    for row, condition in enumerate(truth.conditions):
        singles = [place.get(Condition(target, condition.context)) for target in condition.targets]
        if len(singles) != 2 or None in singles:
            continue
        columns = np.stack([truth.delta[single] for single in singles if single is not None], axis=1)
        if np.linalg.cond(columns) > config.condition_number:
            continue
        both = np.stack([truth.delta[row], comparison.delta[row]], axis=1)
        weights = np.linalg.lstsq(columns, both, rcond=None)[0]
        measured, predicted = np.linalg.norm(weights, axis=0)
        scores[row] = abs(measured - predicted)
    return scores
