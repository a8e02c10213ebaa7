"""The parts of an AnnData file that an evaluation looks at: X, a few obs columns and the names.

Layers, embeddings and graphs stay on disk, and so does anndata itself for files in its usual form: importing it takes
as long as scoring a small file. Anything unusual (nullable columns, older files) is read by anndata.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import scipy.sparse as sp

__all__ = ["Labels", "StoredCells", "read_stored_cells"]

SPARSE = {"csr_matrix": sp.csr_matrix, "csc_matrix": sp.csc_matrix}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Labels:
    """An obs column as text.

    Attributes:
        codes: [cell] position in ``names``; -1 where a cell has no label.
        names: what occurs, or could.
    """

    codes: np.ndarray
    names: tuple[str, ...]

    @classmethod
    def of(cls, values: Iterable[Any], *, codes: np.ndarray | None = None) -> Labels:
        """From a value per cell, or from categories and the ``codes`` of cells among them; None and NaN are missing."""
        place: dict[str, int] = {}
        # NaN is the value that is not itself
        found = [-1 if x is None or x != x else place.setdefault(str(x), len(place)) for x in values]
        of_values = np.array(found, dtype=np.int64)
        if codes is not None:
            of_values = np.append(of_values, -1)[codes]
        return cls(codes=of_values, names=tuple(place))


@dataclasses.dataclass(frozen=True, kw_only=True)
class StoredCells:
    """What was read.

    Attributes:
        x: [cell, gene] as the file holds it, dense or sparse.
        labels: those of the wanted obs columns that are there.
        columns: every obs column of the file.
        barcodes: [cell].
        genes: [gene].
    """

    x: Any
    labels: Mapping[str, Labels]
    columns: tuple[str, ...]
    barcodes: np.ndarray
    genes: np.ndarray


def read_stored_cells(path: Path, *, columns: Sequence[str]) -> StoredCells:
    """Read X, the names and the wanted obs columns.

    Raises:
        OSError, KeyError, TypeError: not an AnnData file.
    """
    with h5py.File(path, "r") as file:
        found = _plain(file, columns)
    return found or _by_anndata(path, columns)


def _plain(file: h5py.File, wanted: Sequence[str]) -> StoredCells | None:
    """The parts of a file in anndata's form of 0.8 to 0.12, or None where one of them has another form."""
    if not {"X", "obs", "var"} <= set(file) or any("_index" not in file[axis].attrs for axis in ("obs", "var")):
        return None
    obs, var = file["obs"], file["var"]
    columns = tuple(map(str, obs.attrs.get("column-order", ())))
    names = _column(obs[obs.attrs["_index"]]), _column(var[var.attrs["_index"]])
    labels = {name: _labels(obs[name]) for name in wanted if name in columns}
    x = _matrix(file["X"])
    if x is None or any(part is None for part in (*names, *labels.values())):
        return None
    barcodes, genes = (np.asarray(part, dtype=object) for part in names)
    return StoredCells(x=x, labels=labels, columns=columns, barcodes=barcodes, genes=genes)


def _matrix(stored: h5py.Group | h5py.Dataset) -> Any:
    form = stored.attrs.get("encoding-type")
    if isinstance(stored, h5py.Dataset):
        return stored[()] if form == "array" else None
    if form not in SPARSE:
        return None
    parts = tuple(stored[name][()] for name in ("data", "indices", "indptr"))
    return SPARSE[form](parts, shape=tuple(map(int, stored.attrs["shape"])))


def _column(stored: h5py.Group | h5py.Dataset) -> Any:
    """A column of text or numbers; None where it has another form."""
    form = stored.attrs.get("encoding-type")
    if isinstance(stored, h5py.Dataset):
        if form == "string-array":
            return stored.asstr()[()]
        return stored[()] if form == "array" else None
    return None


def _labels(stored: h5py.Group | h5py.Dataset) -> Any:
    """A column of text, numbers or categories; None where it has another form."""
    categorical = stored.attrs.get("encoding-type") == "categorical"
    values = _column(stored["categories"] if categorical else stored)
    return None if values is None else Labels.of(values, codes=stored["codes"][()] if categorical else None)


def _by_anndata(path: Path, wanted: Sequence[str]) -> StoredCells:
    import anndata

    with warnings.catch_warnings():
        # repeated genes are refused in words of ours; repeated barcodes do no harm here
        warnings.filterwarnings("ignore", message=".*names are not unique", category=UserWarning)
        file = anndata.read_h5ad(path)
    return StoredCells(
        x=file.X,
        labels={
            name: Labels.of(file.obs[name].astype(object).where(file.obs[name].notna(), None))
            for name in wanted
            if name in file.obs
        },
        columns=tuple(map(str, file.obs.columns)),
        barcodes=file.obs_names.to_numpy(),
        genes=file.var_names.to_numpy(),
    )
