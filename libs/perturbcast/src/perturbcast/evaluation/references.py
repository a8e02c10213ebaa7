"""Floors, ceilings and degenerate predictors of one truth: built, scored once, and held to chance.

Axes: C conditions, G genes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from perturbcast.evaluation.bounds import Bounds, References, score_bounds
from perturbcast.evaluation.ceilings import ceilings_of
from perturbcast.evaluation.cells import MovedCells
from perturbcast.evaluation.degenerate import check_chance, degenerate_of
from perturbcast.evaluation.replicates import Halves, Measured, halves
from perturbcast.metrics import Comparison, Measure, Truth

__all__ = ["bounds_of", "floors_of"]


def floors_of(measured: Measured) -> dict[str, Comparison]:
    """The predictions that every model has to beat.

    ``control``: nothing changes. ``train_mean``: the mean perturbed train profile, whatever is asked; absent where
    the truth brings none.
    """
    truth = measured.truth

    def constant(mean: np.ndarray, stored: np.ndarray | None) -> Comparison:
        moved = MovedCells(controls=measured.stand_ins, delta=mean - truth.control, smallest=measured.smallest)
        return Comparison(truth=truth, predicted=mean, cells=moved, stored_predicted=stored)

    floors = {"control": constant(truth.control, truth.stored_control)}
    if truth.train_mean is not None:
        profile = np.tile(truth.train_mean, (len(truth.conditions), 1))
        stored = None if truth.stored_mean is None else profile.astype(truth.stored_mean.dtype)
        floors["train_mean"] = constant(profile, stored)
    return floors


def bounds_of(
    measured: Measured,
    *,
    panel: Sequence[Measure],
    complete: bool,
    weight: float | None,
    seed: int,
    replicates: tuple[Halves, Truth] | None = None,
) -> Bounds:
    """Bounds of every metric of ``panel`` on one truth.

    Args:
        measured: the truth and its cells.
        panel: metrics.
        complete: ceilings and degenerate predictors too, not only floors.
        weight: of the ceiling ``interpolated``, from validation; None leaves it out.
        seed: of the draws.
        replicates: halves and replicate of the truth where they were drawn elsewhere; None draws them.

    Raises:
        ValueError: a predictor that knows nothing does not score chance.
    """
    floors = floors_of(measured)
    absent = (
        {} if "train_mean" in floors else {"train_mean": "no train data were given; with files, name them by --train"}
    )
    if not complete:
        return score_bounds(References(floors=floors, absent=absent), panel=panel)
    if weight is None:
        absent["interpolated"] = "its weight is chosen on validation conditions of a split"
    divided, again = replicates or (halves(measured, seed=seed), None)
    ceilings, undivided = ceilings_of(measured, divided, weight=weight, seed=seed, again=again)
    degenerate, unanswered = degenerate_of(measured, seed=seed)
    references = References(
        floors=floors, ceilings=ceilings, degenerate=degenerate, undefined=undivided | unanswered, absent=absent
    )
    bounds = score_bounds(references, panel=panel)
    check_chance(bounds, panel=panel, truth=measured.truth)
    return bounds
