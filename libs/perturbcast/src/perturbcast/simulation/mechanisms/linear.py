"""x = w.x_pa + b + s e, w = +-U(0.5, 2): effects are exact, (I - W)^-1."""

from __future__ import annotations

import dataclasses

import numpy as np

from perturbcast.simulation.mechanisms.batch import Batch
from perturbcast.simulation.mechanisms.weights import signed_weights


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Attributes:
    low: smallest absolute weight.
    high: largest absolute weight.
    noise_scale: s, sd of the added noise before standardisation.
    """

    low: float = 0.5
    high: float = 2.0
    noise_scale: float = 1.0


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Linear:
    """weights [parent], bias and noise_scale of one node."""

    weights: np.ndarray
    bias: float
    noise_scale: float

    def __call__(self, parents: np.ndarray, noise: np.ndarray) -> np.ndarray:
        value: np.ndarray = self.weights @ parents + self.bias + self.noise_scale * noise
        return value


def build(config: Config, *, batch: Batch, generator: np.random.Generator) -> Linear:
    """Draw weights and bias; the batch's values are not used."""
    return Linear(
        weights=signed_weights(len(batch.parents), generator, low=config.low, high=config.high),
        bias=float(generator.standard_normal()),
        noise_scale=config.noise_scale,
    )
