"""x = f(x_pa) + s e with f a Gaussian-process draw (random Fourier features): smooth, additive noise."""

from __future__ import annotations

import dataclasses

import numpy as np

from perturbcast.simulation.mechanisms.batch import Batch
from perturbcast.simulation.mechanisms.fourier import RandomFourier, draw_fourier


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Attributes:
    amplitude: c, sd of f at a point.
    lengthscale: range of the uniform draw of l, in sd of the parents.
    n_features: number of cosines.
    noise_scale: s, sd of the added noise before standardisation.
    """

    amplitude: float = 1.0
    lengthscale: tuple[float, float] = (1.0, 2.5)
    n_features: int = 64
    noise_scale: float = 0.4


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class AdditiveProcess:
    """Function and noise_scale of one node."""

    function: RandomFourier
    noise_scale: float

    def __call__(self, parents: np.ndarray, noise: np.ndarray) -> np.ndarray:
        return self.function(parents) + self.noise_scale * noise


def build(config: Config, *, batch: Batch, generator: np.random.Generator) -> AdditiveProcess:
    """Draw f; the batch's values are not used."""
    function = draw_fourier(
        len(batch.parents),
        generator,
        amplitude=config.amplitude,
        lengthscale=generator.uniform(*config.lengthscale),
        n_features=config.n_features,
    )
    return AdditiveProcess(function=function, noise_scale=config.noise_scale)
