"""Expected log1p CP10k of a gene whose count and whose cell's remaining counts are Poisson.

psi(lambda, rho) = E log(1 + 10^4 C / (C + R)), C ~ Poisson(lambda), R ~ Poisson(rho): normalising by the
observed total couples a gene to its cell, and psi carries that coupling exactly. With it the counting noise of a
simulated cell is integrated instead of drawn.

psi is tabulated once per process on a grid of 64 points per doubling in both rates and interpolated linearly;
the error is below 1e-4.
"""

from __future__ import annotations

import functools
import math

import numba
import numpy as np
from scipy.interpolate import CubicSpline
from scipy.special import gammaln

__all__ = ["expected_log1p_cp10k"]

# Doublings covered: below 2^-14 counts psi is linear in lambda; rest and gene above 2^18 counts do not occur.
LOW, HIGH = -14, 18
REST_LOW = 2
PER_OCTAVE = 64


def _poisson_nodes(mean: float) -> tuple[np.ndarray, np.ndarray]:
    """Counts and weights that integrate smooth functions under Poisson(mean)."""
    if mean < 64:
        counts = np.arange(math.ceil(mean + 10 * math.sqrt(mean) + 12), dtype=np.float64)
        weights = np.exp(counts * math.log(mean) - mean - gammaln(counts + 1))
        return counts, weights / weights.sum()
    points, weights = np.polynomial.hermite_e.hermegauss(11)
    # Cornish-Fisher: the skewness of a Poisson variable is mean^-1/2.
    shifted = mean + math.sqrt(mean) * points + (points**2 - 1) / 6
    return shifted, weights / weights.sum()


@functools.cache
def _table() -> np.ndarray:
    """psi [lambda, rho] on the fine grid, float32."""
    coarse = np.arange(LOW * 4, HIGH * 4 + 1) / 4
    rest = np.arange(REST_LOW * 2, HIGH * 2 + 1) / 2
    nodes = [_poisson_nodes(2.0**x) for x in coarse]
    counts = np.concatenate([n for n, _ in nodes])
    weights = np.concatenate([w for _, w in nodes])
    starts = np.cumsum([0] + [len(n) for n, _ in nodes])[:-1]
    psi = np.zeros((len(coarse), len(rest)))
    for column, x in enumerate(rest):
        for r, w in zip(*_poisson_nodes(2.0**x), strict=True):
            value = np.log1p(1e4 * counts / np.maximum(counts + r, 1e-9))
            psi[:, column] += w * np.add.reduceat(weights * value, starts)
    # log(psi / lambda) is smooth where psi itself spans ten orders of magnitude.
    smooth = np.log(psi / 2.0 ** coarse[:, None])
    linear = np.arange(PER_OCTAVE) / PER_OCTAVE
    fine = np.append((np.arange(LOW, HIGH)[:, None] + np.log2(1 + linear)).ravel(), HIGH)
    fine_rest = np.append((np.arange(REST_LOW, HIGH)[:, None] + np.log2(1 + linear)).ravel(), HIGH)
    smooth = CubicSpline(rest, CubicSpline(coarse, smooth)(fine), axis=1)(fine_rest)
    return (np.exp(smooth) * 2.0 ** fine[:, None]).astype(np.float32)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _interpolate(rates: np.ndarray, totals: np.ndarray, table: np.ndarray, out: np.ndarray) -> None:
    bits = np.empty(1, dtype=np.float32)
    word = bits.view(np.int32)
    # The exponent and the leading 6 bits of a float32 are the position on a grid of 64 points per doubling; the
    # other 17 bits are the distance to the next point.
    shift, mask, unit = 17, (1 << 17) - 1, np.float32(1.0 / (1 << 17))
    zero, zero_rest = (127 + LOW) << 6, (127 + REST_LOW) << 6
    low, high = np.float32(2.0**LOW), np.float32(2.0**HIGH * 0.999)
    rest_low = np.float32(2.0**REST_LOW)
    for gene in range(rates.shape[0]):
        for cell in range(rates.shape[1]):
            rate = rates[gene, cell]
            bits[0] = min(max(rate, low), high)
            i = (word[0] >> shift) - zero
            u = (word[0] & mask) * unit
            bits[0] = min(max(totals[cell] - rate, rest_low), high)
            j = (word[0] >> shift) - zero_rest
            v = (word[0] & mask) * unit
            below = table[i, j] + v * (table[i, j + 1] - table[i, j])
            above = table[i + 1, j] + v * (table[i + 1, j + 1] - table[i + 1, j])
            value = below + u * (above - below)
            out[gene, cell] = value if rate >= low else value * (rate / low)


def expected_log1p_cp10k(rates: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """Expected X [gene, cell], float32, of Poisson counts.

    Args:
        rates: [gene, cell] float32 expected counts, not negative, all genes of each cell.
        out: array to write into.
    """
    if out is None:
        out = np.empty_like(rates)
    _interpolate(rates, rates.sum(axis=0), _table(), out)
    return out
