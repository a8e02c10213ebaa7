"""Hold out cells of conditions that train also holds: the easy case, and the ceiling of the others.

The perturbed cells of every condition are divided at random. Nothing is out of distribution, so a model
that fails here has a defect; a good score here says nothing about new perturbations or contexts.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from perturbcast.schema import Condition, PerturbationData
from perturbcast.splits.fold import Fold

__all__ = ["Config", "folds"]

MIN_CELLS = 12  # fewer leave a held-out part with a mean of one or two cells; such conditions stay in train


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Parameters of the rule.

    Attributes:
        validation: share of each condition's cells, 0 to 1.
        calibration: share of each condition's cells, 0 to 1.
        test: share of each condition's cells, 0 to 1.
    """

    validation: float = 0.2
    calibration: float = 0.2
    test: float = 0.3

    def __post_init__(self) -> None:
        shares = (self.validation, self.calibration, self.test)
        if min(shares) <= 0 or sum(shares) >= 1:
            raise ValueError(
                f"Shares of cells are positive and leave some for train; got validation={self.validation}, "
                f"calibration={self.calibration}, test={self.test}. Lower them to a sum below 1."
            )


def folds(data: PerturbationData, config: Config, *, generator: np.random.Generator) -> list[Fold]:
    """A single fold."""
    cells: dict[str, list[str]] = {part: [] for part in ("train", "validation", "calibration", "test")}
    conditions: dict[str, list[Condition]] = {part: [] for part in cells}
    kept_whole = 0
    barcodes = data.obs.index.to_numpy().astype(str)
    labels = data.obs[["perturbation", "context"]].astype(str)
    positions = labels.groupby(["perturbation", "context"]).indices
    for condition in data.conditions:
        rows = positions[(condition.perturbation, condition.context)]
        shuffled = barcodes[rows[generator.permutation(len(rows))]]
        conditions["train"].append(condition)
        if len(rows) < MIN_CELLS:
            kept_whole += 1
            cells["train"].extend(shuffled)
            continue
        start = 0
        for part in ("validation", "calibration", "test"):
            count = max(2, round(getattr(config, part) * len(rows)))
            cells[part].extend(shuffled[start : start + count])
            conditions[part].append(condition)
            start += count
        cells["train"].extend(shuffled[start:])
    warnings = (f"{kept_whole} conditions with fewer than {MIN_CELLS} cells stay in train",) if kept_whole else ()
    return [Fold(held_out="cells", conditions=conditions, cells=cells, warnings=warnings)]
