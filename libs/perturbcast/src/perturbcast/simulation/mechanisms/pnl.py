"""x = g(f(x_pa) + e), g a cube, a sigmoid or a tanh: post-nonlinear (Zhang and Hyvarinen 2009).

f is a Gaussian-process draw. The inner value is standardised before g and counts as ``bound`` beyond it: cubes of
cubes overflow on dense graphs.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np
from scipy.special import expit

from perturbcast.errors import UsageError
from perturbcast.simulation.mechanisms.batch import Batch
from perturbcast.simulation.mechanisms.fourier import RandomFourier, draw_fourier

LINKS: dict[str, Callable[[np.ndarray], np.ndarray]] = {"cube": lambda u: u**3, "sigmoid": expit, "tanh": np.tanh}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Attributes:
    links: names of the outer functions to draw from: cube, sigmoid, tanh.
    signal: share (0 to 1) of the inner variance that f carries.
    lengthscale: range of the uniform draw of l, in sd of the parents.
    n_features: number of cosines.
    bound: largest absolute inner value, in sd units.
    """

    links: tuple[str, ...] = ("cube", "sigmoid", "tanh")
    signal: float = 0.8
    lengthscale: tuple[float, float] = (1.0, 2.5)
    n_features: int = 64
    bound: float = 4.0

    def __post_init__(self) -> None:
        if not self.links or not set(self.links) <= set(LINKS):
            raise UsageError(f"Outer functions of 'pnl' are {', '.join(LINKS)}; they came as {self.links}.")


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class PostNonlinear:
    """Inner function with its centre and scale, signal share, bound and the name of the outer function."""

    function: RandomFourier
    centre: float
    scale: float
    signal: float
    bound: float
    link: str

    def __call__(self, parents: np.ndarray, noise: np.ndarray) -> np.ndarray:
        f = (self.function(parents) - self.centre) / self.scale
        inner = math.sqrt(self.signal) * f + math.sqrt(1 - self.signal) * noise
        value: np.ndarray = LINKS[self.link](np.clip(inner, -self.bound, self.bound))
        return value


def build(config: Config, *, batch: Batch, generator: np.random.Generator) -> PostNonlinear:
    """Draw f and g; f is centred and scaled to unit variance on the batch."""
    function = draw_fourier(
        len(batch.parents),
        generator,
        amplitude=1.0,
        lengthscale=generator.uniform(*config.lengthscale),
        n_features=config.n_features,
    )
    f = function(batch.parents)
    return PostNonlinear(
        function=function,
        centre=float(f.mean()),
        scale=float(f.std()),
        signal=config.signal,
        bound=config.bound,
        link=str(generator.choice(config.links)),
    )
