"""x = 4 s (1 - s) + 0.05 e with s = sigmoid(w.x_pa): the chaotic map's hump, an even function of w.x_pa.

w is +-U(0.5, 2) divided by its norm. Roots are their noise: with the map's value at zero in their place,
everything downstream would be constant.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy.special import expit

from perturbcast.simulation.mechanisms.batch import Batch
from perturbcast.simulation.mechanisms.weights import require_unit_variance, signed_weights


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Attributes:
    noise_scale: sd of the added noise before standardisation.
    """

    noise_scale: float = 0.05


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class LogisticMap:
    """weights [parent] and noise_scale of one node."""

    weights: np.ndarray
    noise_scale: float

    def __call__(self, parents: np.ndarray, noise: np.ndarray) -> np.ndarray:
        s = expit(self.weights @ parents)
        value: np.ndarray = 4 * s * (1 - s) + self.noise_scale * noise
        return value


def build(config: Config, *, batch: Batch, generator: np.random.Generator) -> LogisticMap:
    """Draw weights.

    Raises:
        ValueError: the parents of the batch do not have about unit variance.
    """
    require_unit_variance(batch.parents, "logistic_map")
    weights = signed_weights(len(batch.parents), generator)
    return LogisticMap(weights=weights / np.linalg.norm(weights), noise_scale=config.noise_scale)
