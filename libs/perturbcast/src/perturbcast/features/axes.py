"""Principal axes of sparse cells, each group centred on its own mean, without a dense or a centred copy."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import LinearOperator

from perturbcast.features.singular_vectors import NOISE, singular_vectors

__all__ = ["principal_axes"]

DENSE_VALUES = 200_000  # below this many values a full decomposition is faster and more exact


def principal_axes(x: sp.csr_matrix | np.ndarray, groups: np.ndarray, *, components: int) -> np.ndarray:
    """Axes times singular values [gene, k] of the rows of ``x`` [row, gene] centred in their group.

    ``k`` is ``components``, or as many as there are directions in which centred rows vary; at least one, which is 0
    where nothing varies. Row g says how gene g takes part in the k strongest programmes.

    Args:
        x: [row, gene] cells or profiles.
        groups: [row] label of the group that a row is centred in.
        components: count.
    """
    names, code = np.unique(groups, return_inverse=True)
    n, genes = x.shape
    size = np.bincount(code)
    member = sp.csr_matrix((np.ones(n), (code, np.arange(n))), shape=(len(names), n))
    rows = x.astype(np.float64)
    mean = _dense(member @ rows) / size[:, None]
    if n * genes <= DENSE_VALUES or min(n, genes) <= 2 * components:
        _, scale, axes = np.linalg.svd(_dense(rows) - mean[code], full_matrices=False)
        noise = 1e-9
    else:
        centred = LinearOperator(
            (n, genes),
            matvec=lambda v: rows @ v.ravel() - (mean @ v.ravel())[code],
            rmatvec=lambda u: rows.T @ u.ravel() - mean.T @ (member @ u.ravel()),
            dtype=np.float64,
        )
        _, scale, axes = singular_vectors(centred, components=components)
        noise = NOISE
    keep = int(min(components, (scale > noise * max(scale[0], 1e-12)).sum()))
    if keep == 0:
        return np.zeros((genes, 1))
    return np.asarray(axes[:keep].T * scale[:keep])


def _dense(x: Any) -> np.ndarray:
    return np.asarray(x.toarray() if hasattr(x, "toarray") else x)
