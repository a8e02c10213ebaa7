"""Some cells of a file in memory: what models look at beside effects (axes of expression, variability of controls).

Half of the sample are controls, shared evenly over contexts; half are perturbed cells, shared evenly over conditions.
A group with fewer cells than its share leaves the rest to the others; where all fit, all are taken.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from perturbcast.schema import PerturbationData
from perturbcast.stores.cell_file import CellFile

__all__ = ["SAMPLE", "sample"]

SAMPLE = 40_000  # cells: 100 MB at 300 measured genes a cell
_SAMPLE = 5  # what a draw is for, beside those of ``cell_reader``


def sample(cells: CellFile, *, seed: int, most: int = SAMPLE) -> PerturbationData:
    """At most ``most`` cells, in the order of the view."""
    is_control = cells.obs["is_control"].to_numpy(dtype=bool)
    condition = cells.obs["perturbation"].astype(str) + "\0" + cells.obs["context"].astype(str)
    group = pd.factorize(np.where(is_control, cells.obs["context"].astype(str), condition), sort=True)[0]
    generator = np.random.default_rng([seed, _SAMPLE])
    taken = []
    for rows in (np.flatnonzero(is_control), np.flatnonzero(~is_control)):
        shuffled = generator.permutation(rows)
        place = pd.Series(group[shuffled]).groupby(group[shuffled]).cumcount().to_numpy()  # within its group
        taken.append(shuffled[place < _share(np.bincount(group[rows]), most // 2)])
    index = np.sort(np.concatenate(taken))
    return PerturbationData(
        x=cells.rows(index), genes=cells.genes, obs=cells.obs.iloc[index], meta=cells.meta, truth=cells.truth
    )


def _share(sizes: np.ndarray, most: int) -> int:
    """The largest share whose sum over groups, each at most its own size, is at most ``most``."""
    low, high = 0, int(sizes.max(initial=0))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if np.minimum(sizes, middle).sum() <= most else (low, middle - 1)
    return low
