"""Scores any pair of AnnData files: measured cells beside predicted cells of the same conditions and genes.

The truth's controls are the only ones that are used; controls in the prediction file are not looked at.
Conditions are matched whatever the order of a combination's targets, and keep the spelling of the truth.

Axes: C conditions, G genes.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from perturbcast.evaluation.cell_file import CellFile, read_cell_file
from perturbcast.evaluation.cells import select_rows
from perturbcast.evaluation.references import bounds_of
from perturbcast.evaluation.replicates import Measured
from perturbcast.evaluation.scoring import score
from perturbcast.evaluation.summary import Evaluation, summarise
from perturbcast.metrics import Comparison, Truth, panel
from perturbcast.schema import CONTROL
from perturbcast.stores.pseudobulk import mean_and_variance

__all__ = ["Pair", "evaluate_files", "read_pair"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pair:
    """Two files ready to be scored.

    Attributes:
        comparison: the prediction beside the truth.
        measured: the truth and its cells, for what stands beside the scores.
        labels: per condition (context, perturbation), spelled as the truth spells them.
    """

    comparison: Comparison
    measured: Measured
    labels: tuple[tuple[str, str], ...]


def evaluate_files(
    truth: Path,
    prediction: Path,
    *,
    perturbation_key: str = "perturbation",
    context_key: str | None = None,
    control_label: str = CONTROL,
    train: Path | None = None,
    panel_name: str = "spine",
    bounds: bool = True,
    seed: int = 0,
) -> Evaluation:
    """Score predicted cells against measured cells.

    Args:
        truth: ``.h5ad`` of measured cells, X on one scale (log1p of counts per 10 000 for the log fold changes),
            control cells included for every context.
        prediction: ``.h5ad`` of predicted cells of every condition of ``truth`` and of no other; controls in it
            are not used.
        perturbation_key: obs column of the perturbation in every file; combinations joined by ``+``.
        context_key: obs column of the context (cell type, cell line, donor); None where there is one context.
        control_label: the perturbation label of control cells.
        train: ``.h5ad`` of the cells that the model was fitted on, for the floor ``train_mean``; without it that
            floor is empty, since a mean over the truth itself would be a leak.
        panel_name: which metrics.
        bounds: score ceilings and degenerate predictors too; floors and chance are there in any case.
        seed: of the bootstrap, and of the draws that ceilings and degenerate predictors are made of.

    Raises:
        UsageError: a file or column is not there.
        ValueError: genes or conditions differ, a context has no controls, values are not finite.
    """
    pair = read_pair(
        truth,
        prediction,
        perturbation_key=perturbation_key,
        context_key=context_key,
        control_label=control_label,
        train=train,
    )
    of_truth = bounds_of(pair.measured, panel=panel(panel_name), complete=bounds, weight=None, seed=seed)
    scored = score(pair.comparison, bounds=of_truth, panel=panel(panel_name), labels=pair.labels)
    return summarise([scored], seed=seed)


def read_pair(
    truth: Path,
    prediction: Path,
    *,
    perturbation_key: str,
    context_key: str | None,
    control_label: str,
    train: Path | None = None,
) -> Pair:
    """Read two files and match their conditions and genes; arguments and errors as of ``evaluate_files``."""
    read = functools.partial(
        read_cell_file, perturbation_key=perturbation_key, context_key=context_key, control_label=control_label
    )
    measured, predicted = read(truth), read(prediction)
    conditions = tuple(sorted(measured.rows))
    if not conditions:
        raise ValueError(f"The truth holds perturbed cells; every cell of {truth} is {control_label!r}.")
    _same_conditions(measured, predicted, truth=truth, prediction=prediction)
    columns = _columns(predicted.genes, measured.genes, file=prediction, truth=truth)
    uncontrolled = sorted({c.context for c in conditions} - set(measured.controls))
    if uncontrolled:
        raise ValueError(
            f"A delta needs measured controls of its context; {truth} has no {control_label!r} cell in "
            f"{', '.join(map(repr, uncontrolled))}. Name the label with --control-label, or add control cells."
        )
    predicted_rows = [predicted.rows[c] for c in conditions]
    stored_predicted = _stored_means(predicted, predicted_rows)[:, columns]
    if predicted.genes != measured.genes:
        predicted = dataclasses.replace(predicted, x=predicted.x[:, columns], genes=measured.genes)
    true_rows = [measured.rows[c] for c in conditions]
    control_rows = [measured.controls[c.context] for c in conditions]
    true_mean, true_variance = _means_and_variances(measured.x, true_rows)
    control_mean, control_variance = _means_and_variances(measured.x, control_rows)
    n_true, n_control = (np.array([[len(group)] for group in rows]) for rows in (true_rows, control_rows))
    train_mean = None if train is None else _train_mean(read(train), measured.genes, file=train, truth=truth)
    controls, cells = measured.drawable(control_rows, conditions), measured.drawable(true_rows, conditions)
    comparison = Comparison(
        truth=Truth(
            conditions=conditions,
            genes=measured.genes,
            mean=true_mean,
            control=control_mean,
            error=true_variance / n_true + control_variance / n_control,
            cells=cells,
            control_cells=controls,
            train_mean=train_mean,
            stored_mean=_stored_means(measured, true_rows),
            stored_control=_stored_means(measured, control_rows),
        ),
        predicted=_means_and_variances(predicted.x, predicted_rows)[0],
        cells=predicted.drawable(predicted_rows, conditions),
        stored_predicted=stored_predicted,
    )
    beside = Measured(
        truth=comparison.truth,
        cells=cells,
        controls=controls,
        stand_ins=controls,
        smallest=min(0.0, float(measured.x.data.min(initial=0.0))),
        relative=False,
        max_controls=measured.x.shape[0],
    )
    labels = tuple((condition.context, measured.spelling[condition]) for condition in conditions)
    return Pair(comparison=comparison, measured=beside, labels=labels)


def _same_conditions(measured: CellFile, predicted: CellFile, *, truth: Path, prediction: Path) -> None:
    missing, extra = set(measured.rows) - set(predicted.rows), set(predicted.rows) - set(measured.rows)
    if missing or extra:
        parts = [
            f"{verb}: {_some(sorted(map(str, group)))}"
            for verb, group in (("not predicted", missing), ("predicted but not measured", extra))
            if group
        ]
        raise ValueError(
            f"A prediction answers every condition of the truth and no other; {prediction} beside {truth}: "
            f"{'; '.join(parts)}. Predict the missing ones, or take conditions out of a file."
        )


def _columns(genes: Sequence[str], wanted: Sequence[str], *, file: Path, truth: Path) -> np.ndarray:
    """Columns of ``genes`` in the order of ``wanted``."""
    missing, extra = sorted(set(wanted) - set(genes)), sorted(set(genes) - set(wanted))
    if missing or extra:
        parts = [f"only in {where}: {_some(group)}" for where, group in ((truth, missing), (file, extra)) if group]
        raise ValueError(
            f"Both files have the same genes, in any order; {'; '.join(parts)}. Cut both to the shared genes."
        )
    place = {gene: column for column, gene in enumerate(genes)}
    return np.array([place[gene] for gene in wanted], dtype=np.int64)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")


def _means_and_variances(x: sp.csr_matrix, rows: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance [condition, gene] in float64; a group that occurs again is computed once."""
    known: dict[int, tuple[np.ndarray, np.ndarray]] = {}
    for group in rows:
        if id(group) not in known:
            known[id(group)] = mean_and_variance(select_rows(x, group))
    means, variances = zip(*(known[id(group)] for group in rows), strict=True)
    return np.stack(means), np.stack(variances)


def _stored_means(cells: CellFile, rows: Sequence[np.ndarray]) -> np.ndarray:
    """Means [condition, gene] as the file's own matrix averages itself: in its precision, in its order of cells."""
    known: dict[int, np.ndarray] = {}
    for group in rows:
        if id(group) not in known:
            part = select_rows(cells.stored, group) if sp.isspmatrix_csr(cells.stored) else cells.stored[group]
            known[id(group)] = np.asarray(part.mean(axis=0)).ravel()
    return np.stack([known[id(group)] for group in rows])


def _train_mean(cells: CellFile, genes: Sequence[str], *, file: Path, truth: Path) -> np.ndarray:
    """Mean perturbed profile [gene] of the train file, one vote per condition."""
    columns = _columns(cells.genes, genes, file=file, truth=truth)
    if not cells.rows:
        raise ValueError(f"The floor 'train_mean' needs perturbed train cells; {file} holds controls only.")
    means, _ = _means_and_variances(cells.x, list(cells.rows.values()))
    return means.mean(axis=0)[columns]
