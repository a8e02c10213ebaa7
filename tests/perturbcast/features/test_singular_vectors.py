"""Strongest directions of large matrices: those of the whole decomposition, and the same bytes every time."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from perturbcast.features import principal_axes
from perturbcast.features.singular_vectors import singular_vectors


@pytest.mark.parametrize("shape", [(40, 300), (300, 40)], ids=["wide", "tall"])
@pytest.mark.parametrize("kind", [np.asarray, sp.csr_matrix], ids=["dense", "sparse"])
def test_they_are_those_of_the_whole_decomposition(shape, kind):
    x = np.random.default_rng(3).standard_normal(shape) * (np.random.default_rng(4).random(shape) < 0.3)
    left, scale, right = singular_vectors(kind(x), components=5)
    _, every, _ = np.linalg.svd(x)
    assert np.allclose(scale, every[:5])
    assert np.allclose(x @ right.T, left * scale)
    assert np.allclose(left.T @ left, np.eye(5))


def test_profiles_that_vary_in_few_directions_give_these_alone_and_the_same_bytes():
    """Four contexts' profiles, each for 15 conditions: three directions, and not more to be asked for."""
    profiles = np.repeat(np.random.default_rng(5).random((4, 4000)), 15, axis=0)
    first, again = (principal_axes(profiles, np.zeros(60), components=8) for _ in range(2))
    assert first.shape == (4000, 3)
    assert np.array_equal(first, again)
    _, scale, _ = np.linalg.svd(profiles - profiles.mean(axis=0), full_matrices=False)
    assert np.allclose(np.linalg.norm(first, axis=0), scale[:3])
