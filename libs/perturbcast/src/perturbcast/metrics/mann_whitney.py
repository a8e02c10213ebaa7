"""Differential genes of each condition by the Mann-Whitney U test against its control cells.

Two-sided, normal approximation with tie and continuity correction, Benjamini-Hochberg within each condition over
all genes; a gene without any spread has p = 1. Log2 fold change: ``log2(expm1(m) / expm1(c))`` of the log1p means,
0 where both are 0 and infinite where one is. As cell-eval 0.8.2 (pdex 0.3.0) does it.

The controls of a context are sorted once, non-zeros only; the groups are sorted a few at a time, all their values of a
gene together, and one walk beside the controls tests them all. Memory: the non-zeros of the controls of a context and
of one group, or of as many small groups as hold ``STORED``.

Axes: C conditions, G genes.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import sys
from collections.abc import Hashable, Iterator
from types import SimpleNamespace

import numpy as np
import scipy.sparse as sp
from scipy.special import ndtr

from perturbcast.metrics.comparison import Cells, Comparison

__all__ = ["FDR", "DifferentialExpression", "adjusted", "measured_expression", "predicted_expression", "surety"]

FDR = 0.05  # the references' threshold of 'significant'
STORED = 1 << 21  # non-zeros that are sorted together; some 40 MB


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

    @functools.cached_property
    def largest_first(self) -> tuple[np.ndarray, ...]:
        """Significant genes of each condition, largest |log2 fold change| first, in float32 as the reference does."""
        size = -np.abs(self.log2_fold_change.astype(np.float32))
        genes = [np.flatnonzero(found) for found in self.significant]
        return tuple(part[np.argsort(size[row, part], kind="stable")] for row, part in enumerate(genes))


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
    """-log10(FDR), clipped to 0 and 10, in float32 as the reference keeps its tables.

    The reference divides the natural logarithm by that of 10, both rounded to float32. This rounding alone decides
    which FDRs a few float32 apart are tied (numpy's float32 log10 rounds some of them otherwise).
    """
    clipped = np.clip(fdr.astype(np.float32), np.float32(1e-10), np.float32(1.0))
    return -(np.log(clipped.astype(np.float64)).astype(np.float32) / np.float32(np.log(10.0)))


def _test(comparison: Comparison, cells: Cells, mean: np.ndarray, control: np.ndarray) -> DifferentialExpression:
    p_value = np.empty(mean.shape)
    for rows in comparison.truth.rows_of_contexts:
        p_value[rows] = _p_values(comparison, cells, rows)
    # the scale has nothing below 0: a mean that a model puts there is read as 0
    # means are kept in the precision of the file and their ratio in float64, as the reference does
    treated, untreated = (
        np.expm1(np.maximum(x.astype(np.float64), 0.0)).astype(x.dtype).astype(np.float64) for x in (mean, control)
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        change = np.log2(treated / untreated)
    change[(treated == 0) & (untreated == 0)] = 0.0
    return DifferentialExpression(p_value=p_value, fdr=adjusted(p_value), log2_fold_change=change)


def _p_values(comparison: Comparison, cells: Cells, rows: np.ndarray) -> np.ndarray:
    """p-values [row, gene] of conditions of one context; rows that hold the same cells are tested once."""
    controls = comparison.sides()[2]
    first = int(rows[0])
    sorted_controls = comparison.truth.shared(
        ("sorted controls", controls.key(first)), lambda: _sorted_controls(controls.matrix(first))
    )
    keys = [cells.key(row) for row in rows]
    once: dict[Hashable, int] = {}
    for key, row in zip(keys, rows.tolist(), strict=True):
        once.setdefault(key, row)
    found = dict(zip(once, _tested(cells, list(once.values()), sorted_controls), strict=True))
    return np.stack([found[key] for key in keys])


def _tested(cells: Cells, rows: list[int], controls: _Controls) -> Iterator[np.ndarray]:
    """p-values [gene] of each row."""
    groups: list[sp.csr_matrix] = []
    for row in rows:
        group = cells.matrix(row)
        if groups and group.nnz + sum(held.nnz for held in groups) > STORED:
            yield from _of_groups(groups, controls)
            groups = []
        groups.append(group)
    yield from _of_groups(groups, controls)


def _of_groups(groups: list[sp.csr_matrix], controls: _Controls) -> np.ndarray:
    """p-values [group, gene] by the normal approximation with tie and continuity correction."""
    columns = _sorted_columns(groups)
    n = np.array([[group.shape[0] for group in groups]])
    m = controls.cells
    u, tie_term = np.empty((2, *columns.stored.shape))
    sorted_values = controls.columns.values, columns.values
    if any(values.dtype != np.float32 for values in sorted_values):
        rank_sums, sorted_values = _kernels().wide_rank_sums, tuple(x.astype(np.float64) for x in sorted_values)
    else:
        rank_sums = _kernels().rank_sums
    rank_sums(
        sorted_values[0],
        controls.columns.start,
        m,
        controls.ties,
        sorted_values[1],
        columns.groups,
        columns.start,
        (n - columns.stored).astype(np.float64),
        u,
        tie_term,
    )
    total = n + m
    variance = n * m / 12 * (total + 1 - tie_term / (total * np.maximum(total - 1, 1)))
    # rounding of the tie term must not give a gene without spread a variance
    spread = np.sqrt(np.where(variance > 1e-9 * n * m, variance, 0.0))
    off = np.abs(u - n * m / 2) - 0.5
    z = np.divide(off, spread, out=np.full_like(off, -np.inf), where=spread > 0)
    return np.minimum(2 * ndtr(-z), 1.0).T


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Columns:
    """Non-zeros of groups of cells, gene by gene, sorted within each gene; which cell they belong to is lost.

    Attributes:
        values: by gene, then by value, then by group.
        groups: the group of each value.
        start: [gene + 1] where each gene starts.
        stored: [gene, group] how many there are.
    """

    values: np.ndarray
    groups: np.ndarray
    start: np.ndarray
    stored: np.ndarray


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Controls:
    """Sorted control cells with sum(t^3 - t) over the ties of each gene, zeros included [gene]."""

    columns: _Columns
    ties: np.ndarray
    cells: int


def _sorted_columns(groups: list[sp.csr_matrix]) -> _Columns:
    genes = groups[0].shape[1]
    parts = [(group.data, group.indices.astype(np.int32, copy=False)) for group in groups]
    # zeros that a file stores are zeros all the same
    counts = np.zeros((len(groups), genes), dtype=np.int64)
    for number, (data, index) in enumerate(parts):
        _kernels().count(index if data.all() else index[data != 0], counts[number])
    stored = np.ascontiguousarray(counts.T)
    start = np.concatenate([[0], np.cumsum(stored.sum(axis=1))])
    keys = np.empty(start[-1], dtype=np.uint64)
    # group in the low half, value in the high one: positive float32 values sort like the integers of their bits
    owners, values = keys.view(np.int32)[::2], keys.view(np.float32)[1::2]
    packed = sys.byteorder == "little" and all(_is_positive_float32(data) for data, _ in parts)
    if not packed:
        values = np.empty(start[-1])
    place = _kernels().place if packed else _kernels().wide_place
    position = start[:-1].copy()
    for number, (data, index) in enumerate(parts):
        place(data.astype(values.dtype, copy=False), index, number, position, values, owners)
    for low, high in itertools.pairwise(start.tolist()):
        if packed:
            keys[low:high].sort()  # numpy sorts these by vector instructions
        else:
            order = np.argsort(values[low:high], kind="stable")  # stable: groups came in their order
            values[low:high], owners[low:high] = values[low:high][order], owners[low:high][order]
    return _Columns(values=values, groups=owners, start=start, stored=stored)


@functools.cache
def _kernels() -> SimpleNamespace:
    from perturbcast.metrics.native import load

    return load("perturbcast.metrics._rank_sums")


def _is_positive_float32(values: np.ndarray) -> bool:
    """Whether no value is negative and none loses a digit as float32."""
    narrow = values.astype(np.float32, copy=False)
    return bool(values.min(initial=0) >= 0 and (narrow is values or np.array_equal(narrow, values)))


def _sorted_controls(x: sp.csr_matrix) -> _Controls:
    columns = _sorted_columns([x])
    genes, n = len(columns.start) - 1, x.shape[0]
    stored = columns.stored[:, 0]
    gene = np.repeat(np.arange(genes), stored)
    starts = np.flatnonzero(np.r_[True, (np.diff(columns.values) != 0) | (np.diff(gene) != 0)][: len(columns.values)])
    runs = np.diff(np.r_[starts, len(columns.values)]).astype(np.float64)
    ties = np.bincount(gene[starts], weights=runs**3 - runs, minlength=genes)
    zeros = (n - stored).astype(np.float64)
    return _Controls(columns=columns, ties=ties + zeros**3 - zeros, cells=n)
