"""Random smooth functions: a Gaussian process written as a sum of random cosines (Rahimi and Recht 2007)."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

__all__ = ["RandomFourier", "draw_fourier"]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class RandomFourier:
    """x -> c sqrt(2/M) sum_m w_m cos(omega_m.x + phi_m), a function that stays the same wherever it is asked.

    Arrays are float32: cosines cost a third of float64, and their error (1e-6) is far below any noise.

    Attributes:
        omega: [feature, input] frequencies, 1 / sd.
        phase: [feature] in radians.
        weights: [feature], c sqrt(2/M) times standard normal draws.
    """

    omega: np.ndarray
    phase: np.ndarray
    weights: np.ndarray

    def __call__(self, inputs: np.ndarray) -> np.ndarray:
        """Values [sample] at ``inputs`` [input, sample]."""
        angle = self.omega @ inputs.astype(np.float32)
        angle += self.phase[:, None]
        value: np.ndarray = (self.weights @ np.cos(angle, out=angle)).astype(np.float64)
        return value


def draw_fourier(
    n_inputs: int,
    generator: np.random.Generator,
    *,
    amplitude: float,
    lengthscale: float | np.ndarray,
    n_features: int,
) -> RandomFourier:
    """A draw with kernel amplitude^2 exp(-|x - y|^2 / (2 l^2)).

    Args:
        n_inputs: dimension of x.
        generator: source of randomness.
        amplitude: sd of the function's value at a point, over draws.
        lengthscale: l in sd of the inputs; [feature, 1] to mix several.
        n_features: number M of cosines.
    """
    omega = generator.standard_normal((n_features, n_inputs)) / lengthscale
    phase = generator.uniform(0, 2 * math.pi, n_features)
    weights = amplitude * math.sqrt(2 / n_features) * generator.standard_normal(n_features)
    return RandomFourier(
        omega=omega.astype(np.float32), phase=phase.astype(np.float32), weights=weights.astype(np.float32)
    )
