"""Linear weights that are never near zero, shared by the families that start from w.x."""

from __future__ import annotations

import numpy as np

__all__ = ["require_unit_variance", "signed_weights"]


def signed_weights(n: int, generator: np.random.Generator, *, low: float = 0.5, high: float = 2.0) -> np.ndarray:
    """[n] values +-U(low, high): no parent is too weak to matter, no sign is preferred."""
    return generator.choice((-1.0, 1.0), size=n) * generator.uniform(low, high, size=n)


def require_unit_variance(parents: np.ndarray, family: str) -> None:
    """Refuse parents [parent, sample] whose scale the formula of ``family`` does not fit.

    Raises:
        ValueError: a parent's standard deviation is not about 1.
    """
    sd = parents.std(axis=1)
    # A heavy-tailed batch has a noisy sd; what must be caught is growth along the graph.
    if (abs(np.log(sd)) > np.log(2)).any():
        raise ValueError(
            f"Mechanism {family!r} is defined for parents of unit variance; their sd runs from {sd.min():.3g} to "
            f"{sd.max():.3g}. Standardise inside the model (standardise=True)."
        )
