"""The integrated counts agree with the sum over all counts."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import poisson

from perturbcast.simulation.expected_expression import expected_log1p_cp10k


def exact(rate, rest):
    gene, others = (np.arange(poisson.ppf(1e-13, m), poisson.ppf(1 - 1e-13, m) + 1) for m in (rate, rest))
    value = np.log1p(1e4 * gene[:, None] / np.maximum(gene[:, None] + others, 1e-9))
    return poisson.pmf(gene, rate) @ value @ poisson.pmf(others, rest)


@pytest.mark.parametrize(
    ("rate", "rest"),
    [
        (1e-6, 5000),
        (0.01, 3000),
        (0.3, 400),
        (1.7, 777),
        (20, 3000),
        (63.9, 5000),
        (64.1, 5000),
        (500, 500),
        (3000, 10),
    ],
)
def test_equals_the_double_sum(rate, rest):
    got = expected_log1p_cp10k(np.array([[rate], [rest]], dtype=np.float32))
    np.testing.assert_allclose(got[0, 0], exact(rate, rest), rtol=2e-5, atol=1e-9)


def test_a_silent_gene_is_expected_at_zero():
    assert expected_log1p_cp10k(np.array([[0.0], [100.0]], dtype=np.float32))[0, 0] == 0


def test_grows_with_the_rate_and_falls_with_the_rest():
    rates = np.geomspace(1e-3, 1e4, 500).astype(np.float32)
    own = [expected_log1p_cp10k(np.array([[r], [2000]], dtype=np.float32))[0, 0] for r in rates]
    others = [expected_log1p_cp10k(np.array([[20], [r]], dtype=np.float32))[0, 0] for r in rates[300:]]
    assert (np.diff(own) > 0).all()
    assert (np.diff(others) < 0).all()
