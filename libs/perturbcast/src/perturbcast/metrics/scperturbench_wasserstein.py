"""Entropic optimal transport between predicted and measured cells, on the 100 genes that changed most surely.

``min_P <P, C> + e KL(P || ab^T)`` with C the squared Euclidean distances between cells, a and b uniform and e = 5 %
of the mean of C, by Sinkhorn's iterations in logarithms until the first marginal is met within 1e-3 in total
(looked at every 10 iterations), as ott-jax does for pertpy 0.7. Source: scPerturBench (bm2-lab; metrics of pertpy
0.7), formulas only. Genes: the 100 of the truth with the largest |t| against control (Welch). At most 2000 cells of
each group, drawn with a seed (42, as the reference's; its generator is another). Units of X squared. Always
defined.

The entropy keeps a group from being at distance 0 from itself: the optimum is the cost of the measured cells to
themselves, and a prediction of too little spread can lie below it.
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np

from perturbcast.metrics.comparison import Cells, Comparison, drawn_genes
from perturbcast.metrics.de_ranking import top_genes
from perturbcast.metrics.descriptor import Metric

__all__ = ["METRIC", "Config", "entropic_cost", "optimum", "score"]

LOOK = 10  # iterations between two looks at the marginal
SMALLEST = 1e-100  # share of a row's largest exponential below which products of scalings could leave the range


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Parameters of the gene set.

    Attributes:
        top: number of genes.
        max_cells: cells per group and condition.
        seed: decides which cells.
        epsilon: strength of the entropy over the mean cost.
        threshold: total error of the marginal at which the iterations end.
        iterations: bound on their number.
    """

    top: int = 100
    max_cells: int = 2000
    seed: int = 42
    epsilon: float = 0.05
    threshold: float = 1e-3
    iterations: int = 2000


def optimum(comparison: Comparison, config: Config) -> np.ndarray:
    """Cost of the measured cells to themselves [condition]."""

    def compute() -> np.ndarray:
        groups = [_drawn(comparison, row, config)[0] for row in range(len(comparison.truth.conditions))]
        return np.array([entropic_cost(group, group, config) for group in groups])

    return comparison.truth.shared(("transport to itself", config), compute)


def score(comparison: Comparison, config: Config) -> np.ndarray:
    """Regularised transport cost per condition [condition], in the units of X squared."""
    rows = range(len(comparison.truth.conditions))
    return np.array([entropic_cost(*_drawn(comparison, row, config), config) for row in rows])


def _drawn(comparison: Comparison, row: int, config: Config) -> tuple[np.ndarray, np.ndarray]:
    genes = top_genes(comparison.truth, config.top)[row]
    cells, predicted, _ = comparison.sides()
    draw = functools.partial(_of_genes, genes=genes, row=row, config=config)
    return draw(cells), draw(predicted)


def _of_genes(cells: Cells, *, genes: np.ndarray, row: int, config: Config) -> np.ndarray:
    return drawn_genes(cells, row, genes, limit=config.max_cells, seed=config.seed).astype(np.float64)


def entropic_cost(a: np.ndarray, b: np.ndarray, config: Config) -> float:
    """Regularised cost of moving measured cells ``a`` onto predicted cells ``b``, both [cell, gene] float64.

    Raises:
        ValueError: the iterations do not reach the threshold.
    """
    # measured cells first: the marginal of the other side is the one that is checked, as in the reference
    cost = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1)[None, :] - 2 * a @ b.T
    epsilon = config.epsilon * float(cost.mean())
    if epsilon <= 1e-12:
        return 0.0  # every cell of both groups is the same
    # the potentials in units of epsilon, less a start that keeps exponentials in range
    start = cost.min(axis=1)
    kernel = np.exp((start[:, None] - cost) / epsilon)
    if kernel.min() < SMALLEST:
        return _by_logarithms(cost / epsilon, config) * epsilon
    n, m = cost.shape
    left = np.exp(-start / epsilon)  # of f = 0
    for iteration in range(1, config.iterations + 1):
        right = n / (left @ kernel)
        left = m / (kernel @ right)
        if iteration % LOOK == 0:
            marginal = right * (left @ kernel) / (n * m)
            if np.abs(marginal - 1 / m).sum() < config.threshold:
                return float((epsilon * np.log(left) + start).mean() + epsilon * np.log(right).mean())
    raise _unsettled(config)


def _by_logarithms(scaled: np.ndarray, config: Config) -> float:
    """The same iterations for costs over epsilon so far apart that their exponentials leave the range of numbers."""
    n, m = scaled.shape
    # potentials over epsilon; they are measured against the product of the marginals (the KL form)
    f = np.zeros(n)
    for iteration in range(1, config.iterations + 1):
        g = np.log(n) - _log_sum(f[:, None] - scaled, axis=0)
        f = np.log(m) - _log_sum(g[None, :] - scaled, axis=1)
        if iteration % LOOK == 0:
            marginal = np.exp(f[:, None] + g[None, :] - scaled).sum(axis=0) / (n * m)
            if np.abs(marginal - 1 / m).sum() < config.threshold:
                return float(f.mean() + g.mean())
    raise _unsettled(config)


def _unsettled(config: Config) -> ValueError:
    return ValueError(
        f"Sinkhorn's iterations end with marginals within {config.threshold:g}; after {config.iterations} they fail. "
        "Look for cells far from all others, or raise 'iterations'."
    )


def _log_sum(exponents: np.ndarray, *, axis: int) -> np.ndarray:
    """Logarithm of the sum of exponentials, in place; scipy's takes three times as long on finite values."""
    top = exponents.max(axis=axis, keepdims=True)
    exponents -= top
    sums: np.ndarray = np.exp(exponents, out=exponents).sum(axis=axis)
    return np.log(sums) + top.ravel()


METRIC = Metric(
    id="scperturbench.wasserstein_top100@1",
    title="entropic transport, top100 genes",
    direction="lower",
    optimum=optimum,
    chance=None,
    needs="cells",
    undefined="excluded",
    undefined_when="never",
)
