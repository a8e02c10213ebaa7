"""Split conformal intervals: widths that held the measured delta on conditions the model never saw.

The score of a (condition, gene) pair is |d - mean| / sigma. The factor of a level is the score of rank
ceil((n + 1) * level) among the n calibration pairs (Vovk; Papadopoulos et al. 2002; Lei et al. 2018), infinite
where n is too small for the level. Pairs of one condition are not independent, so few calibration
conditions make the promise weaker than n suggests; the record keeps both counts. Under a shift between
calibration and test there is no promise: the report shows what was measured.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from perturbcast.schema import Condition

__all__ = ["LEVELS", "Calibration", "calibrate"]

LEVELS = (0.5, 0.8, 0.9, 0.95)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Calibration:
    """Factors by which sigma is multiplied, and where they come from.

    Attributes:
        factors: level -> factor (dimensionless; infinite where there were too few pairs).
        conditions: the calibration conditions.
        n_pairs: (condition, gene) pairs scored.
        cells_sha256: sha256 of the sorted calibration barcodes, one per line.
        origin: which part of which split the cells come from.
    """

    factors: Mapping[float, float]
    conditions: tuple[Condition, ...]
    n_pairs: int
    cells_sha256: str
    origin: str

    def half_widths(self, variance: np.ndarray) -> dict[float, np.ndarray]:
        """Level -> half width [condition, gene] for predictions of the given variance."""
        sigma = np.sqrt(variance)
        return {
            level: np.full_like(sigma, np.inf) if math.isinf(factor) else factor * sigma
            for level, factor in self.factors.items()
        }


def calibrate(
    *,
    measured: np.ndarray,
    predicted: np.ndarray,
    variance: np.ndarray,
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
    scores = np.sort((np.abs(measured - predicted) / np.sqrt(variance)).ravel())
    n = len(scores)
    factors = {}
    for level in levels:
        rank = math.ceil((n + 1) * level)
        factors[level] = float(scores[rank - 1]) if rank <= n else math.inf
    digest = hashlib.sha256("\n".join(sorted(cells)).encode()).hexdigest()
    return Calibration(factors=factors, conditions=tuple(conditions), n_pairs=n, cells_sha256=digest, origin=origin)
