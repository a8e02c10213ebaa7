"""Cells of a predicted condition: control cells moved by an effect that is drawn from mean and calibrated spread.

A model states how far measured effects lie from its prediction; conformal factors say how much of that was true. Each
sampled cell is one control cell, drawn with replacement where more are asked than there are, under an effect
delta + e with e ~ N(0, s^2) per gene, s the calibrated standard deviation. The spread of the cells is thus that of the
controls plus what is not known about the effect.

An effect moves the mean of a gene from c to m = max(c + delta + e, 0). Where every control expresses the gene, cells
are scaled down by m / c or shifted up. Where a share z of them does not, a decrease silences cells: one keeps its value
with probability (m / c)^z and is scaled by (m / c)^(1 - z). An increase switches silent cells on, to the mean of those
that express it, with probability up to 1, and shifts the expressing ones by the rest. Either way the expected mean is
m, no value is below zero, and sparse genes stay sparse; adding the effect to every cell and clipping does none of this.

For whoever compares cells, above all callers of the prediction service. Scoring a mean prediction by itself
(``evaluation.cells.MovedCells``) adds and clips instead: no spread but that of the controls, which is the least that a
mean claims, and no score that hangs on a seed.

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
        intervals: level (0 to 1) -> half width of the same shape; infinite entries are left out.
    """
    total, levels = np.zeros_like(variance), np.zeros_like(variance)
    for level, half in intervals.items():
        finite = np.isfinite(half)
        total += np.where(finite, half, 0) / NormalDist().inv_cdf((1 + level) / 2)
        levels += finite
    return np.where(levels > 0, (total / np.maximum(levels, 1)) ** 2, variance)


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
    return _moved(cells, effect, controls=controls, uniform=generator.random((count, genes), dtype=np.float32))


def _moved(
    cells: np.ndarray, effect: np.ndarray, *, controls: sp.csr_matrix | np.ndarray, uniform: np.ndarray
) -> np.ndarray:
    """Cells [cell, gene] under an effect of the same shape; ``uniform`` in [0, 1) decides which are switched."""
    mean = np.asarray(controls.mean(axis=0), dtype=np.float32).ravel()
    expressing = np.asarray((controls > 0).sum(axis=0), dtype=np.float32).ravel() / np.float32(controls.shape[0])
    silent = 1 - expressing
    level = np.divide(mean, expressing, out=np.zeros_like(mean), where=expressing > 0)  # mean of those that express
    ratio = np.divide(np.maximum(mean + effect, 0), mean, out=np.zeros_like(effect), where=mean > 0)
    lowered = np.where(uniform < ratio**silent, cells * ratio**expressing, 0)
    chance = np.where(level > 0, np.divide(effect, level, out=np.zeros_like(effect), where=level > 0), 1).clip(0, 1)
    on = (cells > 0) | (uniform < chance)
    rest = (effect - silent * chance * level) / (expressing + silent * np.where(effect > 0, chance, 1))
    raised = np.where(on, np.where(cells > 0, cells, level) + rest, 0)
    return np.asarray(np.where(effect > 0, raised, np.where(effect < 0, lowered, cells)))
