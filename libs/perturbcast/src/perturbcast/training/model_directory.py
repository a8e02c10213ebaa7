"""A trained model on disk: a directory without pickles, whose fingerprint proves that it is whole.

| file | holds |
|---|---|
| ``config.json`` | model and its parameters, preprocessing, genes, contexts, train conditions, data and split hashes |
| ``model.safetensors`` | fitted arrays, and the control means of train contexts |
| ``calibration.npz`` | levels, factors [level, group], edges and pairs of the groups |
| ``calibration.json`` | the same to read, and which conditions the factors come from, hash and origin of the cells |
| ``controls.npz`` | some control cells of each train context; a directory may be without |
| ``fingerprint.json`` | sha256 of every file above, of data, split, config and environment, and over all of them |

The directory is written under a temporary name and renamed; one without a fingerprint is half-written.
"""

from __future__ import annotations

import hashlib
import json
import math
import platform
import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

import perturbcast
from perturbcast import catalog
from perturbcast.calibration import Calibration
from perturbcast.errors import UsageError
from perturbcast.models.interface import from_state, to_state
from perturbcast.schema import Condition, canonical_hash, gene_list_hash
from perturbcast.stores.atomic import write_json
from perturbcast.training import stored_controls
from perturbcast.training.trained_model import TrainedModel

__all__ = ["load_model", "save_model"]

FORMAT = "perturbcast.model/2"
FILES = ("config.json", "model.safetensors", "calibration.npz", "calibration.json")
CONTROLS = "controls.npz"
ENVIRONMENT = ("numpy", "scipy", "pandas", "anndata", "safetensors")


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def save_model(model: TrainedModel, directory: Path) -> TrainedModel:
    """Write the directory whole, replacing an older one, and return the model with its fingerprint."""
    beside = directory.with_name(f".{directory.name}.partial")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    arrays, values = to_state(model.model)
    tensors = {f"model.{name}": array for name, array in arrays.items()}
    contexts = sorted(model.control_means)
    tensors["control_means"] = np.stack([model.control_means[name] for name in contexts])
    save_file(tensors, beside / "model.safetensors")
    write_json(
        beside / "config.json",
        {
            "format": FORMAT,
            "kind": model.kind,
            "plugin": model.plugin,
            "parameters": model.parameters,
            "state": values,
            "seed": model.seed,
            "dataset": model.dataset,
            "dataset_hash": model.dataset_hash,
            "split_hash": model.split_hash,
            "fold": model.fold,
            "scale": model.scale,
            "preprocessing": list(model.preprocessing),
            "genes": list(model.genes),
            "genes_sha256": gene_list_hash(model.genes),
            "contexts": contexts,
            "train_conditions": [[c.perturbation, c.context] for c in model.train_conditions],
        },
    )
    _write_calibration(model.calibration, beside)
    if model.control_cells:
        stored_controls.write(model.control_cells, beside / CONTROLS)
    environment = {name: version(name) for name in ENVIRONMENT} | {"python": platform.python_version()}
    fingerprint: dict[str, Any] = {
        "files": {name: _sha256(beside / name) for name in (*FILES, CONTROLS) if (beside / name).is_file()},
        "data": model.dataset_hash,
        "split": model.split_hash,
        "config": canonical_hash({"plugin": model.plugin, "parameters": model.parameters, "seed": model.seed}),
        "code": perturbcast.__version__,
        "environment": canonical_hash(environment),
        "versions": environment,
    }
    write_json(beside / "fingerprint.json", fingerprint | {"sha256": canonical_hash(fingerprint)})
    shutil.rmtree(directory, ignore_errors=True)
    beside.replace(directory)
    return load_model(directory)


