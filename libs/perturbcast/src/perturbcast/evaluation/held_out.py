"""Scores a prediction against held-out cells of the dataset that its split was made from.

Axes: C conditions, G genes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp

from perturbcast.errors import UsageError
from perturbcast.evaluation.ceilings import best_weight
from perturbcast.evaluation.cells import MeasuredCells, MovedCells, drawn
from perturbcast.evaluation.degenerate import check_untwisted
from perturbcast.evaluation.references import bounds_of
from perturbcast.evaluation.replicates import Measured, halves
from perturbcast.evaluation.scoring import Scored, score
from perturbcast.metrics import Comparison, Truth, panel
from perturbcast.metrics.panels import SIGNATURES
from perturbcast.schema import Condition, PerturbationData, Prediction
from perturbcast.stores import CellFile, effects
from perturbcast.stores.signatures import UNIT

__all__ = [
    "Compared",
    "check_unit",
    "compared",
    "compared_untwisted",
    "evaluate_prediction",
    "evaluate_predictions",
    "interpolation_weight",
    "measure",
    "rows_of",
    "train_profile",
]


# Bounds of the work of metrics of cells, so that a screen with many controls costs no more than its conditions. Means
# and their errors use every cell.
MAX_CONTROLS = 2000  # control cells of a context, as in scPerturBench
MAX_MOVED = 200  # control cells that stand in for a predicted condition, as many as our E-distance looks at
RUN = 4096  # cells of a file on disk that are read at once


@dataclasses.dataclass(frozen=True, kw_only=True)
class Compared:
    """A model's scores with the comparison that they were made from."""

    scored: Scored
    comparison: Comparison


def train_profile(
    data: PerturbationData | CellFile, *, cells: Sequence[str], conditions: Sequence[Condition]
) -> np.ndarray:
    """Mean perturbed train profile [gene], one vote per condition: the floor ``train_mean``.

    Args:
        data: measured cells, in memory or on disk (then read a run of cells at a time, to the same bits).
        cells: barcodes of the train part; its controls are not looked at.
        conditions: conditions of the train part.

    Raises:
        ValueError: a condition has no cell among ``cells``.
    """
    rows = rows_of(data, cells=cells, conditions=conditions)
    empty = [str(c) for c, group in zip(conditions, rows, strict=True) if not len(group)]
    if empty:
        raise ValueError(
            f"A train profile needs cells of every train condition; {', '.join(empty[:5])} have none among the "
            f"{len(cells)} given. The part of the split and its list of conditions do not belong together."
        )
    weights = np.concatenate([np.full(len(group), 1 / (len(group) * len(rows))) for group in rows])
    order = np.concatenate(rows)
    if isinstance(data, PerturbationData):
        of_all: np.ndarray = data.x[order].T @ weights
        return of_all
    profile = np.zeros(len(data.genes))
    for first in range(0, len(order), RUN):
        picked = data.rows(order[first : first + RUN]).astype(np.float64)
        # the sum so far goes in as a cell of weight 1: cells are added one after the other, as above
        column = sp.vstack([sp.csr_matrix(profile), picked], format="csr").T
        profile = column @ np.concatenate([[1.0], weights[first : first + RUN]])
    return profile


