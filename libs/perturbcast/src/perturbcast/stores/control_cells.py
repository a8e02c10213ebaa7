"""Unperturbed cells in memory: what a state encoder is pretrained on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from perturbcast.schema import PerturbationData

__all__ = ["control_cells"]


def control_cells(data: PerturbationData, *, among: Sequence[str] | None = None) -> PerturbationData:
    """Control cells of a dataset, sorted by barcode, so that equal cells give equal bytes in any order of the file.

    Args:
        data: measured cells.
        among: barcodes to look at: the train part of a fold; all cells if not given.

    Raises:
        ValueError: there is no control cell among them.
    """
    seen = data if among is None else data.subset(among)
    names = sorted(map(str, seen.obs.index[seen.obs["is_control"].to_numpy(dtype=bool)]))
    if not names:
        raise ValueError(
            f"An encoder is pretrained on control cells; {data.dataset!r} has none among the {len(seen.obs)} looked "
            "at. Give a dataset, or a split whose train part, holds some."
        )
    cells = seen.subset(names)
    if str(cells.meta.get("unit", "cell")) != "cell" or (cells.x.nnz and float(np.min(cells.x.data)) < 0):
        raise ValueError(
            f"An encoder is pretrained on cells, log1p of counts; {data.dataset!r} holds "
            f"{cells.meta.get('unit', 'cell')!r} of scale {cells.meta.get('scale')!r}. Give cells."
        )
    return cells
