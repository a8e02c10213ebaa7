"""Second step of a shard: the metrics that look at cells, of models, floors, ceilings and degenerate predictors.

Between the steps all means are known, so that a shard can be told what a predictor that peeks at every condition
answers (``degenerate.Crowd``). Metrics of cells whose value of a condition needs no cells of others
(``Metric.divisible``) are computed a block of conditions at a time. The rest (the scaling of PerturBench's
``rmse_scaled`` and the two correlations of cell-eval over a context) need all cells of a part at once.

Axes: C conditions, G genes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from perturbcast.evaluation.bounds import References, score_bounds
from perturbcast.evaluation.cells import MeasuredCells, MovedCells
from perturbcast.evaluation.degenerate import Crowd, ignorant
from perturbcast.evaluation.held_out import measure, rows_of
from perturbcast.evaluation.references import floors_of
from perturbcast.evaluation.replicates import Measured, halves
from perturbcast.evaluation.scoring import Scored, ScoredMetric, score
from perturbcast.evaluation.shard_means import Group
from perturbcast.evaluation.shards import blocks
from perturbcast.metrics import Comparison, Measure
from perturbcast.schema import PerturbationData
from perturbcast.stores import CellFile
from perturbcast.stores.condition_cells import cells_with_controls

__all__ = ["Asked", "cell_scores", "of_cells", "unpacked"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Asked:
    """Conditions whose cells are compared.

    Attributes:
        groups: the conditions.
        deltas: model -> predicted delta [condition, gene].
        train_mean: [gene] mean perturbed train profile.
        crowd: of these conditions; None where neither ceilings nor degenerate predictors are scored.
        handed: the condition whose answer each is handed by ``shuffled_labels``.
        handed_mean: [condition, gene] their means.
        seed: of the halves.
    """

    groups: tuple[Group, ...]
    deltas: Mapping[str, np.ndarray]
    train_mean: np.ndarray
    crowd: Crowd | None
    handed: tuple[Group, ...]
    handed_mean: np.ndarray
    seed: int

    def of(self, rows: np.ndarray) -> Asked:
        """Some of the conditions."""
        return dataclasses.replace(
            self,
            groups=tuple(self.groups[row] for row in rows),
            deltas={model: delta[rows] for model, delta in self.deltas.items()},
            crowd=None if self.crowd is None else self.crowd.of(rows),
            handed=tuple(self.handed[row] for row in rows),
            handed_mean=self.handed_mean[rows],
        )


def of_cells(panel: Sequence[Measure], *, divisible: bool) -> list[Measure]:
    """The metrics of cells of a panel that can be computed in shards, or those that cannot."""
    return [one for one in panel if one.metric.needs == "cells" and one.metric.divisible == divisible]


def cell_scores(
    file: CellFile, asked: Asked, *, panel: Sequence[Measure]
) -> tuple[dict[str, np.ndarray], dict[str, list[str]]]:
    """Scores of metrics of cells: arrays [condition] by name for ``unpacked``, and the notes of each metric.

    Args:
        file: the dataset.
        asked: the conditions.
        panel: metrics of cells, all divisible or none.
    """
    sizes = [len(a.cells) + len(b.cells) for a, b in zip(asked.groups, asked.handed, strict=True)]
    whole = [np.arange(len(sizes))]
    found: list[dict[str, np.ndarray]] = []
    notes: dict[str, list[str]] = {}
    for rows in blocks(sizes) if all(one.metric.divisible for one in panel) else whole:
        arrays: dict[str, np.ndarray] = {}
        for model, scored in _scored(file, asked.of(rows), panel=panel).items():
            for one in scored.metrics:
                arrays |= {f"{model}|{one.metric.id}|{name}": array for name, array in _fields(one).items()}
                notes[one.metric.id] = list(one.notes)
        found.append(arrays)
    return {name: np.concatenate([arrays[name] for arrays in found]) for name in found[0]}, notes


def unpacked(
    arrays: Mapping[str, np.ndarray], notes: Mapping[str, Sequence[str]], *, model: str, measure: Measure
) -> ScoredMetric:
    """One metric of one model from the arrays of ``cell_scores``."""
    start = f"{model}|{measure.metric.id}|"
    own = {name.removeprefix(start): array for name, array in arrays.items() if name.startswith(start)}

    def named(kind: str) -> dict[str, np.ndarray]:
        return {name.removeprefix(kind): array for name, array in own.items() if name.startswith(kind)}

    return ScoredMetric(
        metric=measure.metric,
        per_condition=own["per_condition"],
        optimum=own.get("optimum"),
        counted=own.get("counted"),
        chance=own.get("chance"),
        floors=named("floors/"),
        ceilings=named("ceilings/"),
        degenerate=named("degenerate/"),
        notes=tuple(notes[measure.metric.id]),
    )


def _fields(one: ScoredMetric) -> dict[str, np.ndarray]:
    named = {"per_condition": one.per_condition, "optimum": one.optimum, "counted": one.counted, "chance": one.chance}
    for kind, group in (("floors", one.floors), ("ceilings", one.ceilings), ("degenerate", one.degenerate)):
        named |= {f"{kind}/{name}": array for name, array in group.items()}
    return {name: array for name, array in named.items() if array is not None}


def _scored(file: CellFile, asked: Asked, *, panel: Sequence[Measure]) -> dict[str, Scored]:
    """Scores of every model, from the cells of the conditions, of those that answer for them, and of their controls."""
    conditions = [group.condition for group in asked.groups]
    barcodes = [barcode for group in asked.groups for barcode in group.cells]
    others = [barcode for group in asked.handed for barcode in group.cells] if asked.crowd is not None else []
    contexts = {condition.context for condition in conditions}
    data = cells_with_controls(file, list(dict.fromkeys([*barcodes, *others])), contexts=contexts)
    measured = measure(data, cells=barcodes, conditions=conditions, train_mean=asked.train_mean)
    bounds = score_bounds(_references(data, measured, asked), panel=panel)
    labels = [(condition.context, condition.perturbation) for condition in conditions]
    found = {}
    for model, delta in asked.deltas.items():
        cells = MovedCells(controls=measured.stand_ins, delta=delta, smallest=measured.smallest)
        comparison = Comparison(truth=measured.truth, predicted=measured.truth.control + delta, cells=cells)
        found[model] = score(comparison, bounds=bounds, panel=panel, labels=labels)
    return found


def _references(data: PerturbationData, measured: Measured, asked: Asked) -> References:
    floors = floors_of(measured)
    if asked.crowd is None:
        return References(floors=floors)
    divided = halves(measured, seed=asked.seed)
    rows = [rows_of(data, cells=group.cells, conditions=[group.condition])[0] for group in asked.handed]
    handed = MeasuredCells(x=data.x, rows=rows, keys=[str(group.condition) for group in asked.handed])
    degenerate, unanswered = ignorant(measured, asked.crowd, handed=handed, handed_mean=asked.handed_mean)
    return References(
        floors=floors,
        ceilings={"split_half": Comparison(truth=divided.truth, predicted=divided.first_mean, cells=divided.first)},
        degenerate=degenerate,
        undefined=unanswered | {"split_half": ~divided.divided},
    )