def measure(
    data: PerturbationData, *, cells: Sequence[str], conditions: Sequence[Condition], train_mean: np.ndarray | None
) -> Measured:
    """The truth of held-out conditions, which every model of a pass shares.

    The truth of a condition is its mean over ``cells`` minus its matched measured controls. Metrics of cells look at
    no more than ``MAX_CONTROLS`` control cells of a context, and at ``MAX_MOVED`` moved ones as a prediction's.

    Args:
        data: measured cells.
        cells: barcodes of the part (validation or test) that is scored.
        conditions: conditions that ``cells`` holds.
        train_mean: mean perturbed train profile [gene], see ``train_profile``; None leaves its floor out.

    Raises:
        ValueError: a condition has no cell among ``cells``.
    """
    measured = effects(data, cells=cells, conditions=conditions)
    keys = [str(condition) for condition in conditions]
    context = data.obs["context"].astype(str).to_numpy()
    is_control = data.obs["is_control"].to_numpy()
    order = np.argsort(data.obs.index.to_numpy().astype(str), kind="stable")
    pools = {
        name: order[(is_control & (context == name))[order]] for name in {condition.context for condition in conditions}
    }
    every = [pools[condition.context] for condition in conditions]
    bounded = {name: drawn(name, pool, limit=MAX_CONTROLS, seed=0) for name, pool in pools.items()}
    tested = MeasuredCells(x=data.x, rows=[bounded[condition.context] for condition in conditions], keys=keys)
    moved = [drawn(key, pool, limit=MAX_MOVED, seed=0) for key, pool in zip(keys, every, strict=True)]
    stand_ins = MeasuredCells(x=data.x, rows=moved, keys=keys)
    own = MeasuredCells(x=data.x, rows=rows_of(data, cells=cells, conditions=conditions), keys=keys)
    truth = Truth.of(measured, cells=own, control_cells=tested, train_mean=train_mean)
    smallest = min(0.0, float(data.x.data.min(initial=0.0)))
    return Measured(
        truth=truth,
        cells=own,
        controls=MeasuredCells(x=data.x, rows=every, keys=keys),
        stand_ins=stand_ins,
        smallest=smallest,
        relative=True,
        max_controls=MAX_CONTROLS,
    )


def compared(measured: Measured, prediction: Prediction) -> Comparison:
    """A prediction beside the truth, its conditions in the order of the truth.

    The predicted mean is the measured controls plus the predicted delta, so that the controls inside ``prediction``
    play no part. Predicted cells are the context's control cells moved by the predicted delta, never below the
    smallest value of the dataset.

    Raises:
        ValueError: genes or conditions differ.
    """
    truth = measured.truth
    if prediction.genes != truth.genes:
        differ = sorted(set(prediction.genes) ^ set(truth.genes))
        named = f"{len(differ)} are in one only: {', '.join(differ[:5])}" if differ else "their order differs"
        raise ValueError(
            f"A prediction and its dataset have the same genes in the same order; {named}. "
            "Predict again with a model that was trained on this dataset."
        )
    place = {condition: row for row, condition in enumerate(prediction.conditions)}
    if set(place) != set(truth.conditions):
        odd = sorted(map(str, set(place) ^ set(truth.conditions)))
        raise ValueError(
            f"A prediction answers the conditions of its truth, all and no other; {len(odd)} are in one only: "
            f"{', '.join(odd[:5])}. Run 'perturbcast predict' on this split again."
        )
    rows = np.array([place[condition] for condition in truth.conditions])
    delta = prediction.delta[rows]
    return Comparison(
        truth=truth,
        predicted=truth.control + delta,
        half_widths={level: half[rows] for level, half in prediction.intervals.items()},
        cells=MovedCells(controls=measured.stand_ins, delta=delta, smallest=measured.smallest),
        variance=prediction.variance[rows],
        ood_score=None if prediction.ood_score is None else prediction.ood_score[rows],
        novel=np.logical_not(prediction.seen[rows, :2]).any(axis=1),
    )


def compared_untwisted(measured: Measured, prediction: Prediction) -> Comparison:
    """``compared``, when the same prediction with its own controls altered has come out the same.

    Raises:
        ValueError: as there, or the comparison looks at the prediction's own controls.
    """
    comparison = compared(measured, prediction)
    twisted = dataclasses.replace(prediction, control=2 * prediction.control + 1)
    check_untwisted(comparison, compared(measured, twisted))
    return comparison


