"""A pretrained encoder: it maps cells to vectors, lists its genes, and remembers which cells it has seen.

Axes: n cells, E genes of the encoder, G genes of the data, d width.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from perturbcast import catalog
from perturbcast.graphs import Coverage
from perturbcast.schema import Split, canonical_hash

if TYPE_CHECKING:
    import torch

__all__ = ["Encoder", "marks", "studies", "untrained"]

ROWS_AT_ONCE = 4096


def studies(meta: Mapping[str, Any]) -> list[str]:
    """Ids and accessions of the studies that a dataset's cells come from; of each source of a merged one."""
    sources = dict(meta.get("sources", {}))
    names = {str(meta["dataset"]), str(meta.get("accession", "")), *sources}
    names |= {str(source.get("accession", "")) for source in sources.values()}
    return sorted(names - {""})


def marks(barcodes: Iterable[str], meta: Mapping[str, Any]) -> np.ndarray:
    """A number for each barcode, sorted [n] uint64: eight bytes of the sha256 of its name in its own study.

    A merged dataset has the source's id before each barcode, which is taken off.
    """
    prefixes = tuple(f"{source}:" for source in meta.get("sources", {}))
    own = (barcode.partition(":")[2] if barcode.startswith(prefixes) else barcode for barcode in barcodes)
    digests = b"".join(hashlib.sha256(name.encode()).digest()[:8] for name in own)
    return np.unique(np.frombuffer(digests, dtype="<u8"))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Encoder:
    """Weights, and what they were made from.

    Attributes:
        objective: module in ``encoders/``.
        parameters: the fields of its ``Config``.
        genes: E gene names, in the order of its inputs.
        centre: [E] float32, mean of each gene over pretraining cells; ``scale`` [E] its sd.
        weights: parameters of the network by name.
        cells: marks of the cells it was fitted to or stopped by.
        provenance: JSON values: ``studies`` and ``cells_sha256``, number of cells and contexts, seed.
    """

    objective: str
    parameters: Mapping[str, Any]
    genes: tuple[str, ...]
    centre: np.ndarray
    scale: np.ndarray
    weights: Mapping[str, np.ndarray]
    cells: np.ndarray
    provenance: Mapping[str, Any]

    @property
    def width(self) -> int:
        """d."""
        return int(self.parameters["width"])

    @functools.cached_property
    def hash(self) -> str:
        """sha256 over everything that decides what it answers and what it has seen."""
        arrays = {"centre": self.centre, "scale": self.scale, "cells": self.cells, **self.weights}
        return canonical_hash(
            {
                "objective": self.objective,
                "parameters": dict(self.parameters),
                "genes": list(self.genes),
                "provenance": dict(self.provenance),
                "arrays": {name: hashlib.sha256(array.tobytes()).hexdigest() for name, array in arrays.items()},
            }
        )

    def encode(self, cells: np.ndarray) -> np.ndarray:
        """Vectors [n, d] of cells [n, E]: log1p of normalised counts, in the order of ``genes``.

        Raises:
            ValueError: the cells are of another number of genes, negative or not finite.
        """
        import torch

        from perturbcast.nn.panel import Panel

        cells = np.asarray(cells, dtype=np.float32)
        if cells.ndim != 2 or cells.shape[1] != len(self.genes) or not np.isfinite(cells).all() or (cells < 0).any():
            raise ValueError(
                f"An encoder reads log1p of counts, finite and not negative, [cell, gene] over its {len(self.genes)} "
                f"genes; got values of shape {cells.shape}. Put the columns in the order of its 'genes'."
            )
        panel = Panel(torch.arange(len(self.genes)), centre=torch.tensor(self.centre), scale=torch.tensor(self.scale))
        network = self.network().eval()
        parts = [slice(i, i + ROWS_AT_ONCE) for i in range(0, len(cells), ROWS_AT_ONCE)]
        with torch.no_grad():
            found = [network(panel(torch.from_numpy(cells[part]))).numpy() for part in parts]
        return np.concatenate([np.zeros((0, self.width), dtype=np.float32), *found])

    def network(self) -> torch.nn.Module:
        """The network that maps standardised cells [n, E] to vectors, its weights loaded strictly."""
        import torch

        network = untrained(self.objective, self.parameters, genes=len(self.genes))
        network.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in self.weights.items()})
        return network

    def columns(self, genes: Sequence[str], *, at_least: float) -> tuple[np.ndarray, Coverage]:
        """Column of each of its genes in data of ``genes`` [E], -1 where there is none, and how many there are.

        Raises:
            ValueError: the data has less than the share ``at_least`` of its genes.
        """
        place = {gene: i for i, gene in enumerate(genes)}
        columns = np.array([place.get(gene, -1) for gene in self.genes], dtype=np.int64)
        coverage = Coverage.of(self.genes, columns >= 0)
        if coverage.n_covered == 0 or coverage.share < at_least:
            raise ValueError(
                f"An encoder reads the genes that it was pretrained on, matched by name; the data has {coverage}, at "
                f"least {at_least:.0%} are asked for, missing first {', '.join(coverage.missing)}. Give an encoder of "
                "these genes, rename them, or lower encoder_coverage."
            )
        return columns, coverage

    def check_has_not_seen(self, split: Split, meta: Mapping[str, Any]) -> None:
        """Refuse to help on a fold whose held-out cells it was pretrained on.

        Args:
            split: the fold that a model is fitted on.
            meta: ``meta`` of its dataset.

        Raises:
            ValueError: a cell outside the train part was among its pretraining cells.
        """
        if not set(studies(meta)) & set(self.provenance["studies"]):
            return  # barcodes repeat between studies
        for part in ("validation", "calibration", "test", "control_input"):
            seen = int(np.isin(marks(split.parts[part], meta), self.cells).sum())
            if seen:
                raise ValueError(
                    f"An encoder knows no cell that a fold holds out; this one was pretrained on {seen} of the "
                    f"{len(split.parts[part])} cells in part {part!r} of fold {split.fold}. Pretrain it with "
                    "'perturbcast pretrain --split', or on a dataset without these cells."
                )


def untrained(objective: str, parameters: Mapping[str, Any], *, genes: int) -> torch.nn.Module:
    """The network of an encoder, before its weights are loaded."""
    config = catalog.configure("encoders", objective, parameters)
    encoder: torch.nn.Module = catalog.load("encoders", objective).build(config, genes=genes).encoder
    return encoder
