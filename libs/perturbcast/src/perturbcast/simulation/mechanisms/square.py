"""x = (w.x_pa)^2 + 0.1 e, an even function: a symmetric parent is uncorrelated with its child.

w is +-U(0.5, 2) divided by its norm, so that w.x_pa keeps about unit variance for any number of parents.
Beyond ``bound`` w.x_pa counts as ``bound``: squares of squares of squares overflow on deep graphs.
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
    bound: largest |w.x_pa|, in sd units.
    """

    noise_scale: float = 0.1
    bound: float = 4.0


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Square:
    """weights [parent], noise_scale and bound of one node."""

    weights: np.ndarray
    noise_scale: float
    bound: float

    def __call__(self, parents: np.ndarray, noise: np.ndarray) -> np.ndarray:
        u = np.clip(self.weights @ parents, -self.bound, self.bound)
        value: np.ndarray = u * u + self.noise_scale * noise
        return value


def build(config: Config, *, batch: Batch, generator: np.random.Generator) -> Square:
    """Draw weights.

    Raises:
        ValueError: the parents of the batch do not have about unit variance.
    """
    require_unit_variance(batch.parents, "square")
    weights = signed_weights(len(batch.parents), generator)
    return Square(weights=weights / np.linalg.norm(weights), noise_scale=config.noise_scale, bound=config.bound)
