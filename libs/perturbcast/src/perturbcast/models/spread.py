"""Variance that a baseline states: how far measured effects lie from what it predicts.

Per gene, from the spread of *effect estimates* around the prediction over train conditions, plus the
sampling error of a condition's mean. The cell-level spread is not used: it says how cells differ, not how
well an effect is known.
"""

from __future__ import annotations

import numpy as np

__all__ = ["context_variance", "effect_variance", "sampling_variance"]

PRIOR_DEGREES = 1.0  # one pseudo-observation of the typical gene: three conditions alone leave many genes at 0
FLOOR = 1e-6


def effect_variance(residual: np.ndarray, *, degrees: float) -> np.ndarray:
    """Moderated variance [gene] of effect estimates around a prediction.

    Args:
        residual: [condition, gene] measured minus predicted delta on train conditions.
        degrees: degrees of freedom left in ``residual``, at least 1 (callers fall back to a coarser
            prediction below that).

    Returns:
        (sum of squares + prior * typical variance) / (degrees + prior), the typical variance being the
        median over genes that vary, floored at 1e-6.
    """
    squares = (residual**2).sum(axis=0)
    raw = squares / max(degrees, 1.0)
    typical = float(np.median(raw[raw > 0])) if (raw > 0).any() else 0.0
    return np.maximum((squares + PRIOR_DEGREES * typical) / (max(degrees, 1.0) + PRIOR_DEGREES), FLOOR)


def context_variance(perturbations: np.ndarray, delta: np.ndarray, *, otherwise: np.ndarray) -> np.ndarray:
    """Variance [gene] of one perturbation's effect between contexts, pooled over perturbations.

    Args:
        perturbations: [condition] names.
        delta: [condition, gene] effect estimates.
        otherwise: [gene] where no perturbation was measured in two contexts.
    """
    unique = np.unique(
        perturbations
    )  # in one order: a set's order differs between processes, and so would the last bit
    of_same = [delta[perturbations == name] for name in unique]
    degrees = len(perturbations) - len(unique)
    if degrees == 0:
        return otherwise
    return effect_variance(np.concatenate([rows - rows.mean(axis=0) for rows in of_same]), degrees=degrees)


def sampling_variance(error: np.ndarray) -> np.ndarray:
    """Typical sampling variance [gene] of a condition's delta: the mean over train conditions, at least 1e-6.

    A gene that no train cell expresses has an error of 0 and still can be expressed by the next condition.
    """
    return np.maximum(error.mean(axis=0), FLOOR)
