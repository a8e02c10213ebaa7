"""Noise of mean 0 and variance 1 in four shapes, from light to heavy tails."""

from __future__ import annotations

import math

import numpy as np

from perturbcast.errors import UsageError

__all__ = ["NOISES", "draw_noise"]

NOISES = ("gaussian", "laplace", "uniform", "student_t")


def draw_noise(name: str, shape: tuple[int, ...], generator: np.random.Generator) -> np.ndarray:
    """Independent draws, float64, mean 0 and variance 1.

    Args:
        name: one of ``NOISES``; ``student_t`` has 3 degrees of freedom.
        shape: of the result.

    Raises:
        UsageError: an unknown name.
    """
    if name == "gaussian":
        return generator.standard_normal(shape)
    if name == "laplace":
        return generator.laplace(scale=math.sqrt(0.5), size=shape)
    if name == "uniform":
        return generator.uniform(-math.sqrt(3), math.sqrt(3), size=shape)
    if name == "student_t":
        return generator.standard_t(3, size=shape) / math.sqrt(3)
    raise UsageError(f"Noise is one of {', '.join(NOISES)}; {name!r} is not. Take one of them.")
