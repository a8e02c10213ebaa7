"""An encoder on disk: a directory like that of a model, no pickles.

| file | holds |
|---|---|
| ``config.json`` | objective and its parameters, genes in order, provenance, sha256 of the encoder |
| ``model.safetensors`` | ``encoder.*`` weights, ``centre`` and ``scale`` of genes, ``cells`` (marks of those seen) |
| ``curves.json`` | (step, loss) while it was fitted, and on held-out cells |
| ``fingerprint.json`` | sha256 of every file above, of cells, config and environment, and over all of them |
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from safetensors.numpy import load_file
from safetensors.numpy import save as to_bytes

from perturbcast.encoders.encoder import Encoder
from perturbcast.schema import canonical_hash, gene_list_hash
from perturbcast.stores import sealed_directory
from perturbcast.stores.atomic import write_json

__all__ = ["Curves", "load", "save"]

FORMAT = "perturbcast.encoder/1"
KIND = sealed_directory.Kind(
    name="encoder",
    article="An",
    files=("config.json", "model.safetensors", "curves.json"),
    make="Make one with 'perturbcast pretrain'.",
    again="Pretrain it again",
    packages=("numpy", "scipy", "anndata", "safetensors", "torch"),
)
WEIGHTS = "encoder."

Curves = Mapping[str, Sequence[tuple[int, float]]]


def save(encoder: Encoder, directory: Path, *, curves: Curves) -> None:
    """Write the directory whole; equal encoders give equal bytes.

    Args:
        encoder: what to keep.
        directory: to write or replace.
        curves: name -> (step, loss), as it was learned.
    """
    with sealed_directory.writing(directory) as beside:
        tensors = {f"{WEIGHTS}{name}": array for name, array in encoder.weights.items()}
        tensors |= {"centre": encoder.centre, "scale": encoder.scale, "cells": encoder.cells}
        (beside / "model.safetensors").write_bytes(to_bytes(tensors))
        write_json(
            beside / "config.json",
            {
                "format": FORMAT,
                "objective": encoder.objective,
                "parameters": dict(encoder.parameters),
                "genes": list(encoder.genes),
                "genes_sha256": gene_list_hash(encoder.genes),
                "provenance": dict(encoder.provenance),
                "sha256": encoder.hash,
            },
        )
        write_json(beside / "curves.json", {name: [list(point) for point in curve] for name, curve in curves.items()})
        facts = {
            "cells": encoder.provenance["cells_sha256"],
            "config": canonical_hash({"objective": encoder.objective, "parameters": dict(encoder.parameters)}),
            "encoder": encoder.hash,
        }
        sealed_directory.seal(beside, KIND, facts)


def load(directory: Path) -> Encoder:
    """Read an encoder after checking every file against its fingerprint.

    Raises:
        UsageError: there is no such directory.
        ValueError: it is half-written, was changed, or was written by another format.
    """
    sealed_directory.verify(directory, KIND)
    with sealed_directory.reading(directory, KIND, FORMAT):
        record = sealed_directory.config_of(directory, KIND, FORMAT)
        tensors = load_file(directory / "model.safetensors")
        return Encoder(
            objective=record["objective"],
            parameters=record["parameters"],
            genes=tuple(record["genes"]),
            centre=tensors["centre"],
            scale=tensors["scale"],
            weights={n.removeprefix(WEIGHTS): array for n, array in tensors.items() if n.startswith(WEIGHTS)},
            cells=tensors["cells"],
            provenance=record["provenance"],
        )
