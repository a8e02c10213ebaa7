"""Whether the cells of a frozen split are what its record says: labels of the dataset against parts and conditions."""

from __future__ import annotations

from perturbcast.schema import PerturbationData, Split
from perturbcast.splits.fold import FITTED_PARTS

__all__ = ["check_labels"]


def check_labels(split: Split, data: PerturbationData) -> None:
    """Compare a split with the labels of its dataset.

    Raises:
        ValueError: a barcode is not in the dataset, a cell is in a part that does not hold its condition, a condition
            has no cell in its part, or a control cell is in a held-out part.
    """
    for part in Split.PARTS:
        obs = data.obs.reindex(list(split.parts[part]))
        absent = obs.index[obs["is_control"].isna()]
        if len(absent):
            raise _wrong(split, f"{len(absent)} barcodes of {part} are not in {data.dataset!r}, first {absent[0]!r}")
        control = obs["is_control"].to_numpy(dtype=bool)
        if int(control.sum()) != split.n_controls[part]:
            raise _wrong(split, f"{part} holds {int(control.sum())} control cells and says {split.n_controls[part]}")
        if part not in FITTED_PARTS:
            continue
        if part != "train" and control.any():
            raise _wrong(split, f"{int(control.sum())} control cells are in {part}")
        perturbed = obs[~control]
        found = set(perturbed["perturbation"].astype(str) + " in " + perturbed["context"].astype(str))
        differ = sorted(found ^ {str(condition) for condition in split.conditions[part]})
        if differ:
            raise _wrong(split, f"cells and conditions of {part} differ in {len(differ)}, first {differ[0]!r}")
    contexts = {condition.context for condition in split.conditions["train"]}
    fitted = data.obs.loc[list(split.parts["train"])]
    odd = sorted(set(fitted.loc[fitted["is_control"].to_numpy(dtype=bool), "context"].astype(str)) - contexts)
    if odd:
        raise _wrong(split, f"controls of {', '.join(odd)} are in train, which holds no condition there")


def _wrong(split: Split, what: str) -> ValueError:
    return ValueError(
        f"The cells of a split are those of its conditions; in fold {split.fold} of {split.rule!r} {what}. "
        "Make the split again."
    )
