"""Differential genes of each condition by the Mann-Whitney U test against its control cells.

Two-sided, normal approximation with tie and continuity correction, Benjamini-Hochberg within each condition over
all genes; a gene without any spread has p = 1. Log2 fold change: ``log2(expm1(m) / expm1(c))`` of the log1p means,
0 where both are 0 and infinite where one is. As cell-eval 0.8.2 (pdex 0.3.0) does it.

The controls of a context are sorted once; each group is searched in them, non-zeros only. Memory: the non-zeros of
the controls of a context and of one group at a time.

Axes: C conditions, G genes.
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import scipy.sparse as sp
from scipy.special import ndtr

from perturbcast.metrics.comparison import Cells, Comparison

__all__ = ["FDR", "DifferentialExpression", "adjusted", "measured_expression", "predicted_expression", "surety"]

FDR = 0.05  # the references' threshold of 'significant'


@dataclasses.dataclass(frozen=True, kw_only=True)
class DifferentialExpression:
    """Tests of every gene of every condition.

    Attributes:
        p_value: [condition, gene].
        fdr: [condition, gene] Benjamini-Hochberg adjusted within the condition.
        log2_fold_change: [condition, gene], may be infinite.
    """

    p_value: np.ndarray
    fdr: np.ndarray
    log2_fold_change: np.ndarray

    @functools.cached_property
    def significant(self) -> np.ndarray:
        """[condition, gene] bool; compared in float32, as the reference keeps its tables."""
        return self.fdr.astype(np.float32) < np.float32(FDR)


def measured_expression(comparison: Comparison) -> DifferentialExpression:
    """Tests of the measured cells, once per truth."""
    means = comparison.as_stored
    return comparison.truth.shared(
        "measured expression", lambda: _test(comparison, comparison.sides()[0], means.truth, means.control)
    )


def predicted_expression(comparison: Comparison) -> DifferentialExpression:
    """Tests of the predicted cells against the true controls, once per prediction."""
    means = comparison.as_stored
    return comparison.shared(
        "predicted expression", lambda: _test(comparison, comparison.sides()[1], means.predicted, means.control)
    )


def adjusted(p_value: np.ndarray) -> np.ndarray:
    """Benjamini-Hochberg adjusted p-values of each row [condition, gene]."""
    m = p_value.shape[1]
    order = np.argsort(p_value, axis=1)
    scaled = np.take_along_axis(p_value, order, axis=1) * (m / np.arange(1, m + 1))
    scaled = np.minimum(np.minimum.accumulate(scaled[:, ::-1], axis=1)[:, ::-1], 1.0)
    result = np.empty_like(scaled)
    np.put_along_axis(result, order, scaled, axis=1)
    return result


def surety(fdr: np.ndarray) -> np.ndarray:
    """-log10(FDR), clipped to 0 and 10, in float32 as the reference keeps its tables."""
    return -np.log10(np.clip(fdr.astype(np.float32), np.float32(1e-10), np.float32(1.0)))


def _test(comparison: Comparison, cells: Cells, mean: np.ndarray, control: np.ndarray) -> DifferentialExpression:
    p_value = np.empty(mean.shape)
    known: dict[object, np.ndarray] = {}
    for row, condition in enumerate(comparison.truth.conditions):
        key = (cells.key(row), condition.context)
        if key not in known:
            known[key] = _p_values(comparison, cells, row)
        p_value[row] = known[key]
    # the scale has nothing below 0: a mean that a model puts there is read as 0
    # means are kept in the precision of the file and their ratio in float64, as the reference does
    treated, untreated = (
        np.expm1(np.maximum(x.astype(np.float64), 0.0)).astype(x.dtype).astype(np.float64) for x in (mean, control)
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        change = np.log2(treated / untreated)
    change[(treated == 0) & (untreated == 0)] = 0.0
    return DifferentialExpression(p_value=p_value, fdr=adjusted(p_value), log2_fold_change=change)


def _p_values(comparison: Comparison, cells: Cells, row: int) -> np.ndarray:
    # numba is imported when the first test is asked for: panels without one start faster
    from perturbcast.metrics._rank_sums import rank_sums

    truth = comparison.truth
    _, _, controls = comparison.sides()
    sorted_controls, ties, n_controls = truth.shared(
        ("sorted controls", controls.key(row)), lambda: _sorted_controls(controls.matrix(row))
    )
    group = _sorted_columns(cells.matrix(row))
    n = group.shape[0]
    u, tie_term = rank_sums(sorted_controls.data, sorted_controls.indptr, n_controls, ties, group.data, group.indptr, n)
    total = n + n_controls
    variance = n * n_controls / 12 * (total + 1 - tie_term / (total * max(total - 1, 1)))
    # rounding of the tie term must not give a gene without spread a variance
    spread = np.sqrt(np.where(variance > 1e-9 * n * n_controls, variance, 0.0))
    off = np.abs(u - n * n_controls / 2) - 0.5
    z = np.divide(off, spread, out=np.full_like(off, -np.inf), where=spread > 0)
    return np.minimum(2 * ndtr(-z), 1.0)


def _sorted_columns(x: sp.csr_matrix) -> sp.csc_matrix:
    """The non-zeros of each gene in ascending order (which cell they belong to is lost)."""
    from perturbcast.metrics._rank_sums import sort_within

    columns = sp.csc_matrix(x, copy=True)
    columns.eliminate_zeros()
    sort_within(columns.data, columns.indptr)
    return columns


def _sorted_controls(x: sp.csr_matrix) -> tuple[sp.csc_matrix, np.ndarray, int]:
    """Sorted non-zeros, sum(t^3 - t) over the ties of each gene [gene] (zeros included), and the number of cells."""
    columns = _sorted_columns(x)
    n, genes = columns.shape
    gene = np.repeat(np.arange(genes), np.diff(columns.indptr))
    starts = np.flatnonzero(np.r_[True, (np.diff(columns.data) != 0) | (np.diff(gene) != 0)][: len(columns.data)])
    runs = np.diff(np.r_[starts, len(columns.data)]).astype(np.float64)
    ties = np.bincount(gene[starts], weights=runs**3 - runs, minlength=genes)
    zeros = n - np.diff(columns.indptr).astype(np.float64)
    return columns, ties + zeros**3 - zeros, n
