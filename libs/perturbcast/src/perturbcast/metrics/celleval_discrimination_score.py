"""Whether a condition's own truth is the one nearest to its prediction, among all conditions of its context.

For a prediction p the measured deltas of all P conditions of the context are sorted by their distance to the
predicted delta; ``1 - position / P`` of the right one: 1 is best. Distances: l1, l2, cosine. The gene of the same
name as the perturbation is left out of p's own query. Source: cell-eval 0.8.2, ``discrimination_score_l1``,
``_l2``, ``_cosine``. Ties share their mean position (the reference leaves them to an unstable sort).

Chance is (P + 1) / 2P. Leaving a gene out for one query only lifts a constant predictor above it (0.510 to 0.54-0.58
where targets are measured): ``Config(exclude_target=False)`` looks at all genes and gives a constant exactly chance,
as ``perturbcast.normalised_inverse_rank`` does. The ids keep the reference's rule, since its digits are their promise:
for them chance is that of targets that are not measured.

Alone in its context a condition cannot be mistaken for another: it is excluded and counted. A delta of no change is
at cosine distance 1 from everything.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np

from perturbcast.metrics.comparison import Comparison
from perturbcast.metrics.descriptor import Metric
from perturbcast.metrics.profiles import distances as norm_distances
from perturbcast.metrics.profiles import normalised, rounding
from perturbcast.metrics.ranks import position

__all__ = ["METRICS", "Config", "chance", "score"]


Distance = Literal["l1", "l2", "cosine"]
DISTANCES: tuple[Distance, ...] = ("l1", "l2", "cosine")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Parameters of the ranking.

    Attributes:
        distance: between deltas: l1 or l2 (units of X), or cosine (dimensionless).
        exclude_target: leave the perturbed gene out of its own query, as the reference does.
        tie: distances no further apart than this are tied; above rounding of equal profiles.
    """

    distance: Distance = "l1"
    exclude_target: bool = True
    tie: float = 1e-12


def chance(comparison: Comparison, config: Config) -> np.ndarray:  # noqa: ARG001
    """(P + 1) / 2P [condition], P the number of conditions in the context."""
    expected = np.empty(len(comparison.truth.conditions))
    for rows in comparison.truth.rows_of_contexts:
        expected[rows] = (len(rows) + 1) / (2 * len(rows))
    return expected


def score(comparison: Comparison, config: Config) -> np.ndarray:
    """1 - position over number of conditions [condition], 0 to 1; NaN where undefined."""
    means = comparison.as_stored
    noise = rounding(means.predicted)
    column = {gene: k for k, gene in enumerate(comparison.truth.genes)}
    scores = np.full(len(means.truth), np.nan)
    for rows in comparison.truth.rows_of_contexts:
        if len(rows) == 1:
            continue
        # the control is taken off in float64, or deltas of float32 means would differ from those of the reference
        truth, predicted = (
            x[rows].astype(np.float64) - means.control[rows].astype(np.float64) for x in (means.truth, means.predicted)
        )
        distances = _distances(predicted, truth, config.distance, noise=noise)  # [predicted, measured]
        for k, row in enumerate(rows):
            gene = column.get(comparison.truth.conditions[row].perturbation)
            if config.exclude_target and gene is not None:
                held = truth[:, gene].copy(), predicted[k, gene]
                truth[:, gene] = predicted[k, gene] = 0.0
                distances[k] = _distances(predicted[[k]], truth, config.distance, noise=noise)[0]
                truth[:, gene], predicted[k, gene] = held
        before = position(distances, np.arange(len(rows)), tie=config.tie)
        scores[rows] = 1 - before / len(rows)
    return scores


def _distances(a: np.ndarray, b: np.ndarray, distance: Distance, *, noise: float) -> np.ndarray:
    if distance == "cosine":
        return 1 - normalised(a, noise=noise) @ normalised(b, noise=noise).T
    return norm_distances(a, b, norm=distance)


METRICS = tuple(
    Metric(
        id=f"celleval.discrimination_score_{distance}@1",
        title=f"discrimination by {distance}",
        direction="higher",
        optimum=1.0,
        chance=chance,
        needs="means",
        undefined="excluded",
        undefined_when="the condition is alone in its context",
        discrimination="lifted",
        config=Config(distance=distance),
    )
    for distance in DISTANCES
)
