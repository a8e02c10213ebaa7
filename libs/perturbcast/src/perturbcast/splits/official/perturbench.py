"""PerturBench (altoslabs/perturbench): a csv of barcode and ``train``, ``val`` or ``test``, controls divided too.

Its own reader takes two columns without a header and one line for each cell; the file that it saves has a header, and
leaves the part empty for cells that it sampled out. Both are read here. Controls marked ``train`` are fitted where
their context is in train; all others are input only.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from perturbcast.schema import Condition, PerturbationData
from perturbcast.splits.fold import Fold
from perturbcast.splits.official.placing import PARTS, check_absent, fold_of, read_csv

__all__ = ["read"]


def read(path: Path, data: PerturbationData, *, allow_absent: bool = False) -> tuple[Fold, int]:
    """The fold, and how many barcodes of the file the dataset does not hold.

    Raises:
        ValueError: a barcode is unknown or stands twice, or a part is empty.
    """
    part_of = read_csv(path, "barcode")
    barcodes = data.obs.index.astype(str)
    absent = set(part_of) - set(barcodes)
    check_absent(absent, what="barcode", path=path, data=data, allowed=allow_absent)
    part = np.array([PARTS.get(part_of.get(barcode, ""), "") for barcode in barcodes], dtype=object)
    is_control = data.obs["is_control"].to_numpy(dtype=bool)
    uncontrolled = data.obs["context"].astype(str).isin(data.uncontrolled).to_numpy()
    use = ~is_control & ~uncontrolled
    conditions: dict[str, list[Condition]] = {}
    cells: dict[str, list[str]] = {}
    for name in PARTS.values():
        chosen = use & (part == name)
        cells[name] = list(barcodes[chosen])
        pairs = data.obs.loc[chosen, ["perturbation", "context"]].astype(str).drop_duplicates()
        conditions[name] = sorted(Condition(p, c) for p, c in pairs.itertuples(index=False))
    unplaced = int((use & (part == "")).sum())
    warnings = [f"{unplaced} perturbed cells are in no part of the file and were left out"] if unplaced else []
    if absent:
        warnings.append(f"{len(absent)} barcodes of the file are not in the dataset")
    shared = set(conditions["test"]) & set(conditions["train"])
    if shared:
        warnings.append(f"{len(shared)} test conditions have cells in train too: these are in distribution")
    fold = fold_of(
        conditions,
        path=path,
        cells=cells,
        withheld_controls=list(barcodes[is_control & (part != "train")]),
        warnings=warnings,
    )
    return fold, len(absent)
