"""Writes splits frozen and hash-locked, and reads them back with every check.

A split is two files side by side: ``NAME.json`` (rule, parameters, conditions, hashes, and a sha256 over
all of it) and ``NAME.barcodes.tsv.gz`` (part and barcode per line, sorted), whose sha256 per part is in the
JSON. Loading recomputes every hash and refuses a changed file or another dataset.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path

from perturbcast.errors import UsageError
from perturbcast.schema import Cells, Condition, SharedPerturbations, Split
from perturbcast.stores.atomic import write_bytes, write_json

__all__ = ["freeze", "load"]


def _barcode_file(path: Path) -> Path:
    return path.with_suffix(".barcodes.tsv.gz")


def freeze(split: Split, path: Path) -> None:
    """Write ``path`` (``.json``) and its barcodes; a frozen split of the same content is left as it is.

    Raises:
        ValueError: ``path`` holds another split.
    """
    if path.exists():
        if load(path).hash == split.hash:
            return
        raise ValueError(
            f"A frozen split is never overwritten; {path} holds another one. Write to another folder, or remove it "
            "if nothing was trained on it."
        )
    lines = "".join(f"{part}\t{barcode}\n" for part in Split.PARTS for barcode in split.parts[part])
    record = split.to_json() | {"sha256": split.hash}
    # mtime=0: the same split gives the same bytes
    write_bytes(_barcode_file(path), gzip.compress(lines.encode(), mtime=0))
    write_json(path, record)


def load(path: Path, *, data: Cells | None = None) -> Split:
    """Read a frozen split and check every hash.

    Args:
        path: the ``.json`` file.
        data: the dataset it will be used with; its content hash must be the one the split was made for.

    Raises:
        UsageError: there is no such file.
        ValueError: the file was changed, its barcodes were changed, or it belongs to another dataset.
    """
    if not path.is_file():
        raise UsageError(f"A split is a frozen .json file; {path} does not exist. Make it with 'perturbcast split'.")
    changed = f"A frozen split is not edited; {path} {{}}. Restore it (dvc checkout), or make a new split."
    try:
        record = json.loads(path.read_text())
        written = record["format"]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ValueError(changed.format(f"cannot be read whole ({type(error).__name__}: {error})")) from error
    if written != Split.FORMAT:
        raise ValueError(
            f"This version reads splits of format {Split.FORMAT}; {path} is {written!r}. Make it again with "
            "'perturbcast split' in another folder, or use the version of perturbcast that wrote it."
        )
    try:
        text = gzip.decompress(_barcode_file(path).read_bytes()).decode()
        parts: dict[str, list[str]] = {part: [] for part in Split.PARTS}
        for line in text.splitlines():
            part, barcode = line.split("\t")
            parts[part].append(barcode)
        split = Split(
            **{k: record[k] for k in ("dataset", "dataset_hash", "rule", "parameters", "seed", "fold", "n_folds")},
            held_out=record["held_out"],
            parts={part: tuple(group) for part, group in parts.items()},
            conditions={p: tuple(Condition(*pair) for pair in group) for p, group in record["conditions"].items()},
            strata=record["strata"],
            ood_axes=tuple(record["ood_axes"]),
            warnings=tuple(record["warnings"]),
            n_controls=record["n_controls"],
            shared_perturbations=record["shared_perturbations"]
            and SharedPerturbations.from_json(record["shared_perturbations"]),
            coverage=record["coverage"],
        )
        claimed = record["sha256"]
    except (OSError, EOFError, KeyError, TypeError, ValueError) as error:
        raise ValueError(changed.format(f"cannot be read whole ({type(error).__name__}: {error})")) from error
    if split.barcode_hashes != record["barcodes_sha256"]:
        raise ValueError(changed.format("has barcodes other than those it was frozen with"))
    if split.hash != claimed or {**split.to_json(), "sha256": claimed} != record:
        raise ValueError(changed.format(f"has content of sha256 {split.hash[:12]} but says {str(claimed)[:12]}"))
    if data is not None and (data.hash != split.dataset_hash):
        raise ValueError(
            f"A split belongs to one dataset by content; {path} was made for {split.dataset!r} "
            f"({split.dataset_hash[:12]}), the data given is {data.dataset!r} ({data.hash[:12]}). "
            "Give that dataset, or make a split for this one."
        )
    return split
