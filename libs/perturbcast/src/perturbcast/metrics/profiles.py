"""Row-wise similarities of condition profiles that several metrics share.

A profile without direction (all zero, or constant where the mean is taken out) has no defined angle to
another one: the functions give 0 for it, and ``directed`` says which rows have one.

Axes: C conditions, G genes.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

__all__ = ["centred", "directed", "distances", "log2_fold_change", "normalised", "rounding", "similarity"]

GENES = 512  # genes of all profiles whose differences are held at once
PSEUDOCOUNT = 0.1  # PerturBench's, on the log1p means as given


def log2_fold_change(mean: np.ndarray, control: np.ndarray) -> np.ndarray:
    """log2(mean + 0.1) - log2(control + 0.1) [condition, gene], float64.

    A mean below 0 is read as 0: the scale of the means (log1p) has no values below it, and PerturBench
    would give NaN.
    """
    treated, untreated = (np.maximum(x.astype(np.float64), 0.0) + PSEUDOCOUNT for x in (mean, control))
    return np.log2(treated) - np.log2(untreated)


def centred(profiles: np.ndarray) -> np.ndarray:
    """Profiles minus their mean over genes."""
    return profiles - profiles.mean(axis=1, keepdims=True)


def rounding(means: np.ndarray) -> float:
    """Size below which a difference of such means is rounding: copies of the controls must not get a direction.

    Means summed over many cells in float32 differ by some 1e-6 when the cells come in another order.
    """
    return max(32 * float(np.finfo(means.dtype).eps), 1e-12)


def directed(profiles: np.ndarray, *, noise: float) -> np.ndarray:
    """[condition] bool: the profile is more than rounding of root mean square ``noise``."""
    return np.linalg.norm(profiles, axis=1) > noise * np.sqrt(profiles.shape[1])


def normalised(profiles: np.ndarray, *, noise: float) -> np.ndarray:
    """Profiles at length 1; those without direction at 0."""
    keep = directed(profiles, noise=noise)[:, None]
    length = np.linalg.norm(profiles, axis=1, keepdims=True)
    return np.divide(profiles, length, out=np.zeros_like(profiles), where=keep)


def similarity(a: np.ndarray, b: np.ndarray, *, noise: float) -> np.ndarray:
    """Cosine of each row of ``a`` with the same row of ``b`` [condition]."""
    cosine: np.ndarray = (normalised(a, noise=noise) * normalised(b, noise=noise)).sum(axis=1)
    return cosine


def distances(a: np.ndarray, b: np.ndarray, *, norm: Literal["l1", "l2"]) -> np.ndarray:
    """Distance of each row of ``a`` to each of ``b`` [a, b], float64 (scipy has it, but takes 0.1 s to import).

    Equal rows are at equal distances to the last bit: no product is expanded.
    """
    total = np.zeros((len(a), len(b)))
    for start in range(0, a.shape[1], GENES):
        left, right = (x[:, start : start + GENES].astype(np.float64) for x in (a, b))
        apart = np.empty_like(right)
        for k, row in enumerate(left):
            np.subtract(right, row, out=apart)
            total[k] += np.abs(apart, out=apart).sum(axis=1) if norm == "l1" else np.einsum("bg,bg->b", apart, apart)
    return total if norm == "l1" else np.sqrt(total)
