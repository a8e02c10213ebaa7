"""Where a public dataset comes from, and how its file is found on this machine.

A file is content-addressed: wherever it is found, its sha256 must be the one that the dataset names, so that every
machine imports the same cells.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pooch
import scipy.sparse as sp

from perturbcast.schema import PerturbationData
from perturbcast.stores.contract import ColumnMapping, to_contract
from perturbcast.stores.data_folders import VARIABLE, folders
from perturbcast.stores.h5ad import read_anndata

__all__ = ["ImportConfig", "Source", "find", "import_source", "locate"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Source:
    """One published dataset.

    Attributes:
        dataset: id, the module's name.
        study: authors, year, journal, what was measured.
        accession: public accession of the study.
        licence: what is known of the terms, and what is not.
        public_file: the public file that ``file_name`` was made from, and how to get it by hand.
        file_name: name of the file in a data folder.
        sha256: of that file.
        url: stable public address of that very file; empty where none is known.
        perturbation_type: CRISPRi, CRISPRa, CRISPRko, cytokine, drug; by context where it differs.
        genes: namespace of the gene names.
        mapping: its columns.
    """

    dataset: str
    study: str
    accession: str
    licence: str
    public_file: str
    file_name: str
    sha256: str
    perturbation_type: str | Mapping[str, str]
    mapping: ColumnMapping
    genes: str = "HGNC symbol"
    url: str = ""

    def record(self) -> dict[str, Any]:
        """What the imported file keeps of it."""
        kept = ("study", "accession", "licence", "public_file", "perturbation_type")
        return {name: getattr(self, name) for name in kept} | {
            "gene_namespace": self.genes,
            "source_sha256": self.sha256,
        }


def _checked(path: Path, source: Source) -> Path:
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != source.sha256:
        raise ValueError(
            f"The file of dataset {source.dataset!r} has sha256 {source.sha256}; {path} has {found}. "
            "Replace it with the original, or import yours with 'perturbcast import-h5ad'."
        )
    return path


def find(source: Source) -> Path | None:
    """The dataset's file on this machine: in the folder ``PERTURBCAST_DATA``, else in ``../shared/data``.

    Raises:
        ValueError: the file there has another sha256.
    """
    for folder in folders():
        if (folder / source.file_name).is_file():
            return _checked(folder / source.file_name, source)
    return None


def locate(source: Source) -> Path:
    """The dataset's file: what ``find`` finds, else downloaded where its address is known.

    Raises:
        ValueError: it is in none of these places, or what is there has another sha256.
    """
    if (path := find(source)) is not None:
        return path
    if source.url:
        return Path(pooch.retrieve(source.url, known_hash=f"sha256:{source.sha256}", fname=source.file_name))
    tried = ", ".join(map(str, folders()))
    raise ValueError(
        f"Dataset {source.dataset!r} is read from {source.file_name}; it is not in {tried}, and no stable public "
        f"address of it is known. {source.public_file} Put the file in a folder and set {VARIABLE} to it, or import "
        f"the cells of {source.accession} yourself with 'perturbcast import-h5ad'."
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImportConfig:
    """Parameters of every measured dataset.

    Attributes:
        min_cells: cells; perturbed conditions with fewer are dropped and listed (signatures have no cells to count).
    """

    min_cells: int = 20


def signature_mapping(*, missing: str = "") -> ColumnMapping:
    """Columns of a file of rank signatures, one row per drug and context.

    Args:
        missing: layer that marks missing values; empty where none are.
    """
    return ColumnMapping(
        perturbation="perturbation",
        context="context",
        control=(),
        separator="",
        kind="signatures",
        scale="signatures: rank of logFC x -log10(adjusted p) against control, 1 (most up) to -1 (most down); no "
        "fold changes",
        missing=missing,
    )


def import_source(source: Source, config: ImportConfig) -> tuple[PerturbationData, sp.csr_matrix | None]:
    """Find, read and convert a dataset; the cells on the contract, and raw counts where it has them.

    Raises:
        ValueError: the file cannot be found or is not the original.
    """
    return to_contract(
        read_anndata(locate(source)),
        source.mapping,
        dataset=source.dataset,
        source=source.record(),
        min_cells=config.min_cells,
    )