def load_model(directory: Path) -> TrainedModel:
    """Read a model directory after checking every file against its fingerprint.

    Raises:
        UsageError: there is no such directory.
        ValueError: the directory is half-written, was changed, or was written by another format.
    """
    if not directory.is_dir():
        raise UsageError(f"A model is a directory; {directory} does not exist. Train one with 'perturbcast train'.")
    missing = [name for name in (*FILES, "fingerprint.json") if not (directory / name).is_file()]
    if missing:
        raise ValueError(
            f"A model directory holds {', '.join(FILES)} and fingerprint.json; {directory} lacks {', '.join(missing)}: "
            "it is half-written or not a model. Train it again, or restore it with 'dvc checkout'."
        )
    changed = (
        f"A model directory is not edited; {{}} in {directory}. Train it again, or restore it with 'dvc checkout'."
    )
    try:
        fingerprint = json.loads((directory / "fingerprint.json").read_text())
        claimed = fingerprint.pop("sha256")
        hashes = fingerprint["files"]
        for name in (*FILES, CONTROLS):
            file = directory / name
            if (_sha256(file) if file.is_file() else None) != hashes.get(name):
                raise ValueError(changed.format(f"{name} does not have the sha256 of fingerprint.json"))
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(changed.format(f"fingerprint.json cannot be read ({type(error).__name__})")) from error
    if canonical_hash(fingerprint) != claimed:
        raise ValueError(changed.format("fingerprint.json does not have its own sha256"))
    try:
        return _read(directory, fingerprint=claimed)
    except (json.JSONDecodeError, KeyError, SafetensorError) as error:
        raise ValueError(
            changed.format(f"a file is not of format {FORMAT} ({type(error).__name__}: {error})")
        ) from error


def _read(directory: Path, *, fingerprint: str) -> TrainedModel:
    config = json.loads((directory / "config.json").read_text())
    if config["format"] != FORMAT:
        raise ValueError(
            f"This version reads models of format {FORMAT}; {directory} is {config['format']!r}. "
            "Use the version of perturbcast that wrote it, or train it again."
        )
    tensors = load_file(directory / "model.safetensors")
    arrays = {name.removeprefix("model."): tensor for name, tensor in tensors.items() if name.startswith("model.")}
    return TrainedModel(
        model=from_state(catalog.load("models", config["plugin"]).Model, arrays, config["state"]),
        kind=config["kind"],
        plugin=config["plugin"],
        parameters=config["parameters"],
        seed=config["seed"],
        dataset=config["dataset"],
        dataset_hash=config["dataset_hash"],
        split_hash=config["split_hash"],
        fold=config["fold"],
        scale=config["scale"],
        preprocessing=tuple(config["preprocessing"]),
        genes=tuple(config["genes"]),
        control_means=dict(zip(config["contexts"], tensors["control_means"], strict=True)),
        train_conditions=tuple(Condition(*pair) for pair in config["train_conditions"]),
        calibration=_read_calibration(directory),
        control_cells=stored_controls.read(directory / CONTROLS) if (directory / CONTROLS).is_file() else {},
        fingerprint=fingerprint,
    )


def _write_calibration(calibration: Calibration, directory: Path) -> None:
    levels = sorted(calibration.factors)
    factors = np.array([calibration.factors[level] for level in levels], dtype=np.float64)
    np.savez(
        directory / "calibration.npz", levels=levels, factors=factors, edges=calibration.edges, pairs=calibration.pairs
    )
    groups = [
        {
            "control_expression_above": calibration.edges[k - 1] if k else None,
            "n_pairs": n_pairs,
            # JSON has no infinity: null is an interval without an end, for want of pairs
            "factors": {str(level): _finite(calibration.factors[level][k]) for level in levels},
        }
        for k, n_pairs in enumerate(calibration.pairs)
    ]
    write_json(
        directory / "calibration.json",
        {
            "conditions": [[c.perturbation, c.context] for c in calibration.conditions],
            "n_conditions": len(calibration.conditions),
            "n_pairs": sum(calibration.pairs),
            "groups": groups,
            "coverage_at_least": {str(level): calibration.least_coverage(level) for level in levels},
            "cells_sha256": calibration.cells_sha256,
            "origin": calibration.origin,
        },
    )


def _read_calibration(directory: Path) -> Calibration:
    record = json.loads((directory / "calibration.json").read_text())
    with np.load(directory / "calibration.npz", allow_pickle=False) as file:
        factors = dict(zip(file["levels"].tolist(), map(tuple, file["factors"].tolist()), strict=True))
        edges, pairs = tuple(file["edges"].tolist()), tuple(file["pairs"].tolist())
    return Calibration(
        factors=factors,
        edges=edges,
        pairs=pairs,
        conditions=tuple(Condition(*pair) for pair in record["conditions"]),
        cells_sha256=record["cells_sha256"],
        origin=record["origin"],
    )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
