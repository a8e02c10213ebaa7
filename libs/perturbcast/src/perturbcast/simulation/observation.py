"""From expression to counts: how a sequencing run sees cells.

A cell's library size is log-normal; counts are negative binomial around library x share, drawn as Poisson around
a rate with Gamma-distributed overdispersion. Batches multiply each gene by a factor of their own and dropout
empties entries. All of it is a random factor on a Poisson rate, and none of it depends on the perturbation: the
truth is computed with the same factors on both arms.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import scipy.sparse as sp

from perturbcast.errors import UsageError

__all__ = ["Config", "Observation", "draw_counts", "log1p_cp10k", "observe", "poisson_rates"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Attributes:
    library_size: median counts per cell.
    library_spread: sd of the log library size over cells.
    overdispersion: alpha of the negative binomial, variance = mean + alpha mean^2.
    dropout: probability (0 up to 1) that an entry is emptied.
    batches: number of batches, spread evenly over every condition.
    batch_spread: sd over batches of each gene's log factor.
    """

    library_size: float = 5000.0
    library_spread: float = 0.3
    overdispersion: float = 0.15
    dropout: float = 0.0
    batches: int = 1
    batch_spread: float = 0.2

    def __post_init__(self) -> None:
        if self.library_size < 100:
            raise UsageError(
                f"A cell holds at least 100 counts in the median; library_size is {self.library_size:g}. Raise it."
            )
        if not 0 <= self.dropout < 1:
            raise UsageError(f"Dropout is a probability from 0 up to 1, without 1; it is {self.dropout:g}.")
        if self.batches < 1:
            raise UsageError(f"Cells come from at least one batch; batches is {self.batches}.")
        if min(self.library_spread, self.overdispersion, self.batch_spread) < 0:
            raise UsageError(
                "Spreads are not negative; library_spread, overdispersion, batch_spread are "
                f"{self.library_spread:g}, {self.overdispersion:g}, {self.batch_spread:g}."
            )


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Observation:
    """The random factors of some cells.

    Attributes:
        library: [cell] counts aimed at, float32.
        factor: [gene, cell] overdispersion, batch and dropout, mean 1 without the last two, float32.
        batch: [cell] index of the batch.
    """

    library: np.ndarray
    factor: np.ndarray
    batch: np.ndarray


def batch_factors(config: Config, n_genes: int, seed: np.random.SeedSequence) -> np.ndarray:
    """[gene, batch] factor of each gene in each batch, float32."""
    spread = config.batch_spread if config.batches > 1 else 0.0
    draws = np.random.default_rng(seed).standard_normal((n_genes, config.batches))
    return np.exp(spread * draws).astype(np.float32)


def observe(config: Config, batches: np.ndarray, batch: np.ndarray, generator: np.random.Generator) -> Observation:
    """Draw the factors of cells.

    Args:
        config: spreads and probabilities.
        batches: [gene, batch] from ``batch_factors``.
        batch: [cell] index of each cell's batch.
        generator: source of randomness.
    """
    shape = (len(batches), len(batch))
    normal = generator.standard_normal(shape[1], dtype=np.float32)
    library = np.float32(config.library_size) * np.exp(np.float32(config.library_spread) * normal)
    if config.overdispersion:
        factor = generator.standard_gamma(1 / config.overdispersion, shape, dtype=np.float32)
        factor *= np.float32(config.overdispersion)
    else:
        factor = np.ones(shape, dtype=np.float32)
    if config.batches > 1:
        factor *= batches[:, batch]
    if config.dropout:
        factor *= generator.random(shape, dtype=np.float32) >= config.dropout
    return Observation(library=library, factor=factor, batch=batch)


def poisson_rates(expression: np.ndarray, observation: Observation) -> np.ndarray:
    """[gene, cell] expected counts given the factors: library x share of the cell's expression x factor."""
    rates: np.ndarray = expression * (observation.library / expression.sum(axis=0))
    rates *= observation.factor
    return rates


def draw_counts(rates: np.ndarray, generator: np.random.Generator) -> sp.csr_matrix:
    """Poisson counts [cell, gene] as CSR float32 from rates [gene, cell]."""
    return sp.csr_matrix(generator.poisson(rates.T).astype(np.float32))


def log1p_cp10k(counts: sp.csr_matrix) -> sp.csr_matrix:
    """log(1 + 10 000 count / total of the cell), CSR float32; an empty cell stays empty."""
    totals = np.asarray(counts.sum(axis=1, dtype=np.float64)).ravel()
    per_cell = (1e4 / np.maximum(totals, 1)).astype(np.float32)
    x = counts.copy()
    x.data *= np.repeat(per_cell, np.diff(counts.indptr))
    np.log1p(x.data, out=x.data)
    return x
