"""Makes splits from a rule, writes them frozen and hash-locked, and reads them back with every check.

A split is two files side by side: ``NAME.json`` (rule, parameters, conditions, hashes, and a sha256 over
all of it) and ``NAME.barcodes.tsv.gz`` (part and barcode per line, sorted), whose sha256 per part is in the
JSON. Loading recomputes every hash and refuses a changed file or another dataset.
"""

from __future__ import annotations

import dataclasses
import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np

from perturbcast import catalog
from perturbcast.errors import UsageError
from perturbcast.schema import Condition, PerturbationData, Split, canonical_hash
from perturbcast.splits.fold import Fold
from perturbcast.stores.atomic import write_bytes, write_json

__all__ = ["freeze", "load", "make"]


def make(data: PerturbationData, rule: str, *, config: Any = None, seed: int = 0) -> list[Split]:
    """The frozen folds of a rule on a dataset.

    Args:
        data: measured cells.
        rule: module name in ``splits/``.
        config: the rule's ``Config``; its defaults where None.
        seed: decides every draw; the same seed gives the same splits.

    Raises:
        ValueError: the dataset cannot carry the rule.
    """
    module = catalog.load("splits", rule)
    config = module.Config() if config is None else config
    folds: list[Fold] = module.folds(data, config, generator=np.random.default_rng(seed))
    return [
        _assemble(data, fold, rule=rule, parameters=dataclasses.asdict(config), seed=seed, index=i, n_folds=len(folds))
        for i, fold in enumerate(folds)
    ]


def _assemble(
    data: PerturbationData,
    fold: Fold,
    *,
    rule: str,
    parameters: dict[str, Any],
    seed: int,
    index: int,
    n_folds: int,
) -> Split:
    """Look up the cells of a fold's conditions; divide validation where the fold brings no calibration."""
    conditions = {part: tuple(sorted(group)) for part, group in fold.conditions.items()}
    warnings = list(fold.warnings)
    if not conditions["calibration"]:
        conditions = _derive_calibration(data, fold.held_out, conditions, rule=rule, parameters=parameters, seed=seed)
        warnings.append("calibration conditions were drawn from validation, seeded by the split's own record")
    barcodes = data.obs.index.to_numpy().astype(str)
    context = data.obs["context"].astype(str).to_numpy()
    is_control = data.obs["is_control"].to_numpy()
    if fold.cells is None:
        part_of = {(c.perturbation, c.context): part for part, group in conditions.items() for c in group}
        pairs = zip(data.obs["perturbation"].astype(str), context, strict=True)
        label = np.array([part_of.get(pair, "") for pair in pairs], dtype=object)
        label[is_control] = ""
        cells = {part: barcodes[label == part] for part in conditions}
    else:
        cells = {part: np.asarray(group, dtype=str) for part, group in fold.cells.items()}
    train_contexts = sorted({c.context for c in conditions["train"]})
    in_train = np.isin(context, train_contexts)
    parts = {part: tuple(sorted(map(str, group))) for part, group in cells.items()}
    parts["train"] = tuple(sorted([*parts["train"], *map(str, barcodes[is_control & in_train])]))
    parts["control_input"] = tuple(sorted(map(str, barcodes[is_control & ~in_train])))
    if data.uncontrolled:
        warnings.append(f"contexts without controls are in no part: {', '.join(data.uncontrolled)}")
    return Split(
        dataset=data.dataset,
        dataset_hash=data.hash,
        rule=rule,
        parameters=parameters,
        seed=seed,
        fold=index,
        n_folds=n_folds,
        held_out=fold.held_out,
        parts=parts,
        conditions=conditions,
        strata=fold.strata,
        ood_axes=fold.ood_axes,
        warnings=tuple(warnings),
    )


def _derive_calibration(
    data: PerturbationData,
    held_out: str,
    conditions: dict[str, tuple[Condition, ...]],
    *,
    rule: str,
    parameters: dict[str, Any],
    seed: int,
) -> dict[str, tuple[Condition, ...]]:
    """Half of the validation conditions, drawn by a generator seeded by what the split is without them."""
    validation = conditions["validation"]
    if len(validation) < 2:
        raise ValueError(
            f"Calibration needs conditions of its own, apart from validation; {rule!r} on {data.dataset!r} "
            f"(held out: {held_out}) leaves {len(validation)} for both. Use data with more contexts or perturbations, "
            "or another rule."
        )
    record = {
        "dataset_hash": data.hash,
        "rule": rule,
        "parameters": parameters,
        "seed": seed,
        "held_out": held_out,
        "conditions": {part: [str(c) for c in group] for part, group in conditions.items()},
    }
    generator = np.random.default_rng(int(canonical_hash(record)[:16], 16))
    chosen = {validation[i] for i in generator.permutation(len(validation))[: len(validation) // 2]}
    return conditions | {
        "validation": tuple(c for c in validation if c not in chosen),
        "calibration": tuple(c for c in validation if c in chosen),
    }


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


def load(path: Path, *, data: PerturbationData | None = None) -> Split:
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
