"""State (ArcInstitute, cell-load): a TOML of datasets, whole held-out cell types and held-out lists of perturbations.

``[training]`` names datasets whose cell types are train; ``[zeroshot] "dataset.celltype" = "val" | "test"`` holds out
a cell type whole; ``[fewshot."dataset.celltype"]`` lists ``val`` and ``test`` perturbations, and the others of that
cell type are train. Our contexts are its cell types. Its own loader lets val and test overlap; here that is an error.
Controls are placed by our rule: those of train contexts are fitted, those of zero-shot cell types are input only.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from perturbcast.errors import UsageError
from perturbcast.schema import Condition, PerturbationData, canonical_perturbation
from perturbcast.splits.fold import Fold
from perturbcast.splits.official.placing import PARTS, check_absent, control_names, fold_of

__all__ = ["read"]


def read(path: Path, data: PerturbationData, *, dataset: str = "", allow_absent: bool = False) -> tuple[Fold, int]:
    """The fold, and how many cell types and perturbations of the file the dataset does not hold.

    Raises:
        UsageError: the file names several datasets and ``dataset`` none of them.
        ValueError: the file is not of this form, a name is unknown or in two parts, or a part is empty.
    """
    try:
        record = tomllib.loads(path.read_text())
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"A State split is TOML; {path} cannot be read ({error}). Correct it.") from error
    training = record.get("training", {})
    sections = {name: _keys(record.get(name, {}), section=name, path=path) for name in ("zeroshot", "fewshot")}
    known = sorted({*training, *(name for section in sections.values() for name, _ in section)})
    if dataset not in known and (dataset or len(known) != 1):
        raise UsageError(
            f"A State file divides the datasets that it names; {path} names {', '.join(known) or 'none'}"
            f"{f', not {dataset!r}' if dataset else ''}. Say with --dataset which of them {data.dataset!r} is."
        )
    dataset = dataset or known[0]
    whole = {cell_type: value for (name, cell_type), value in sections["zeroshot"].items() if name == dataset}
    lists = {cell_type: value for (name, cell_type), value in sections["fewshot"].items() if name == dataset}
    _check(whole, lists, path)
    absent = {f"cell type {name}" for name in {*whole, *lists} - {c.context for c in data.conditions}}
    conditions: dict[str, list[Condition]] = {part: [] for part in PARTS.values()}
    left_out = set()
    nothing = control_names(data)
    for context in sorted({c.context for c in data.conditions}):
        measured = {c.perturbation: c for c in data.conditions if c.context == context}
        if context in whole:
            conditions[PARTS[whole[context]]] += measured.values()
            continue
        if context not in lists and training.get(dataset) != "train":
            left_out.add(context)
            continue
        held: set[Condition] = set()
        for part in ("val", "test"):
            for label in lists.get(context, {}).get(part, []):
                name = label if label in measured else canonical_perturbation(label)
                if name in measured:
                    conditions[PARTS[part]].append(measured[name])
                    held.add(measured[name])
                elif label not in nothing:
                    absent.add(f"{label} in {context}")
        conditions["train"] += [c for c in measured.values() if c not in held]
    check_absent(absent, what="cell type and perturbation", path=path, data=data, allowed=allow_absent)
    warnings = (
        [f"contexts that the file does not name are in no part: {', '.join(sorted(left_out))}"] if left_out else []
    )
    if absent:
        warnings.append(f"{len(absent)} names of the file are not in the dataset: {', '.join(sorted(absent))}")
    unique = {part: sorted(set(group)) for part, group in conditions.items()}
    return fold_of(unique, path=path, warnings=warnings), len(absent)


def _keys(record: Mapping[str, Any], *, section: str, path: Path) -> dict[tuple[str, str], Any]:
    """(dataset, cell type) -> what the section says of it."""
    for key in record:
        if "." not in key:
            raise ValueError(
                f'A key of [{section}] is "dataset.celltype" in quotes; {path} has {key!r}. Put the quotes around both.'
            )
    return {(key.partition(".")[0], key.partition(".")[2]): value for key, value in record.items()}


def _check(whole: Mapping[str, Any], lists: Mapping[str, Any], path: Path) -> None:
    """Values are parts, lists are lists of names, and no cell type is in both sections."""
    wrong = {name: value for name, value in whole.items() if value not in PARTS} | {
        name: value
        for name, value in lists.items()
        if not isinstance(value, dict)
        or not set(value) <= set(PARTS)
        or not all(isinstance(group, list) for group in value.values())
    }
    if wrong:
        name, value = next(iter(wrong.items()))
        raise ValueError(
            f"A zero-shot cell type is one of {', '.join(PARTS)}, and a few-shot one has lists of perturbations under "
            f"val and test; {path} says {value!r} of {name!r}. Correct it."
        )
    both = sorted(set(whole) & set(lists))
    if both:
        raise ValueError(
            f"A cell type is held out whole or by lists; {', '.join(both)} of {path} is both. "
            "Remove it from one section."
        )
