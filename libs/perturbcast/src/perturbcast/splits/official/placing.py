"""What the readers of split files share: names to parts, absent names, and the fold with its derived OOD axes."""

from __future__ import annotations

import csv
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from perturbcast.schema import CONTROL, Condition, PerturbationData
from perturbcast.splits import novelty
from perturbcast.splits.fold import Fold

__all__ = ["PARTS", "check_absent", "control_names", "fold_of", "read_csv"]

PARTS = {"train": "train", "val": "validation", "test": "test"}  # theirs -> ours


def read_csv(path: Path, what: str) -> dict[str, str]:
    """Name -> part (``train``, ``val``, ``test``, or empty for none) from two columns, with or without a header.

    Raises:
        ValueError: a line has not two columns or an unknown part, or a name stands twice.
    """
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = [row for row in csv.reader(file) if row]
    if rows and len(rows[0]) == 2 and rows[0][1].strip() not in (*PARTS, ""):
        rows = rows[1:]
    part_of: dict[str, str] = {}
    for row in rows:
        if len(row) != 2 or row[1].strip() not in (*PARTS, ""):
            raise ValueError(
                f"A line holds a {what} and one of {', '.join(PARTS)} (or nothing); {path} holds "
                f"{','.join(row)[:80]!r}. Give a csv of two columns."
            )
        name, part = row[0].strip(), row[1].strip()
        if name in part_of:
            raise ValueError(
                f"Each {what} stands once; {name!r} is listed as {part_of[name] or 'nothing'} and as "
                f"{part or 'nothing'} in {path}. Remove one of the lines."
            )
        part_of[name] = part
    return part_of


def check_absent(names: Collection[str], *, what: str, path: Path, data: PerturbationData, allowed: bool) -> None:
    """Refuse names that the dataset does not hold, unless they may be left out.

    Raises:
        ValueError: there are some and they are not allowed.
    """
    if names and not allowed:
        some = ", ".join(sorted(names)[:5])
        raise ValueError(
            f"Every {what} of a split file is in the dataset; {len(names)} of {path} are not in {data.dataset!r}, "
            f"first {some}. Give the dataset that the file was made for, or leave them out with --allow-absent "
            "(conditions dropped at import, say)."
        )


def control_names(data: PerturbationData) -> set[str]:
    """Labels that mean unperturbed in the source of the dataset."""
    return {CONTROL, "ctrl", *map(str, data.meta.get("control_labels", ()))}


def fold_of(
    conditions: Mapping[str, Sequence[Condition]],
    *,
    path: Path,
    cells: Mapping[str, Sequence[str]] | None = None,
    withheld_controls: Collection[str] = (),
    warnings: Sequence[str] = (),
) -> Fold:
    """The fold of an imported split; calibration is derived from validation later.

    Raises:
        ValueError: a part is empty, or a condition without cells of its own is in two parts.
    """
    empty = [theirs for theirs, part in PARTS.items() if not conditions[part]]
    if empty:
        raise ValueError(
            f"A split holds conditions in {', '.join(PARTS)}; {path} has none in {' and '.join(empty)}. "
            "Add them: test is scored, val selects, and half of val calibrates."
        )
    if cells is None:
        of_condition: dict[Condition, list[str]] = {}
        for theirs, part in PARTS.items():
            for condition in conditions[part]:
                of_condition.setdefault(condition, []).append(theirs)
        twice = [f"{condition} in {' and '.join(parts)}" for condition, parts in of_condition.items() if len(parts) > 1]
        if twice:
            raise ValueError(
                f"A condition is in one part; {len(twice)} of {path} are in two, first {twice[0]}. "
                "Remove it from one of them in a copy of the file."
            )
    train, test = conditions["train"], conditions["test"]
    singles = {(c.perturbation, c.context) for c in train if not c.is_combination}
    return Fold(
        held_out=f"as in {path.name}",
        conditions={**conditions, "calibration": []},
        cells=None if cells is None else {**cells, "calibration": []},
        strata={str(c): novelty.singles_seen(c, singles) for c in test if c.is_combination},
        ood_axes=novelty.axes(test, train),
        warnings=tuple(warnings),
        withheld_controls=withheld_controls,
    )
