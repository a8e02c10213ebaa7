"""Scores a prediction against held-out cells of the dataset that its split was made from.

Axes: C conditions, G genes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from perturbcast.evaluation.cells import MeasuredCells, MovedCells
from perturbcast.evaluation.scoring import Scored, floors_of, score
from perturbcast.metrics import Comparison, Truth, panel
from perturbcast.schema import Condition, PerturbationData, Prediction
from perturbcast.stores import effects

__all__ = ["evaluate_prediction", "train_profile"]


def train_profile(data: PerturbationData, *, cells: Sequence[str], conditions: Sequence[Condition]) -> np.ndarray:
    """Mean perturbed train profile [gene], one vote per condition: the floor ``train_mean``.

    Args:
        data: measured cells.
        cells: barcodes of the train part; its controls are not looked at.
        conditions: conditions of the train part.

    Raises:
        ValueError: a condition has no cell among ``cells``.
    """
    rows = _rows(data, cells=cells, conditions=conditions)
    empty = [str(c) for c, group in zip(conditions, rows, strict=True) if not len(group)]
    if empty:
        raise ValueError(
            f"A train profile needs cells of every train condition; {', '.join(empty[:5])} have none among the "
            f"{len(cells)} given. The part of the split and its list of conditions do not belong together."
        )
    weights = np.concatenate([np.full(len(group), 1 / (len(group) * len(rows))) for group in rows])
    picked = data.x[np.concatenate(rows)]
    profile: np.ndarray = picked.T @ weights
    return profile


def evaluate_prediction(
    data: PerturbationData,
    prediction: Prediction,
    *,
    cells: Sequence[str],
    train_mean: np.ndarray | None,
    panel_name: str = "spine",
) -> Scored:
    """Score a prediction of held-out conditions.

    The truth of a condition is its mean over ``cells`` minus its matched measured controls; the predicted mean
    is those same controls plus the predicted delta, so that the controls inside ``prediction`` play no part.
    Predicted cells are the context's control cells moved by the predicted delta, never below the smallest
    value of the dataset.

    Args:
        data: measured cells.
        prediction: deltas of conditions that ``cells`` holds.
        cells: barcodes of the part (validation or test) that is scored.
        train_mean: mean perturbed train profile [gene], see ``train_profile``; None leaves its floor out.
        panel_name: which metrics.

    Raises:
        ValueError: genes differ, or a condition has no cell among ``cells``.
    """
    if prediction.genes != data.genes:
        differ = sorted(set(prediction.genes) ^ set(data.genes))
        named = f"{len(differ)} are in one only: {', '.join(differ[:5])}" if differ else "their order differs"
        raise ValueError(
            f"A prediction and its dataset have the same genes in the same order; {named}. "
            "Predict again with a model that was trained on this dataset."
        )
    conditions = prediction.conditions
    measured = effects(data, cells=cells, conditions=conditions)
    keys = [str(condition) for condition in conditions]
    context = data.obs["context"].astype(str).to_numpy()
    is_control = data.obs["is_control"].to_numpy()
    order = np.argsort(data.obs.index.to_numpy().astype(str), kind="stable")
    pools = {
        name: order[(is_control & (context == name))[order]] for name in {condition.context for condition in conditions}
    }
    controls = MeasuredCells(x=data.x, rows=[pools[c.context] for c in conditions], keys=keys)
    smallest = min(0.0, float(data.x.data.min(initial=0.0)))
    truth = Truth(
        conditions=conditions,
        genes=data.genes,
        mean=measured.mean,
        control=measured.control,
        error=measured.error,
        cells=MeasuredCells(x=data.x, rows=_rows(data, cells=cells, conditions=conditions), keys=keys),
        control_cells=controls,
        train_mean=train_mean,
    )
    comparison = Comparison(
        truth=truth,
        predicted=measured.control + prediction.delta,
        half_widths=prediction.intervals,
        cells=MovedCells(controls=controls, delta=prediction.delta, smallest=smallest),
        variance=prediction.variance,
        ood_score=prediction.ood_score,
        novel=np.logical_not(prediction.seen[:, :2]).any(axis=1),
    )
    return score(
        comparison,
        floors=floors_of(truth, train_mean=train_mean, controls=controls, smallest=smallest),
        panel=panel(panel_name),
        labels=[(condition.context, condition.perturbation) for condition in conditions],
    )


def _rows(data: PerturbationData, *, cells: Sequence[str], conditions: Sequence[Condition]) -> list[np.ndarray]:
    """Rows of each condition's perturbed cells among ``cells``, in the order of their barcodes."""
    table = data.obs.loc[sorted(cells), ["perturbation", "context"]].astype(str)
    position = data.obs.index.get_indexer(table.index)
    groups = table.reset_index(drop=True).groupby(["perturbation", "context"], observed=True).indices
    empty = np.empty(0, dtype=np.int64)
    return [position[groups.get((c.perturbation, c.context), empty)] for c in conditions]
