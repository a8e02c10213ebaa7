"""The strongest singular vectors of a large matrix: the same bytes every time, also where it varies in few directions.

scipy's ``svds`` would draw from fresh entropy where ARPACK runs out of directions before it has as many as were asked
for (few profiles, each repeated for many conditions), so its eigen solver is asked with a seed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.sparse.linalg import LinearOperator, aslinearoperator, eigsh

__all__ = ["NOISE", "singular_vectors"]

NOISE = 1e-6  # of the strongest: squares are decomposed, so where nothing varies 1e-8 is found instead of 0


def singular_vectors(matrix: Any, *, components: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Left vectors [n, k], values [k] (strongest first) and right vectors [k, m]; ``k`` below min(n, m).

    Eigenvectors of the smaller of the two Gram matrices, which is never made, then the exact decomposition within the
    span that they give (Rayleigh-Ritz). Directions of values below ``NOISE`` times the first are not to be used.

    Args:
        matrix: [n, m], dense, sparse or a ``LinearOperator``.
        components: count ``k``.
    """
    operator = aslinearoperator(matrix)
    tall = operator.shape[0] >= operator.shape[1]
    there, back = (operator.matvec, operator.rmatvec) if tall else (operator.rmatvec, operator.matvec)
    side = min(operator.shape)
    gram = LinearOperator((side, side), matvec=lambda v: back(there(v)), dtype=np.float64)
    start = np.random.default_rng(0).standard_normal(side)
    _, span = eigsh(gram, k=components, v0=start, rng=0)
    span, _ = np.linalg.qr(span)
    image = operator.matmat(span) if tall else operator.rmatmat(span)
    far, scale, turn = np.linalg.svd(image, full_matrices=False)
    near = span @ turn.T
    return (far, scale, near.T) if tall else (near, scale, far.T)
