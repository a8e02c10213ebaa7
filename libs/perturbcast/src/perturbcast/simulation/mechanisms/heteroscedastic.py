"""x = f(x_pa) + e sqrt(softplus(h(x_pa))): the parents set the spread as well as the mean.

f and h are Gaussian-process draws.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from perturbcast.simulation.mechanisms.batch import Batch
from perturbcast.simulation.mechanisms.fourier import RandomFourier, draw_fourier


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Attributes:
    amplitude: sd of f at a point.
    spread_amplitude: sd of h at a point.
    lengthscale: range of the uniform draw of l, in sd of the parents.
    n_features: number of cosines of each function.
    """

    amplitude: float = 2.0
    spread_amplitude: float = 2.0
    lengthscale: tuple[float, float] = (1.0, 2.5)
    n_features: int = 64


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Heteroscedastic:
    """Mean function f and spread function h of one node."""

    mean: RandomFourier
    spread: RandomFourier

    def __call__(self, parents: np.ndarray, noise: np.ndarray) -> np.ndarray:
        variance = np.logaddexp(0.0, self.spread(parents))  # softplus
        value: np.ndarray = self.mean(parents) + noise * np.sqrt(variance)
        return value


def build(config: Config, *, batch: Batch, generator: np.random.Generator) -> Heteroscedastic:
    """Draw f and h; the batch's values are not used."""
    functions = [
        draw_fourier(
            len(batch.parents),
            generator,
            amplitude=amplitude,
            lengthscale=generator.uniform(*config.lengthscale),
            n_features=config.n_features,
        )
        for amplitude in (config.amplitude, config.spread_amplitude)
    ]
    return Heteroscedastic(mean=functions[0], spread=functions[1])