def interpolation_weight(
    data: PerturbationData, *, cells: Sequence[str], conditions: Sequence[Condition], train_mean: np.ndarray, seed: int
) -> float:
    """The weight of the ceiling ``interpolated``, from the validation part of a fold.

    Args:
        data: measured cells.
        cells: barcodes of the validation part.
        conditions: its conditions.
        train_mean: mean perturbed train profile [gene].
        seed: of the halves.
    """
    measured = measure(data, cells=cells, conditions=conditions, train_mean=train_mean)
    return best_weight(halves(measured, seed=seed), train_mean=train_mean)


def evaluate_predictions(
    data: PerturbationData,
    predictions: Mapping[str, Prediction],
    *,
    cells: Sequence[str],
    train_mean: np.ndarray | None,
    panel_name: str = "spine",
    bounds: bool = True,
    weight: float | None = None,
    seed: int = 0,
) -> dict[str, Compared]:
    """Score the predictions of several models for the same held-out conditions in one pass.

    Args:
        data: measured cells.
        predictions: model -> deltas of the same conditions, which ``cells`` holds.
        cells: barcodes of the part (validation or test) that is scored.
        train_mean: mean perturbed train profile [gene], see ``train_profile``; None leaves its floor out.
        panel_name: which metrics.
        bounds: score ceilings and degenerate predictors too; floors and chance are there in any case.
        weight: of the ceiling ``interpolated``, see ``interpolation_weight``; None leaves it out.
        seed: of the draws that ceilings and degenerate predictors are made of.

    Raises:
        UsageError: the data are signatures, and the panel asks for cells.
        ValueError: genes or conditions differ, a condition has no cell among ``cells``, or a predictor that knows
            nothing does not score chance.
    """
    check_unit(data.meta, panel_name)
    conditions = next(iter(predictions.values())).conditions
    measured = measure(data, cells=cells, conditions=conditions, train_mean=train_mean)
    measures = panel(panel_name)
    of_truth = bounds_of(measured, panel=measures, complete=bounds, weight=weight, seed=seed)
    labels = [(condition.context, condition.perturbation) for condition in conditions]
    found = {}
    for model, prediction in predictions.items():
        comparison = compared_untwisted(measured, prediction) if bounds else compared(measured, prediction)
        scored = score(comparison, bounds=of_truth, panel=measures, labels=labels)
        found[model] = Compared(scored=scored, comparison=comparison)
    return found


def check_unit(meta: Mapping[str, Any], panel_name: str) -> None:
    """Refuse a panel that asks for cells of data that have none.

    Raises:
        UsageError: the data are signatures, and the panel asks for cells.
    """
    if meta.get("unit") == UNIT and panel_name != SIGNATURES:
        raise UsageError(
            f"Rows of {meta['dataset']!r} are signatures of conditions, without cells or sampling errors; the panel "
            f"{panel_name!r} asks for differential genes, distances between cells or intervals. Score them by "
            f"--panel {SIGNATURES}."
        )


def evaluate_prediction(
    data: PerturbationData,
    prediction: Prediction,
    *,
    cells: Sequence[str],
    train_mean: np.ndarray | None,
    panel_name: str = "spine",
) -> Scored:
    """Score one prediction beside floors and chance, without ceilings; see ``evaluate_predictions``."""
    found = evaluate_predictions(
        data, {"": prediction}, cells=cells, train_mean=train_mean, panel_name=panel_name, bounds=False
    )
    return found[""].scored


def rows_of(
    data: PerturbationData | CellFile, *, cells: Sequence[str], conditions: Sequence[Condition]
) -> list[np.ndarray]:
    """Rows of each condition's perturbed cells among ``cells``, in the order of their barcodes."""
    table = data.obs.loc[sorted(cells), ["perturbation", "context"]].astype(str)
    position = data.obs.index.get_indexer(table.index)
    groups = table.reset_index(drop=True).groupby(["perturbation", "context"], observed=True).indices
    empty = np.empty(0, dtype=np.int64)
    return [position[groups.get((c.perturbation, c.context), empty)] for c in conditions]
