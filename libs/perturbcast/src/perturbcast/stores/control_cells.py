"""Unperturbed cells, in memory or on disk: what a state encoder is pretrained on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from perturbcast.schema import PerturbationData, positions
from perturbcast.stores.cell_file import CellFile

__all__ = ["control_cells"]


def control_cells(
    data: PerturbationData | CellFile, *, among: Sequence[str] | None = None
) -> PerturbationData | CellFile:
    """Control cells of a dataset in the order of the file, in which neighbours are read together.

    Args:
        data: measured cells; of a file a view is given.
        among: barcodes to look at: the train part of a fold; all cells if not given.

    Raises:
        ValueError: there is no control cell among them, or what is measured are no cells.
    """
    looked = np.arange(len(data.obs))
    if among is not None:
        looked = np.sort(positions(data.obs, among, dataset=data.dataset))
    rows = looked[data.obs["is_control"].to_numpy(dtype=bool)[looked]]
    if len(rows) == 0:
        raise ValueError(
            f"An encoder is pretrained on control cells; {data.dataset!r} has none among the {len(looked)} looked "
            "at. Give a dataset, or a split whose train part, holds some."
        )
    if str(data.meta.get("unit", "cell")) != "cell":
        raise ValueError(
            f"An encoder is pretrained on cells, log1p of counts; {data.dataset!r} holds "
            f"{data.meta['unit']!r} of scale {data.meta.get('scale')!r}. Give cells."
        )
    return data.subset(data.obs.index[rows])
