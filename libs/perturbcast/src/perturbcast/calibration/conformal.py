"""Split conformal intervals: widths that held the measured delta on conditions the model never saw.

The score of a (condition, gene) pair is |d - mean| / sigma. The factor of a level is the score of rank
ceil((n + 1) * level) among the n calibration pairs (Vovk; Papadopoulos et al. 2002; Lei et al. 2018), infinite
where n is too small for the level.

Groups (Mondrian): pairs are grouped by the control expression of the gene in their context, and each group has
factors of its own, so that the silent genes, which are predicted well by saying nothing, do not narrow the
intervals of the expressed ones. The edges are quantiles of the train controls (no outcome has a part in them). Rule:
the largest number of groups up to ``MAX_GROUPS`` with which each holds at least ``MIN_PAIRS`` calibration pairs.

What is promised: pairs of one condition are not independent, so n pairs are not n observations. Conditions are what
is exchangeable. For a random gene of a new condition that is exchangeable with the m calibration conditions, the
factor of a level holds at least ``level * m / (m + 1)`` of the time however alike the pairs of one condition are
(hierarchical exchangeability, Lee, Barber and Willett 2023, arXiv 2306.06342; conditions with equally many genes in
the group), and ``level`` where they are independent. The record keeps both counts and that bound. It is about a
*measured* delta of about as many cells as a calibration condition has. Under a shift between calibration and test
there is no promise: the report shows what was measured.

Axes: C conditions, G genes, K groups.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from perturbcast.schema import Condition

__all__ = ["LEVELS", "MAX_GROUPS", "MIN_PAIRS", "Calibration", "calibrate"]

LEVELS = (0.5, 0.8, 0.9, 0.95)
MAX_GROUPS = 4
MIN_PAIRS = 200  # the rank of the 95 % factor then has a standard error of 1.5 points, were pairs independent


@dataclasses.dataclass(frozen=True, kw_only=True)
class Calibration:
    """Factors by which sigma is multiplied, and where they come from.

    Attributes:
        factors: level -> factor of each group [K] (dimensionless; infinite where there were too few pairs).
        edges: [K - 1] control expression (units of X, ascending) between groups; a gene at an edge is below it.
        pairs: [K] (condition, gene) pairs scored.
        conditions: the calibration conditions.
        cells_sha256: sha256 of the sorted calibration barcodes, one per line.
        origin: which part of which split the cells come from.
    """

    factors: Mapping[float, tuple[float, ...]]
    edges: tuple[float, ...]
    pairs: tuple[int, ...]
    conditions: tuple[Condition, ...]
    cells_sha256: str
    origin: str

    def half_widths(
        self, variance: np.ndarray, *, control: np.ndarray, levels: Collection[float] | None = None
    ) -> dict[float, np.ndarray]:
        """Level -> half width [condition, gene].

        Args:
            variance: [condition, gene] of the predictions.
            control: [condition, gene] control means that were their input.
            levels: those of ``factors`` that are wanted; None for all.
        """
        factors = {level: f for level, f in self.factors.items() if levels is None or level in levels}
        if not factors:
            return {}
        sigma, group = np.sqrt(variance), np.searchsorted(self.edges, control)
        return {level: _widened(sigma, np.asarray(factor)[group]) for level, factor in factors.items()}

    def least_coverage(self, level: float) -> float:
        """Share of measured deltas that the intervals hold at least, on average over exchangeable conditions."""
        return level * len(self.conditions) / (len(self.conditions) + 1)


def calibrate(
    *,
    measured: np.ndarray,
    predicted: np.ndarray,
    variance: np.ndarray,
    control: np.ndarray,
    train_control: np.ndarray,
    conditions: Sequence[Condition],
    cells: Collection[str],
    forbidden: Collection[str],
    origin: str,
    levels: Sequence[float] = LEVELS,
) -> Calibration:
    """Conformal factors from calibration conditions.

    Args:
        measured: [condition, gene] measured deltas of the calibration conditions.
        predicted: [condition, gene] predicted deltas.
        variance: [condition, gene] the model's variance, positive.
        control: [condition, gene] control means that were the input of the prediction.
        train_control: [context, gene] control means of the train contexts; the edges of the groups.
        conditions: the calibration conditions, in row order.
        cells: barcodes that ``measured`` was computed from.
        forbidden: barcodes of train, validation and test; none may be in ``cells``.
        origin: for the record.
        levels: probabilities between 0 and 1.

    Raises:
        ValueError: a forbidden barcode is among ``cells``, or a variance is not positive.
    """
    if not (variance > 0).all():
        raise ValueError(
            f"A score divides by the stated standard deviation; {int((~(variance > 0)).sum())} variances are not "
            "positive. The model has to state how far measured effects lie from its prediction."
        )
    leaked = sorted(set(cells) & set(forbidden))
    if leaked:
        raise ValueError(
            f"Calibration cells are in no other part of the split; {len(leaked)} are, first {leaked[0]!r}. "
            "Calibrate on the 'calibration' part only."
        )
    edges = _edges(control, train_control)
    group = np.searchsorted(edges, control).ravel()
    scores = (np.abs(measured - predicted) / np.sqrt(variance)).ravel()
    of_group = [np.sort(scores[group == k]) for k in range(len(edges) + 1)]
    return Calibration(
        factors={level: tuple(_factor(ordered, level) for ordered in of_group) for level in levels},
        edges=tuple(map(float, edges)),
        pairs=tuple(len(ordered) for ordered in of_group),
        conditions=tuple(conditions),
        cells_sha256=hashlib.sha256("\n".join(sorted(cells)).encode()).hexdigest(),
        origin=origin,
    )


def _factor(ordered: np.ndarray, level: float) -> float:
    """The score of rank ceil((n + 1) * level); infinite where that is beyond n."""
    rank = math.ceil((len(ordered) + 1) * level)
    return float(ordered[rank - 1]) if rank <= len(ordered) else math.inf


def _edges(control: np.ndarray, train_control: np.ndarray) -> np.ndarray:
    """Edges of the largest number of groups with enough calibration pairs in each; none where one group it is."""
    for groups in range(MAX_GROUPS, 1, -1):
        # many genes are silent: equal quantiles are one edge
        edges = np.unique(np.quantile(train_control, np.arange(1, groups) / groups))
        pairs = np.bincount(np.searchsorted(edges, control).ravel(), minlength=len(edges) + 1)
        if pairs.min() >= MIN_PAIRS:
            return edges
    return np.empty(0)


def _widened(sigma: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """factor * sigma, infinite where the factor is, also for a sigma of 0."""
    return np.multiply(sigma, factor, out=np.full_like(sigma, np.inf), where=np.isfinite(factor))
