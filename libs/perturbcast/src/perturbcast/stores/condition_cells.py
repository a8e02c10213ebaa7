"""Some conditions of a dataset on disk, with their controls, in memory: what a shard of conditions is computed from."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from perturbcast.schema import PerturbationData, positions
from perturbcast.stores.cell_file import CellFile

__all__ = ["cells_with_controls"]


def cells_with_controls(file: CellFile, cells: Sequence[str], *, contexts: Collection[str]) -> PerturbationData:
    """The named cells and every control cell of ``contexts``, in the order of the file.

    In this order everything that is computed from them rounds as it does from the whole dataset.

    Raises:
        ValueError: a barcode is not in the data.
    """
    named = positions(file.obs, cells, dataset=file.dataset)
    control = file.obs["is_control"].to_numpy(dtype=bool) & file.obs["context"].isin(list(contexts)).to_numpy()
    rows = np.union1d(named, np.flatnonzero(control))
    return PerturbationData(x=file.rows(rows), genes=file.genes, obs=file.obs.iloc[rows], meta=file.meta)
