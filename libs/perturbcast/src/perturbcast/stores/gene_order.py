"""Where a model's genes lie among somebody else's: matched by name, every one of them or none."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from perturbcast.schema import repeated

__all__ = ["columns_by_name"]


def columns_by_name(genes: Sequence[str], given: Sequence[str]) -> NDArray[np.intp]:
    """Column of each of ``genes`` among ``given``, which may hold others and stand in any order.

    Raises:
        ValueError: a name is given twice, or a gene is missing.
    """
    position = {gene: i for i, gene in enumerate(given)}
    if len(position) != len(given):
        raise ValueError(
            f"Genes are matched by name, and a name stands for one column; given more than once: "
            f"{', '.join(repeated(given)[:5])}. Keep one column of each."
        )
    missing = [gene for gene in genes if gene not in position]
    if missing:
        raise ValueError(
            f"Control cells hold every gene of the model; {len(missing)} of {len(genes)} are missing, first "
            f"{', '.join(missing[:5])}. Add them."
        )
    return np.array([position[gene] for gene in genes], dtype=np.intp)
