"""x = sin(4 pi w.x_pa) + 0.1 e, fast oscillation: smooth models see only noise.

w is +-U(0.5, 2) divided by its norm, so that w.x_pa keeps about unit variance for any number of parents.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from perturbcast.simulation.mechanisms.batch import Batch
from perturbcast.simulation.mechanisms.weights import require_unit_variance, signed_weights


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Attributes:
    noise_scale: sd of the added noise before standardisation.
    """

    noise_scale: float = 0.1


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Periodic:
    """weights [parent] and noise_scale of one node."""

    weights: np.ndarray
    noise_scale: float

    def __call__(self, parents: np.ndarray, noise: np.ndarray) -> np.ndarray:
        u: np.ndarray = self.weights @ parents
        value: np.ndarray = np.sin(4 * np.pi * u) + self.noise_scale * noise
        return value


def build(config: Config, *, batch: Batch, generator: np.random.Generator) -> Periodic:
    """Draw weights.

    Raises:
        ValueError: the parents of the batch do not have about unit variance.
    """
    require_unit_variance(batch.parents, "periodic")
    weights = signed_weights(len(batch.parents), generator)
    return Periodic(weights=weights / np.linalg.norm(weights), noise_scale=config.noise_scale)
