"""Cells and their labels from anyone's AnnData file, by the names of its columns."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from perturbcast.errors import UsageError
from perturbcast.evaluation.cells import MeasuredCells
from perturbcast.evaluation.stored_cells import Labels, read_stored_cells
from perturbcast.schema import Condition, repeated

__all__ = ["ALL", "CellFile", "read_cell_file"]

ALL = "all"  # the context of files without a context column


@dataclasses.dataclass(frozen=True, kw_only=True)
class CellFile:
    """A file in the terms of the platform.

    Attributes:
        x: [cell, gene] CSR in the precision of the file.
        stored: the matrix as the file holds it, dense or sparse.
        genes: in column order.
        rows: condition -> its rows in the order of the file.
        controls: context -> its control rows in the order of the file.
        spelling: condition -> the file's own label (the sorted one where the file uses several).
        order: rank of each row's barcode, for draws that do not depend on the order of the file.
    """

    x: sp.csr_matrix
    stored: Any
    genes: tuple[str, ...]
    rows: dict[Condition, np.ndarray]
    controls: dict[str, np.ndarray]
    spelling: dict[Condition, str]
    order: np.ndarray

    def drawable(self, rows: Sequence[np.ndarray], conditions: Sequence[Condition]) -> MeasuredCells:
        # a group that several conditions share (their controls) stays one object
        sorted_once = {id(group): group[np.argsort(self.order[group], kind="stable")] for group in rows}
        by_barcode = [sorted_once[id(group)] for group in rows]
        return MeasuredCells(x=self.x, rows=by_barcode, keys=[str(condition) for condition in conditions])


def read_cell_file(path: Path, *, perturbation_key: str, context_key: str | None, control_label: str) -> CellFile:
    """Read an ``.h5ad`` file and find its conditions and controls.

    Args:
        path: cells; X is used.
        perturbation_key: obs column; the targets of a combination are joined by ``+``.
        context_key: obs column, or None where all cells share one context.
        control_label: the perturbation label of control cells.

    Raises:
        UsageError: the file or a column is not there.
        ValueError: not an AnnData file, repeated genes, missing labels, or values that are not finite.
    """
    if not path.is_file():
        raise UsageError(f"Cells to evaluate are an .h5ad file; {path} does not exist.")
    keys = [key for key in (perturbation_key, context_key) if key is not None]
    try:
        file = read_stored_cells(path, columns=keys)
    except (OSError, KeyError, TypeError) as error:  # TypeError: an HDF5 file with groups that AnnData does not have
        raise ValueError(
            f"Cells to evaluate are an AnnData .h5ad file; {path} cannot be read as one: {error}."
        ) from error
    missing = [key for key in keys if key not in file.labels]
    if missing:
        raise UsageError(
            f"The obs columns named by --perturbation-key and --context-key are in every file; {path} has no "
            f"{', '.join(map(repr, missing))}. Present: {', '.join(file.columns) or 'none'}."
        )
    twice = repeated(file.genes)
    if twice:
        raise ValueError(
            f"Genes are matched by name, so names are unique; repeated in {path}: {', '.join(twice[:5])}. "
            "Make them unique first (anndata: var_names_make_unique)."
        )
    x = sp.csr_matrix(file.x)
    if not np.issubdtype(x.dtype, np.floating):
        x = x.astype(np.float64)
    if not np.isfinite(x.data).all():
        raise ValueError(
            f"Expression is finite; X of {path} has {int((~np.isfinite(x.data)).sum())} entries that are NaN or "
            "infinite. Mend the file: a score over part of a prediction would not be comparable."
        )
    perturbations = file.labels[perturbation_key]
    everywhere = Labels(codes=np.zeros(len(perturbations.codes), dtype=np.int64), names=(ALL,))
    contexts = everywhere if context_key is None else file.labels[context_key]
    if (perturbations.codes < 0).any() or (contexts.codes < 0).any():
        raise ValueError(f"Every cell has a perturbation and a context; {path} has cells without. Label or drop them.")
    rows: dict[Condition, list[np.ndarray]] = {}
    spellings: dict[Condition, list[str]] = {}
    controls: dict[str, np.ndarray] = {}
    for (label, context), group in _groups(perturbations, contexts).items():
        if label == control_label:
            controls[context] = group
            continue
        condition = Condition(label, context)
        rows.setdefault(condition, []).append(group)
        spellings.setdefault(condition, []).append(label)
    return CellFile(
        x=x,
        stored=file.x,
        genes=tuple(map(str, file.genes)),
        rows={condition: np.sort(np.concatenate(parts)) for condition, parts in rows.items()},
        controls=controls,
        spelling={c: names[0] if len(names) == 1 else c.perturbation for c, names in spellings.items()},
        order=np.argsort(np.argsort(file.barcodes, kind="stable")),
    )


def _groups(perturbations: Labels, contexts: Labels) -> dict[tuple[str, str], np.ndarray]:
    """(perturbation, context) -> its rows in the order of the file."""
    pairs = perturbations.codes * len(contexts.names) + contexts.codes
    order = np.argsort(pairs, kind="stable")
    starts = np.flatnonzero(np.diff(pairs[order], prepend=-1))
    found = {}
    for rows in np.split(order, starts[1:]) if len(order) else ():
        perturbation, context = divmod(int(pairs[rows[0]]), len(contexts.names))
        found[perturbations.names[perturbation], contexts.names[context]] = rows
    return found
