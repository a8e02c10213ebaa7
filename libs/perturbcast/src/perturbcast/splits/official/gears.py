"""GEARS (snap-stanford/GEARS): lists of conditions for ``train``, ``val`` and ``test``.

JSON of ``{"train": ["A+ctrl", "A+B", "ctrl"], "val": [...], "test": [...]}``, which is the dictionary that GEARS
pickles as ``set2conditions``, or a csv of condition and part. ``ctrl`` is dropped from labels; a condition is meant in
every context of the dataset. Controls are placed by our rule: those of train contexts are fitted.
"""

from __future__ import annotations

import json
from pathlib import Path

from perturbcast.schema import Condition, PerturbationData, canonical_perturbation
from perturbcast.splits.fold import Fold
from perturbcast.splits.official.placing import PARTS, check_absent, control_names, fold_of, read_csv

__all__ = ["read"]


def read(path: Path, data: PerturbationData, *, allow_absent: bool = False) -> tuple[Fold, int]:
    """The fold, and how many conditions of the file the dataset does not hold.

    Raises:
        ValueError: the file is not of this form, a condition is unknown or in two parts, or a part is empty.
    """
    nothing = control_names(data)
    measured: dict[str, list[Condition]] = {}
    for condition in data.conditions:
        measured.setdefault(condition.perturbation, []).append(condition)
    listed: dict[str, list[str]] = {part: [] for part in PARTS}
    absent: set[str] = set()
    for theirs, labels in _lists(path).items():
        for label in labels:
            targets = [target.strip() for target in label.split("+") if target.strip() not in nothing]
            name = canonical_perturbation("+".join(targets)) if targets else ""
            if name in measured:
                listed[theirs].append(name)
            elif name:
                absent.add(label)
    check_absent(absent, what="condition", path=path, data=data, allowed=allow_absent)
    conditions = {
        PARTS[part]: sorted(c for name in dict.fromkeys(names) for c in measured[name])
        for part, names in listed.items()
    }
    placed = {c for group in conditions.values() for c in group}
    unplaced = sorted(str(c) for c in data.conditions if c not in placed)
    warnings = [f"{len(unplaced)} conditions are not in the file: {', '.join(unplaced)}"] if unplaced else []
    if absent:
        warnings.append(f"{len(absent)} conditions of the file are not in the dataset: {', '.join(sorted(absent))}")
    return fold_of(conditions, path=path, warnings=warnings), len(absent)


def _lists(path: Path) -> dict[str, list[str]]:
    """Part -> labels."""
    if path.suffix == ".csv":
        part_of = read_csv(path, "condition")
        return {part: [name for name, its in part_of.items() if its == part] for part in PARTS}
    try:
        record = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"A GEARS split is JSON or csv; {path} is neither ({error}). Give one of these.") from error
    fits = isinstance(record, dict) and set(record) == set(PARTS)
    if not fits or not all(
        isinstance(group, list) and all(isinstance(x, str) for x in group) for group in record.values()
    ):
        found = ", ".join(map(str, record)) if isinstance(record, dict) else type(record).__name__
        raise ValueError(
            f"A GEARS split maps {', '.join(PARTS)} to lists of conditions; {path} holds {found[:80]}. "
            "Write the dictionary set2conditions, and nothing else, as JSON."
        )
    return {part: list(record[part]) for part in PARTS}
