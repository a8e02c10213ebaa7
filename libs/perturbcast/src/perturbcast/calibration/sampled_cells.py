"""Cells of a predicted condition: control cells moved by an effect that is drawn from mean and calibrated spread.

A model states how far measured effects lie from its prediction; conformal factors say how much of that was true. Each
sampled cell is one control cell, drawn with replacement where more are asked than there are, under an effect
delta + e with e ~ N(0, s^2) per gene, s the calibrated standard deviation. The spread of the cells is thus that of the
controls plus what is not known about the effect.

An effect moves the mean of a gene from c to m = max(c + delta + e, 0). Upwards it is added to the cell; downwards the
cell is scaled by m / c. Both move the mean by the effect and neither goes below zero, whereas adding a negative delta
and clipping leaves the mean of a gene with many zeros too high.

Axes: N cells, G genes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from statistics import NormalDist

import numpy as np
import scipy.sparse as sp

from perturbcast.schema import Condition

__all__ = ["calibrated_variance", "generator_of", "sample_cells"]


def generator_of(condition: Condition, *, seed: int) -> np.random.Generator:
    """The generator of one condition's cells: it does not depend on which other conditions are asked for."""
    digest = int.from_bytes(hashlib.sha256(str(condition).encode()).digest()[:8], "little")
    return np.random.default_rng([seed, digest])


def calibrated_variance(variance: np.ndarray, intervals: Mapping[float, np.ndarray]) -> np.ndarray:
    """Variance of a normal effect whose central intervals have, on average over levels, the calibrated widths.

    Args:
        variance: [condition, gene] or [gene] the model's variance; the answer where no level has a finite width.
        intervals: level (0 to 1) -> half width of the same shape; infinite ones are left out.
    """
    widths = [
        half / NormalDist().inv_cdf((1 + level) / 2) for level, half in intervals.items() if np.isfinite(half).all()
    ]
    return np.mean(widths, axis=0) ** 2 if widths else variance


def sample_cells(
    controls: sp.csr_matrix | np.ndarray,
    *,
    delta: np.ndarray,
    variance: np.ndarray,
    count: int,
    generator: np.random.Generator,
    signed: bool = False,
) -> np.ndarray:
    """``count`` cells [cell, gene] float32 of a condition, in the units of ``controls``.

    Args:
        controls: [cell, gene] control cells of the condition's context.
        delta: [gene] predicted delta.
        variance: [gene] variance of the effect around ``delta``; zeros give the predicted mean effect in every cell.
        count: cells to draw; each control is used at most once while there are enough.
        generator: decides every draw.
        signed: values may be negative (signatures, not expression); effects are then added, never scaled.

    Raises:
        ValueError: no control cell, a shape that does not fit, or a value that no cell can have.
    """
    n, genes = controls.shape
    if n == 0 or count < 1:
        raise ValueError(
            f"Cells are sampled from control cells, at least one of one; got {n} controls and count {count}. "
            "Give control cells of the condition's context."
        )
    if delta.shape != (genes,) or variance.shape != (genes,):
        raise ValueError(
            f"Delta and variance have one value per gene of the controls ({genes}); got {delta.shape} and "
            f"{variance.shape}. Give one row of a prediction, in the gene order of the controls."
        )
    if not (np.isfinite(delta).all() and np.isfinite(variance).all() and (variance >= 0).all()):
        raise ValueError("Delta and variance are finite and a variance is not negative. Check the prediction.")
    rows = generator.permutation(n)[:count] if count <= n else generator.integers(n, size=count)
    chosen = controls[np.sort(rows)]
    cells = np.asarray(chosen.toarray() if sp.issparse(chosen) else chosen, dtype=np.float32)
    effect = generator.standard_normal((count, genes), dtype=np.float32) * np.sqrt(variance, dtype=np.float32)
    effect += delta.astype(np.float32)
    if signed:
        return cells + effect
    mean = np.asarray(controls.mean(axis=0), dtype=np.float32).ravel()
    moved = np.maximum(mean + effect, 0)
    share = np.divide(moved, mean, out=np.zeros_like(moved), where=mean > 0)
    return np.where(effect >= 0, cells + effect, cells * share)
