"""Compiled part of the Mann-Whitney test: searches the non-zeros of a group in the sorted ones of the controls.

A private module, so that looking for metrics does not import numba: half a second for a panel that has no use for it.
"""

from __future__ import annotations

import numba
import numpy as np

__all__ = ["rank_sums", "sort_within"]


@numba.njit(cache=True)
def _below(values: np.ndarray, low: int, high: int, x: float, equal: bool) -> int:
    """First position in sorted ``values[low:high]`` that is not below ``x`` (or, with ``equal``, is above it)."""
    while low < high:
        middle = (low + high) // 2
        if values[middle] < x or (equal and values[middle] == x):
            low = middle + 1
        else:
            high = middle
    return low


@numba.njit(cache=True)
def sort_within(values: np.ndarray, start: np.ndarray) -> None:
    """Sort the values of each gene in place; gene k holds ``values[start[k]:start[k + 1]]``."""
    for gene in range(len(start) - 1):
        values[start[gene] : start[gene + 1]].sort()


@numba.njit(cache=True)
def rank_sums(
    controls: np.ndarray,
    control_start: np.ndarray,
    n_controls: int,
    control_ties: np.ndarray,
    group: np.ndarray,
    group_start: np.ndarray,
    n_group: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Mann-Whitney U of the group and the tie term sum(t^3 - t) of both samples together [gene].

    Args:
        controls: stored non-zeros of the controls, sorted within each gene.
        control_start: [gene + 1] where each gene starts in ``controls``.
        n_controls: control cells, zeros included.
        control_ties: [gene] sum(t^3 - t) over the ties of the controls alone.
        group: non-zeros of the group, sorted within each gene.
        group_start: [gene + 1].
        n_group: cells of the group.
    """
    n_genes = len(control_start) - 1
    u = np.empty(n_genes)
    ties = np.empty(n_genes)
    for gene in range(n_genes):
        low, high = control_start[gene], control_start[gene + 1]
        first, last = group_start[gene], group_start[gene + 1]
        control_zeros = n_controls - (high - low)
        group_zeros = n_group - (last - first)
        negative = _below(controls, low, high, 0.0, False) - low
        below = group_zeros * (negative + 0.5 * control_zeros)
        tie = control_ties[gene]
        both, alone = float(control_zeros + group_zeros), float(control_zeros)
        tie += (both**3 - both) - (alone**3 - alone)
        k = first
        left = low
        while k < last:
            x = group[k]
            run = k
            while run < last and group[run] == x:
                run += 1
            left = _below(controls, left, high, x, False)  # the group is sorted: never before the last
            right = left
            if left < high and controls[left] == x:
                right = _below(controls, left, high, x, True)
            zeros = control_zeros if x > 0 else 0
            below += (run - k) * (zeros + (left - low) + 0.5 * (right - left))
            both, alone = float(right - left + run - k), float(right - left)
            tie += (both**3 - both) - (alone**3 - alone)
            k = run
        u[gene] = below
        ties[gene] = tie
    return u, ties
