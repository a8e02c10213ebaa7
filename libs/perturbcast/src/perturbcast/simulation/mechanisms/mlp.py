"""x = MLP([x_pa, e]) with two hidden layers of 32 LeakyReLU: noise that is not added but mixed in.

A default initialisation lets the noise or the bias dominate. Here the gain of the noise input is solved so
that the parents explain a stated share of the variance, Cov(f(x, e), f(x, e')) / Var f(x, e).
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from perturbcast.simulation.mechanisms.batch import Batch


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Attributes:
    hidden: units of each of the two hidden layers.
    slope: of LeakyReLU below zero.
    signal: share (0 to 1) of the variance that the parents explain.
    """

    hidden: int = 32
    slope: float = 0.1
    signal: float = 0.7


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Network:
    """First layer [hidden, parent] and [hidden] for the noise, second [hidden, hidden], readout [hidden]; float32."""

    first: np.ndarray
    first_noise: np.ndarray
    first_bias: np.ndarray
    second: np.ndarray
    second_bias: np.ndarray
    readout: np.ndarray
    slope: float

    def __call__(self, parents: np.ndarray, noise: np.ndarray) -> np.ndarray:
        hidden = self.first @ parents.astype(np.float32)
        hidden += np.multiply.outer(self.first_noise, noise.astype(np.float32))
        hidden += self.first_bias[:, None]
        np.maximum(hidden, self.slope * hidden, out=hidden)
        hidden = self.second @ hidden
        hidden += self.second_bias[:, None]
        np.maximum(hidden, self.slope * hidden, out=hidden)
        value: np.ndarray = (self.readout @ hidden).astype(np.float64)
        return value


GAINS = np.geomspace(0.05, 6.0, 7)


def build(config: Config, *, batch: Batch, generator: np.random.Generator) -> Network:
    """Draw weights (He) and solve the noise gain on the first 512 samples of the batch."""
    n, wide = len(batch.parents), config.hidden
    gain = math.sqrt(2 / (1 + config.slope**2))

    def normal(*shape: int, scale: float) -> np.ndarray:
        return scale * generator.standard_normal(shape, dtype=np.float32)

    network = Network(
        first=normal(wide, n, scale=gain / math.sqrt(n)),
        first_noise=normal(wide, scale=gain),
        first_bias=normal(wide, scale=0.5),
        second=normal(wide, wide, scale=gain / math.sqrt(wide)),
        second_bias=normal(wide, scale=0.5),
        readout=normal(wide, scale=1 / math.sqrt(wide)),
        slope=config.slope,
    )
    some = min(512, batch.noise.size // 2)
    x, first, second = batch.parents[:, :some], batch.noise[:some], batch.noise[some : 2 * some]
    shares = []
    for factor in GAINS:  # the share falls as the noise gain rises
        trial = dataclasses.replace(network, first_noise=np.float32(factor) * network.first_noise)
        a, b = trial(x, first), trial(x, second)
        shares.append(2 * np.cov(a, b)[0, 1] / (a.var() + b.var()))
    falling = np.minimum.accumulate(shares)
    factor = np.float32(math.exp(np.interp(-config.signal, -falling, np.log(GAINS))))
    return dataclasses.replace(network, first_noise=factor * network.first_noise)
