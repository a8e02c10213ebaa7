"""x = f([x_pa, e]) with f a Gaussian-process draw of rational quadratic kernel: any conditional density.

Kernel k(z, z') = (1 + |z - z'|^2 / (2 alpha l^2))^-alpha. Two forms:
``exact=False``: random Fourier features, a function that can be asked again under do(). The kernel is a Gamma
mixture of squared exponentials, so that omega = sqrt(tau) N(0, l^-2) with tau ~ Gamma(alpha, 1/alpha).
``exact=True``: one joint draw with the full covariance, defined for the rows drawn and no others; all
environments of a task have to be drawn together. (With the covariance's diagonal alone the parents would not
matter at all.)
"""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy.linalg import cholesky
from scipy.spatial.distance import cdist

from perturbcast.simulation.mechanisms.batch import Batch
from perturbcast.simulation.mechanisms.fourier import RandomFourier, draw_fourier


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Attributes:
    alpha: shape of the kernel; smaller mixes more scales.
    lengthscale: range of the uniform draw of l, in sd of the inputs.
    n_features: number of cosines (ignored by the exact draw, which has no features).
    exact: draw jointly with the full covariance; cubic in the number of rows.
    """

    alpha: float = 1.0
    lengthscale: tuple[float, float] = (1.0, 2.5)
    n_features: int = 64
    exact: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ConditionalProcess:
    """Random Fourier function of [parents, noise] of one node."""

    function: RandomFourier

    def __call__(self, parents: np.ndarray, noise: np.ndarray) -> np.ndarray:
        return self.function(np.vstack([parents, noise]))


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class JointDraw:
    """One draw of the process at the rows that it is given; other rows would get another function."""

    alpha: float
    lengthscale: float
    entropy: int

    needs_joint_rows = True

    def __call__(self, parents: np.ndarray, noise: np.ndarray) -> np.ndarray:
        z = np.vstack([parents, noise]).T / self.lengthscale
        covariance = (1 + cdist(z, z, "sqeuclidean") / (2 * self.alpha)) ** -self.alpha
        covariance[np.diag_indices_from(covariance)] += 1e-6  # rounding makes it indefinite without
        draw = np.random.default_rng(self.entropy).standard_normal(len(z))
        value: np.ndarray = cholesky(covariance, lower=True, overwrite_a=True, check_finite=False) @ draw
        return value


def build(config: Config, *, batch: Batch, generator: np.random.Generator) -> ConditionalProcess | JointDraw:
    """Draw f (or the seed of the joint draw); the batch's values are not used."""
    lengthscale = float(generator.uniform(*config.lengthscale))
    if config.exact:
        return JointDraw(alpha=config.alpha, lengthscale=lengthscale, entropy=int(generator.integers(2**63)))
    scale = np.sqrt(generator.gamma(config.alpha, 1 / config.alpha, size=(config.n_features, 1)))
    function = draw_fourier(
        len(batch.parents) + 1, generator, amplitude=1.0, lengthscale=lengthscale / scale, n_features=config.n_features
    )
    return ConditionalProcess(function=function)
