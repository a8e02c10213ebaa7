"""Compiled part of the Mann-Whitney test: walks the sorted non-zeros of many groups beside those of the controls.

Loaded by ``native``, which imports this module to compile it and not again. Each kernel is there for float32 values
and, as ``wide_...``, for float64 ones.
"""

from __future__ import annotations

import numba
import numpy as np

from perturbcast.metrics.native import kernel

__all__ = ["KERNELS", "count", "place", "rank_sums", "wide_place", "wide_rank_sums"]

KERNELS = ("count", "place", "rank_sums", "wide_place", "wide_rank_sums")


@kernel("none(int32[::1], int64[::1])")
def count(genes: np.ndarray, counts: np.ndarray) -> None:
    """Count how often each gene occurs [gene], onto what is there."""
    for i in range(len(genes)):
        counts[genes[i]] += 1


def _place(
    data: np.ndarray, genes: np.ndarray, group: int, position: np.ndarray, values: np.ndarray, groups: np.ndarray
) -> None:
    """Put the non-zeros of a group where their genes have room.

    Args:
        data: stored values of the group's cells; zeros among them are left out.
        genes: their genes.
        group: number of the group.
        position: [gene] the next free place, moved on.
        values: filled.
        groups: filled with ``group`` at the same places.
    """
    for i in range(len(data)):
        x = data[i]
        if x != 0:
            gene = genes[i]
            k = position[gene]
            values[k] = x
            groups[k] = group
            position[gene] = k + 1


def _rank_sums(
    controls: np.ndarray,
    control_start: np.ndarray,
    n_controls: int,
    control_ties: np.ndarray,
    values: np.ndarray,
    groups: np.ndarray,
    start: np.ndarray,
    n_zeros: np.ndarray,
    u: np.ndarray,
    ties: np.ndarray,
) -> None:
    """Mann-Whitney U of each group, and the tie term sum(t^3 - t) of group and controls together.

    Args:
        controls: non-zeros of the controls, sorted within each gene.
        control_start: [gene + 1] where each gene starts in ``controls``.
        n_controls: control cells, zeros included.
        control_ties: [gene] sum(t^3 - t) over the ties of the controls alone.
        values: non-zeros of all groups, sorted within each gene.
        groups: the group of each value; equal values of a gene are in the order of their groups.
        start: [gene + 1] where each gene starts in ``values``.
        n_zeros: [gene, group] cells of the group that are zero.
        u: filled [gene, group].
        ties: filled [gene, group].
    """
    for gene in range(len(start) - 1):
        low, high = control_start[gene], control_start[gene + 1]
        negative = 0
        while low + negative < high and controls[low + negative] < 0:
            negative += 1
        zeros = float(n_controls - (high - low))
        for group in range(n_zeros.shape[1]):
            u[gene, group] = n_zeros[gene, group] * (negative + 0.5 * zeros)
            ties[gene, group] = control_ties[gene] + _added(zeros, n_zeros[gene, group])
        left, i, last = low, start[gene], start[gene + 1]
        while i < last:
            x = values[i]
            while left < high and controls[left] < x:
                left += 1
            if (i + 1 == last or values[i + 1] != x) and (left == high or controls[left] != x):  # tied with nothing
                u[gene, groups[i]] += (left - low) + (zeros if x > 0 else 0.0)
                i += 1
                continue
            right = left
            while right < high and controls[right] == x:
                right += 1
            equal = float(right - left)
            below = (left - low) + 0.5 * equal
            if x > 0:
                below += zeros
            while i < last and values[i] == x:
                group, first = groups[i], i
                while i < last and values[i] == x and groups[i] == group:
                    i += 1
                u[gene, group] += (i - first) * below
                ties[gene, group] += _added(equal, float(i - first))


@numba.njit(error_model="numpy")
def _added(there: float, more: float) -> float:
    """What ``more`` equal values add to t^3 - t of the ``there`` ones."""
    both = there + more
    return (both * both * both - both) - (there * there * there - there)


_PLACE = "none({0}[::1], int32[::1], int64, int64[::1], {0}[:], int32[:])"
_RANK_SUMS = (
    "none({0}[:], int64[::1], int64, float64[::1], {0}[:], int32[:], int64[::1], float64[:, ::1], "
    "float64[:, ::1], float64[:, ::1])"
)
place, wide_place = (kernel(_PLACE.format(number))(_place) for number in ("float32", "float64"))
rank_sums, wide_rank_sums = (kernel(_RANK_SUMS.format(number))(_rank_sums) for number in ("float32", "float64"))
