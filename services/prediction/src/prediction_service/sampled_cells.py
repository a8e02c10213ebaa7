"""Draws cells of a predicted response: control cells moved by the predicted delta, with the model's spread.

Distribution metrics compare cells, and a model predicts means. A sampled cell is a control cell of the request, drawn
with replacement, plus normal noise per gene whose standard deviation is the calibrated one of the delta, shifted so
that after clipping at 0 the mean over the sampled cells is

    max(mean over the drawn controls + delta, 0)        per gene, in the model's scale

Clipping without that shift would raise the mean of every gene that many cells do not express. How cells differ in
their response is not known to a model of means: the spread is that of the controls and of the delta's uncertainty.

Axes: cell, gene.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from perturbcast_client.messages import Condition, ControlCells

__all__ = ["deviation", "generator", "sample"]

LEVEL = 0.9  # the interval whose width gives the spread, where calibration offers it
TOLERANCE = 1e-9


def generator(seed: int, condition: Condition) -> np.random.Generator:
    """The draws of one condition: its neighbours in a request and its chunk do not matter."""
    digest = hashlib.sha256(f"{condition.perturbation}\0{condition.context}".encode()).digest()
    return np.random.default_rng([seed, *np.frombuffer(digest, dtype=np.uint32).tolist()])


def deviation(variance: NDArray[np.float64], half_widths: Mapping[float, NDArray[np.float64]]) -> NDArray[np.float64]:
    """Calibrated standard deviation [gene] of delta.

    The half width of the finite interval nearest to 0.9 over the normal quantile of its level; the square root of
    ``variance`` where no interval is finite.
    """
    finite = [level for level, half in half_widths.items() if math.isfinite(half.max(initial=0.0))]
    if not finite:
        return np.sqrt(variance)
    level = min(finite, key=lambda level: (abs(level - LEVEL), level))
    return half_widths[level] / NormalDist().inv_cdf((1 + level) / 2)


def sample(
    controls: ControlCells,
    *,
    columns: NDArray[np.intp] | slice,
    delta: NDArray[np.float64],
    spread: NDArray[np.float64],
    count: int,
    generator: np.random.Generator,
) -> NDArray[np.float32]:
    """Cells [cell, gene] of one condition, not negative.

    Args:
        controls: control cells of its context.
        columns: the model's genes among theirs.
        delta: [gene] predicted.
        spread: [gene] standard deviation of the noise.
        count: cells.
        generator: of every draw.
    """
    drawn = controls.rows(generator.integers(controls.shape[0], size=count))[:, columns]
    target = np.maximum(drawn.mean(axis=0) + delta, 0.0)
    drawn += spread * generator.standard_normal(drawn.shape)
    return _clipped_to_mean(drawn, target).astype(np.float32)


def _clipped_to_mean(x: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
    """max(x + shift, 0) with the shift [gene] that makes its mean ``target``.

    The mean is convex and piecewise linear in the shift with one corner per cell, and the start lies to the right of
    the solution: Newton's steps come down to it and meet it exactly after at most one per corner.
    """
    shift = target - x.mean(axis=0)
    shift[target == 0] = -x.max(axis=0)[target == 0]
    open_ = np.flatnonzero(target > 0)
    for _ in range(len(x) + 1):
        moved = x[:, open_] + shift[open_]
        positive = moved > 0
        excess = np.where(positive, moved, 0.0).mean(axis=0) - target[open_]
        far = excess > TOLERANCE * (1 + target[open_])
        if not far.any():
            break
        shift[open_] -= np.where(far, excess / positive.mean(axis=0).clip(min=1 / len(x)), 0.0)
        open_ = open_[far]
    return np.maximum(x + shift, 0.0)
