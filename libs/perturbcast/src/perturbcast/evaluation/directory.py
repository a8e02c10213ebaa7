"""An evaluation on disk: a few files, the last of which says that the others are whole.

| file | holds |
|---|---|
| ``metrics.json`` | metric id -> value, interval, floor, chance, ceiling, share_of_range, degenerate, optimum, notes |
| ``per_condition.csv`` | context, perturbation, metric_id, value |
| ``curves.json`` | of a split: coverage of intervals, risk over coverage, best and worst conditions |
| ``provenance.json`` | which part of which split was scored, hashes, versions, and the sha256 of the others |
"""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from perturbcast.errors import UsageError
from perturbcast.evaluation.summary import COLUMNS, Evaluation
from perturbcast.stores.atomic import write_bytes, write_json

__all__ = ["Stored", "find_directories", "read_directory", "write_directory"]

FORMAT = "perturbcast.evaluation/2"
CONTENT = ("metrics.json", "per_condition.csv")
CURVES = "curves.json"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stored:
    """An evaluation with the record of where it comes from.

    Attributes:
        evaluation: scores.
        provenance: what was scored, with what.
        directory: where it lies.
        curves: what ``curves.json`` holds; None where a pair of files was scored.
    """

    evaluation: Evaluation
    provenance: Mapping[str, Any]
    directory: Path
    curves: Mapping[str, Any] | None = None

    @property
    def model(self) -> str:
        """The model's name in params.yaml, which several seeds share; the folder's name where none is recorded."""
        return str(self.provenance.get("model", self.directory.name))

    @property
    def model_seed(self) -> int | None:
        """Seed of the training; None where none is recorded."""
        seed = self.provenance.get("model_seed")
        return None if seed is None else int(seed)

    @property
    def part(self) -> str:
        """``validation`` or ``test`` of a split, or ``files``."""
        return str(self.provenance["part"])


def write_directory(
    evaluation: Evaluation,
    directory: Path,
    *,
    provenance: Mapping[str, Any],
    curves: Mapping[str, Any] | None = None,
) -> None:
    """Write an evaluation; equal evaluations give equal bytes.

    Args:
        evaluation: what to write.
        directory: made where it does not exist.
        provenance: JSON values; ``part`` among them.
        curves: JSON values of ``curves.json``; None writes no such file.
    """
    # an older evaluation stops being whole before its first file is replaced
    (directory / "provenance.json").unlink(missing_ok=True)
    (directory / CURVES).unlink(missing_ok=True)
    write_json(directory / "metrics.json", evaluation.metrics)
    table = io.StringIO()
    csv.writer(table, lineterminator="\n").writerows([COLUMNS, *evaluation.values])
    write_bytes(directory / "per_condition.csv", table.getvalue().encode())
    if curves is not None:
        write_json(directory / CURVES, curves)
    written = CONTENT if curves is None else (*CONTENT, CURVES)
    hashes = {name: _sha256(directory / name) for name in written}
    write_json(directory / "provenance.json", {**provenance, "format": FORMAT, "sha256": hashes})


def read_directory(directory: Path) -> Stored:
    """Read an evaluation and check that it is whole.

    Raises:
        UsageError: there is no evaluation.
        ValueError: it is half-written or was changed.
    """
    if not directory.is_dir():
        raise UsageError(f"An evaluation is a directory; {directory} does not exist. Run 'perturbcast evaluate'.")
    absent = [name for name in (*CONTENT, "provenance.json") if not (directory / name).is_file()]
    if absent:
        raise ValueError(
            f"An evaluation holds {', '.join(CONTENT)} and provenance.json; {directory} has no {', '.join(absent)}. "
            "It is half-written: run 'perturbcast evaluate' again."
        )
    provenance = json.loads((directory / "provenance.json").read_text())
    hashes = provenance["sha256"]
    gone = [name for name in hashes if not (directory / name).is_file()]
    if gone:
        raise ValueError(
            f"An evaluation holds what its provenance names; {directory} has no {', '.join(gone)}. "
            "Run 'perturbcast evaluate' again."
        )
    changed = [name for name in hashes if _sha256(directory / name) != hashes[name]]
    if changed:
        raise ValueError(
            f"An evaluation is not edited; {', '.join(changed)} in {directory} changed since it was written. "
            "Run 'perturbcast evaluate' again."
        )
    return Stored(
        evaluation=Evaluation(
            metrics=json.loads((directory / "metrics.json").read_text()),
            values=tuple(
                (row["context"], row["perturbation"], row["metric_id"], float(row["value"]))
                for row in csv.DictReader(
                    io.StringIO((directory / "per_condition.csv").read_bytes().decode(), newline="")
                )
            ),
        ),
        provenance=provenance,
        directory=directory,
        curves=json.loads((directory / CURVES).read_text()) if CURVES in hashes else None,
    )


def find_directories(folder: Path) -> dict[str, dict[str, Stored]]:
    """Split -> model -> evaluation of ``folder/SPLIT/MODEL/``, sorted.

    Raises:
        UsageError: the folder holds none.
        ValueError: one of them is half-written.
    """
    found: dict[str, dict[str, Stored]] = {}
    for directory in sorted(path for path in folder.glob("*/*") if path.is_dir()):
        found.setdefault(directory.parent.name, {})[directory.name] = read_directory(directory)
    if not found:
        raise UsageError(
            f"Evaluations are in SPLIT/MODEL/ of a folder; {folder} holds none. Run 'perturbcast evaluate' first."
        )
    return found


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
