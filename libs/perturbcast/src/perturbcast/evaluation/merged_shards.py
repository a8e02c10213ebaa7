"""Shards put together: metrics of means from the means of all conditions, metrics of cells as the shards give them.

What needs all conditions is computed here and nowhere else: ranks among the conditions of a context, correlations over
conditions, the answers of predictors that peek at all of them, the weight of the ceiling ``interpolated``, the test of
chance. No cell is looked at; memory is some dozen rows [gene] per condition.

Axes: C conditions, G genes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import scipy.sparse as sp

from perturbcast.evaluation.cells import MeasuredCells
from perturbcast.evaluation.held_out import MAX_CONTROLS, Compared, compared, compared_untwisted
from perturbcast.evaluation.references import bounds_of
from perturbcast.evaluation.replicates import Halves, Measured
from perturbcast.evaluation.scoring import score
from perturbcast.evaluation.shard_cells import unpacked
from perturbcast.metrics import Measure, Truth
from perturbcast.schema import Condition, Prediction

__all__ = ["halves_from", "merged", "truth_from"]


def truth_from(
    means: Mapping[str, np.ndarray],
    *,
    conditions: Sequence[Condition],
    genes: Sequence[str],
    train_mean: np.ndarray | None,
) -> Truth:
    """The truth, without cells, that the arrays of ``shard_means.means_of`` say."""
    return Truth(
        conditions=tuple(conditions),
        genes=tuple(genes),
        mean=means["mean"],
        control=means["control"],
        error=means["error"],
        train_mean=train_mean,
    )


def halves_from(means: Mapping[str, np.ndarray], truth: Truth) -> Halves:
    """Its halves."""
    other = dataclasses.replace(truth, mean=means["second_mean"], error=means["second_error"], _shared={})
    return Halves(
        first=_elsewhere(truth), first_mean=means["first_mean"], truth=other, divided=np.asarray(means["size"] >= 4)
    )


def merged(
    means: Mapping[str, np.ndarray],
    truth: Truth,
    *,
    predictions: Mapping[str, Prediction],
    cells: Mapping[str, np.ndarray],
    notes: Mapping[str, Sequence[str]],
    panel: Sequence[Measure],
    bounds: bool,
    weight: float | None,
    seed: int,
) -> dict[str, Compared]:
    """``held_out.evaluate_predictions`` from the results of all shards.

    Args:
        means: of all conditions, in the order of ``truth``.
        truth: ``truth_from`` them.
        predictions: model -> its answers.
        cells: arrays of ``shard_cells.cell_scores`` for all conditions.
        notes: of the metrics of cells.
        panel, bounds, weight, seed: as there.

    Raises:
        ValueError: as there.
    """
    nowhere = _elsewhere(truth)
    measured = Measured(
        truth=truth,
        cells=nowhere,
        controls=nowhere,
        stand_ins=nowhere,
        smallest=0.0,  # of expression; nothing is moved here
        relative=True,
        max_controls=MAX_CONTROLS,
    )
    replicates = None
    if bounds:
        again = dataclasses.replace(
            truth, mean=means["again_mean"], control=means["again_control"], error=means["again_error"], _shared={}
        )
        replicates = halves_from(means, truth), again
    of_means = [measure for measure in panel if measure.metric.needs != "cells"]
    of_truth = bounds_of(measured, panel=of_means, complete=bounds, weight=weight, seed=seed, replicates=replicates)
    labels = [(condition.context, condition.perturbation) for condition in truth.conditions]
    found = {}
    for model, prediction in predictions.items():
        comparison = compared_untwisted(measured, prediction) if bounds else compared(measured, prediction)
        scored = score(comparison, bounds=of_truth, panel=of_means, labels=labels)
        known = {one.metric.id: one for one in scored.metrics}
        for measure in panel:
            if measure.metric.needs == "cells":
                known[measure.metric.id] = unpacked(cells, notes, model=model, measure=measure)
        scored = dataclasses.replace(scored, metrics=tuple(known[measure.metric.id] for measure in panel))
        found[model] = Compared(scored=scored, comparison=dataclasses.replace(comparison, cells=None))
    return found


def _elsewhere(truth: Truth) -> MeasuredCells:
    """No cells: those of the truth were looked at by its shards."""
    empty = np.empty(0, dtype=np.int64)
    return MeasuredCells(
        x=sp.csr_matrix((0, len(truth.genes)), dtype=np.float32),  # type: ignore[arg-type]  # its stubs lack shapes
        rows=[empty] * len(truth.conditions),
        keys=[str(condition) for condition in truth.conditions],
    )
