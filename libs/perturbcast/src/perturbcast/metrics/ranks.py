"""Ranks and top sets in which ties share their places, so that no order of a file decides a score.

Axes: C conditions, G genes.
"""

from __future__ import annotations

import numpy as np

__all__ = ["average_precision", "membership", "mid_ranks", "position", "roc_area", "spearman"]


def position(distances: np.ndarray, own: int | np.ndarray, *, tie: float) -> np.ndarray:
    """How many entries of each row come before its own, ties counted half [row].

    Args:
        distances: [row, candidate]; smaller is nearer.
        own: column of the right candidate, one for all rows or [row].
        tie: distances no further apart than this are tied.
    """
    rows = np.arange(len(distances))
    lead = distances - distances[rows, own][:, None]
    tied = (np.abs(lead) <= tie).sum(axis=1) - 1
    return (lead < -tie).sum(axis=1) + tied / 2


def membership(values: np.ndarray, size: int) -> np.ndarray:
    """Share of each value's place among the ``size`` largest: 1, 0, or an equal part at the edge."""
    edge = np.partition(values, -size)[-size]
    above, tied = values > edge, values == edge
    return np.where(tied, (size - above.sum()) / tied.sum(), above)


def mid_ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 1, ties sharing their mean rank (scipy.stats has it, but takes half a second to import)."""
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    return (last - (count - 1) / 2)[place]


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's rank correlation with mid ranks; NaN where a side is constant or has fewer than two values."""
    if len(a) < 2:
        return np.nan
    ranks_a, ranks_b = (mid_ranks(x) - (len(x) + 1) / 2 for x in (a, b))
    length = float(np.sqrt((ranks_a @ ranks_a) * (ranks_b @ ranks_b)))
    return float(ranks_a @ ranks_b) / length if length > 0 else np.nan


def roc_area(wanted: np.ndarray, values: np.ndarray) -> float:
    """Share of pairs (wanted, not wanted) in the right order, ties half: Mann-Whitney U over all pairs."""
    n = int(wanted.sum())
    return float((mid_ranks(values)[wanted].sum() - n * (n + 1) / 2) / (n * (len(wanted) - n)))


def average_precision(wanted: np.ndarray, values: np.ndarray) -> float:
    """Sum over distinct thresholds of precision times the gain in recall; ties enter together."""
    order = np.argsort(-values, kind="stable")
    last = np.flatnonzero(np.r_[np.diff(values[order]) != 0, True])
    found = np.cumsum(wanted[order])[last]
    precision = found / (last + 1)
    return float((precision * np.diff(found, prepend=0)).sum() / wanted.sum())
