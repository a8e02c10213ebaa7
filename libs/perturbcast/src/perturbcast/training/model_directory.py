"""A trained model on disk: a directory without pickles, whose fingerprint proves that it is whole.

| file | holds |
|---|---|
| ``config.json`` | model and its parameters, preprocessing, genes, contexts, train conditions, data and split hashes |
| ``model.safetensors`` | fitted arrays, and the control means of train contexts |
| ``calibration.npz`` | levels, factors [level, group], edges and pairs of the groups |
| ``calibration.json`` | the same to read, and which conditions the factors come from, hash and origin of the cells |
| ``controls.npz`` | some control cells of each train context; a directory may be without |
| ``fingerprint.json`` | sha256 of every file above, of data, split, config and environment, and over all of them |

Where the model reads a pretrained encoder, the encoder's sha256 is in ``config.json`` and in the fingerprint.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
from safetensors.numpy import load_file
from safetensors.numpy import save as to_bytes

from perturbcast import catalog
from perturbcast.calibration import Calibration
from perturbcast.models.interface import from_state, to_state
from perturbcast.schema import Condition, canonical_hash, gene_list_hash
from perturbcast.stores import sealed_directory
from perturbcast.stores.atomic import write_json
from perturbcast.training import stored_controls
from perturbcast.training.mapped_model import MappedModel
from perturbcast.training.trained_model import TrainedModel

__all__ = ["load_model", "save_model"]

FORMAT = "perturbcast.model/2"
CONTROLS = "controls.npz"
LEARNED_BY = ("torch",)  # decides the weights of a network beside KIND's packages
KIND = sealed_directory.Kind(
    name="model",
    article="A",
    files=("config.json", "model.safetensors", "calibration.npz", "calibration.json"),
    optional=(CONTROLS,),
    make="Train one with 'perturbcast train'.",
    again="Train it again",
    packages=("numpy", "scipy", "pandas", "anndata", "safetensors"),
)


def save_model(model: TrainedModel, directory: Path) -> TrainedModel:
    """Write the directory whole, replacing an older one, and return the model with its fingerprint."""
    with sealed_directory.writing(directory) as beside:
        _fill(beside, model)
    return load_model(directory)


def _fill(beside: Path, model: TrainedModel) -> None:
    arrays, values = to_state(model.model)
    tensors = {f"model.{name}": array for name, array in arrays.items()}
    contexts = sorted(model.control_means)
    tensors["control_means"] = np.stack([model.control_means[name] for name in contexts])
    (beside / "model.safetensors").write_bytes(to_bytes(tensors))  # by its own writer nobody else could read it
    # a model that reads no encoder keeps the bytes it always had
    encoder = {"encoder": model.encoder} if model.encoder else {}
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
            **encoder,
        },
    )
    _write_calibration(model.calibration, beside)
    if model.control_cells:
        stored_controls.write(model.control_cells, beside / CONTROLS)
    facts: dict[str, Any] = {
        "data": model.dataset_hash,
        "split": model.split_hash,
        "config": canonical_hash({"plugin": model.plugin, "parameters": model.parameters, "seed": model.seed}),
        **encoder,
    }
    by_gradient = getattr(catalog.load("models", model.plugin), "BY_GRADIENT", False)
    sealed_directory.seal(beside, KIND, facts, packages=LEARNED_BY if by_gradient else ())


@overload
def load_model(
    directory: Path, *, genes: Sequence[str] | None = None, by_name: Literal[False] = False
) -> TrainedModel: ...
@overload
def load_model(directory: Path, *, genes: Sequence[str], by_name: Literal[True]) -> MappedModel: ...
def load_model(
    directory: Path, *, genes: Sequence[str] | None = None, by_name: bool = False
) -> TrainedModel | MappedModel:
    """Read a model directory after checking every file against its fingerprint.

    Args:
        directory: what ``save_model`` wrote.
        genes: of the caller's columns; refused where they are not the model's in its order. None to take the order
            that the model has.
        by_name: map the model onto ``genes`` by name instead: they may stand in any order and hold others.

    Raises:
        UsageError: there is no such directory.
        ValueError: the directory is half-written, was changed, or was written by another format; the genes are in
            another order, or with ``by_name`` lack one of the model's.
    """
    claimed = sealed_directory.verify(directory, KIND)
    with sealed_directory.reading(directory, KIND, FORMAT):
        model = _read(directory, fingerprint=claimed)
    if genes is None:
        if by_name:
            raise ValueError("Genes are mapped by name onto a list of them; got by_name without genes. Give both.")
        return model
    if by_name:
        return MappedModel(own=model, given=tuple(genes))
    if tuple(genes) != model.genes:
        raise ValueError(
            f"Columns stand in the gene order of the model; {_first_difference(genes, model.genes)}. Load it with "
            "by_name=True to map them, or bring the columns into the order of 'genes' in its config.json."
        )
    return model


def _first_difference(given: Sequence[str], own: Sequence[str]) -> str:
    for i, (one, other) in enumerate(zip(given, own, strict=False)):
        if one != other:
            return f"column {i} is {one!r}, the model's is {other!r}"
    return f"there are {len(given)} columns, the model has {len(own)}"


def _read(directory: Path, *, fingerprint: str) -> TrainedModel:
    config = sealed_directory.config_of(directory, KIND, FORMAT)
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
        encoder=config.get("encoder", ""),
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
