"""Condition means from cells: what most models are fitted on and what most metrics compare.

A delta is the mean of a condition's cells minus the mean of its matched controls. Controls are matched
by context, and by batch where every batch of the condition holds controls: then each batch's control
mean is weighted by the share of the condition's cells in it, so that a batch effect is not mistaken for
a response. Memory is a few dense rows per condition; cells stay sparse, or on disk.

Axes: C conditions, G genes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp

from perturbcast.schema import CONTROL, Condition, PerturbationData, positions
from perturbcast.stores.cell_file import CellFile
from perturbcast.stores.streamed_moments import streamed_moments

__all__ = ["Effects", "control_means", "effects", "mean", "mean_and_variance"]

MIN_BATCH_CONTROLS = 5  # below this a batch's control mean is noisier than the batch effect it removes


@dataclasses.dataclass(frozen=True, kw_only=True)
class Effects:
    """Measured effects of conditions, in the units of X.

    Attributes:
        conditions: C perturbed conditions.
        genes: G gene names.
        delta: [condition, gene] perturbed mean minus matched control mean.
        control: [condition, gene] matched control mean.
        error: [condition, gene] sampling variance of ``delta`` (cell variance over cell count, both groups).
        n_cells: [condition] perturbed cells.
        matching: per condition ``context`` or ``context+batch``.
    """

    conditions: tuple[Condition, ...]
    genes: tuple[str, ...]
    delta: np.ndarray
    control: np.ndarray
    error: np.ndarray
    n_cells: np.ndarray
    matching: tuple[str, ...]

    @property
    def mean(self) -> np.ndarray:
        """Mean perturbed expression [condition, gene]."""
        return self.control + self.delta

    def select(self, rows: np.ndarray) -> Effects:
        """The named rows (index or mask)."""
        index = np.arange(len(self.conditions))[rows]
        return dataclasses.replace(
            self,
            conditions=tuple(self.conditions[i] for i in index),
            delta=self.delta[index],
            control=self.control[index],
            error=self.error[index],
            n_cells=self.n_cells[index],
            matching=tuple(self.matching[i] for i in index),
        )


def mean_and_variance(x: sp.csr_matrix) -> tuple[np.ndarray, np.ndarray]:
    """Mean and unbiased variance [gene] of the rows of a sparse matrix, in float64 without a dense copy.

    One row has variance 0: there is nothing to estimate it from.
    """
    n = x.shape[0]
    values = x.astype(np.float64)  # scipy adds up in the type of the matrix, whatever dtype its sum is asked for
    of_genes = mean(values)
    values.data **= 2
    variance = np.clip(mean(values) - of_genes**2, 0.0, None) * (n / (n - 1) if n > 1 else 0.0)
    return of_genes, variance


def mean(x: sp.csr_matrix) -> np.ndarray:
    """Mean [gene] of the rows of a sparse matrix, in float64."""
    if not x.shape[0]:
        raise ValueError("A mean needs at least one cell; the selection holds none.")
    sums: np.ndarray = np.asarray(x.astype(np.float64, copy=False).sum(axis=0)).ravel()
    return sums / x.shape[0]


def control_means(data: PerturbationData | CellFile, *, among: Sequence[str] | None = None) -> dict[str, np.ndarray]:
    """Mean control expression [gene] per context.

    Args:
        data: measured cells, in memory or on disk (then in one pass over the file).
        among: barcodes to look at (default all cells); perturbed ones are ignored.
    """
    cells = data if among is None else data.subset(among)
    control = cells.obs["is_control"].to_numpy()
    context = cells.obs["context"].astype(str).to_numpy()
    names = sorted(set(context[control]))
    means, _ = _moments(cells, [np.flatnonzero(control & (context == name)) for name in names])
    return dict(zip(names, means, strict=True))


def effects(data: PerturbationData | CellFile, *, cells: Sequence[str], conditions: Sequence[Condition]) -> Effects:
    """Effects of ``conditions`` from the named perturbed cells and all controls of their contexts.

    Args:
        data: measured cells, controls included, in memory or on disk (then in one pass over the file).
        cells: barcodes that may be used for the perturbed means (one part of a split).
        conditions: conditions to compute, in this order.

    Raises:
        ValueError: a barcode is not in the data, a condition has no cell among ``cells``, or its context has no
            controls.
    """
    position = positions(data.obs, cells, dataset=data.dataset)
    perturbation = data.obs["perturbation"].astype(str).to_numpy()
    context = data.obs["context"].astype(str).to_numpy()
    is_control = data.obs["is_control"].to_numpy()
    batch = data.obs["batch"].astype(str).to_numpy() if "batch" in data.obs else None
    found: dict[tuple[str, str], list[int]] = {}
    for i in position[~is_control[position]]:
        found.setdefault((perturbation[i], context[i]), []).append(int(i))

    groups: list[np.ndarray] = []  # perturbed cells of each condition, then pools of controls
    shares: list[dict[str | None, float]] = []
    for condition in conditions:
        rows = found.get((condition.perturbation, condition.context))
        if rows is None or condition.perturbation == CONTROL:
            raise ValueError(
                f"An effect needs perturbed cells; {str(condition)!r} has none among the {len(position)} given. "
                "The part of the split and its list of conditions do not belong together."
            )
        if not (is_control & (context == condition.context)).any():
            raise ValueError(
                f"An effect needs matched controls; context {condition.context!r} holds none. "
                "Leave its conditions out, or import control cells of that context."
            )
        groups.append(np.array(rows))
        shares.append(_batch_shares(condition, rows, batch=batch, is_control=is_control, context=context))
    pools: dict[tuple[str, str | None], int] = {}
    for condition, of_condition in zip(conditions, shares, strict=True):
        for name in of_condition:
            if (condition.context, name) not in pools:
                mask = is_control & (context == condition.context)
                if name is not None and batch is not None:
                    mask &= batch == name
                pools[condition.context, name] = len(groups)
                groups.append(np.flatnonzero(mask))
    means, variances = _moments(data, groups)

    shape = (len(conditions), len(data.genes))
    control, control_error = np.zeros(shape), np.zeros(shape)
    for row, (condition, of_condition) in enumerate(zip(conditions, shares, strict=True)):
        for name, share in of_condition.items():
            pool = pools[condition.context, name]
            control[row] += share * means[pool]
            control_error[row] += share**2 * variances[pool] / len(groups[pool])
    n_cells = np.array([len(rows) for rows in groups[: shape[0]]], dtype=np.int64)
    return Effects(
        conditions=tuple(conditions),
        genes=data.genes,
        delta=means[: shape[0]] - control,
        control=control,
        error=variances[: shape[0]] / n_cells[:, None] + control_error,
        n_cells=n_cells,
        matching=tuple("context" if None in of_condition else "context+batch" for of_condition in shares),
    )


def _moments(data: PerturbationData | CellFile, groups: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and unbiased variance [group, gene] of groups of rows."""
    if isinstance(data, CellFile):
        return streamed_moments(data, groups)
    means, variances = (np.empty((len(groups), len(data.genes))) for _ in range(2))
    for i, rows in enumerate(groups):
        means[i], variances[i] = mean_and_variance(data.x[rows])
    return means, variances


def _batch_shares(
    condition: Condition,
    rows: list[int],
    *,
    batch: np.ndarray | None,
    is_control: np.ndarray,
    context: np.ndarray,
) -> dict[str | None, float]:
    """Share of the condition's cells in each batch; one whole share without a name where batches lack controls."""
    if batch is None:
        return {None: 1.0}
    present, counts = np.unique(batch[rows], return_counts=True)
    of_context = is_control & (context == condition.context)
    if any((of_context & (batch == name)).sum() < MIN_BATCH_CONTROLS for name in present):
        return {None: 1.0}
    return {str(name): float(count) / len(rows) for name, count in zip(present, counts, strict=True)}
