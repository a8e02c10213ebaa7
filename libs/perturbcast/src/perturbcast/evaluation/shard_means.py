"""First step of a shard: the means that its cells have, and those of their halves and replicates.

A few rows [gene] per condition are all that is kept of the cells. Whatever needs all conditions (ranks, the train mean
as a floor, constant answers, intervals) is computed from these rows when the shards are put together; see
``merged_shards``. The numbers are those that a whole evaluation computes, to the last bit.

Axes: C conditions, G genes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from perturbcast.evaluation.held_out import measure
from perturbcast.evaluation.replicates import halves, replicate
from perturbcast.evaluation.shards import blocks
from perturbcast.schema import Condition
from perturbcast.stores import CellFile
from perturbcast.stores.condition_cells import cells_with_controls

__all__ = ["Group", "means_of"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Group:
    """A condition and the barcodes of its cells in the part that is scored."""

    condition: Condition
    cells: tuple[str, ...]


def means_of(file: CellFile, groups: Sequence[Group], *, replicates: bool, seed: int) -> dict[str, np.ndarray]:
    """What ``merged_shards`` knows of the cells of some conditions, by name.

    ``mean``, ``control``, ``error`` of the truth [condition, gene]; with ``replicates`` also ``size`` [condition],
    ``first_mean`` of a half, ``second_mean`` and ``second_error`` of the other, ``again_mean``, ``again_control`` and
    ``again_error`` of a replicate.

    Args:
        file: the dataset.
        groups: the conditions.
        replicates: what ceilings are made of, too.
        seed: of halves and replicates.
    """
    found = []
    for rows in blocks([len(group.cells) for group in groups]):
        block = [groups[row] for row in rows]
        barcodes = [barcode for group in block for barcode in group.cells]
        conditions = [group.condition for group in block]
        data = cells_with_controls(file, barcodes, contexts={condition.context for condition in conditions})
        measured = measure(data, cells=barcodes, conditions=conditions, train_mean=None)
        truth = measured.truth
        arrays = {"mean": truth.mean, "control": truth.control, "error": truth.error}
        if replicates:
            divided, again = halves(measured, seed=seed), replicate(measured, seed=seed)
            arrays |= {
                "size": measured.sizes[:, 0],
                "first_mean": divided.first_mean,
                "second_mean": divided.truth.mean,
                "second_error": divided.truth.error,
                "again_mean": again.mean,
                "again_control": again.control,
                "again_error": again.error,
            }
        found.append(arrays)
    return {name: np.concatenate([arrays[name] for arrays in found]) for name in found[0]}
