"""A dataset that stays on disk: labels in memory, expression read by rows. For datasets larger than memory.

The same ``.h5ad`` that ``h5ad.read`` holds whole. Memory is the labels of all cells (and eight bytes a cell for where
each row begins); rows are read in ascending runs, so that each compressed chunk is opened once. ``subset`` is a view.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import scipy.sparse as sp

from perturbcast.schema import label_digest, positions
from perturbcast.stores.chunked_array import ChunkedArray
from perturbcast.stores.h5ad import check_content, meta_of, require

if TYPE_CHECKING:  # whoever makes a table has imported it
    import pandas as pd

__all__ = ["CellFile", "MatrixFile"]

SLICE = 2**18  # entries that are hashed at once


@dataclasses.dataclass(frozen=True, kw_only=True)
class CellFile:
    """Cells of a file on the data contract, or some of them.

    Attributes:
        path: the ``.h5ad``.
        genes, obs, meta, truth: as ``PerturbationData`` has them, for the cells of this view.
        at: [cell] row of the file.
        matrix: X of the file.
    """

    path: Path
    genes: tuple[str, ...]
    obs: pd.DataFrame
    meta: Mapping[str, Any]
    truth: Mapping[str, Any] | None
    at: np.ndarray
    matrix: MatrixFile

    @classmethod
    def open(cls, path: Path, *, check: bool = True) -> Self:
        """Read the labels, and once through the file to check its content against its hash.

        Args:
            path: the ``.h5ad``.
            check: compare the content with the hash in the file; a process beside one that has may leave it out.

        Raises:
            UsageError: there is no such file.
            ValueError: it is not on the data contract, or its content is not what its hash says.
        """
        require(path)
        import h5py  # here: stages that read no file start sooner
        from anndata.io import read_elem

        try:
            with h5py.File(path, "r") as file:
                if file["X"].attrs.get("encoding-type") != "csr_matrix":
                    raise KeyError("X is not a CSR matrix")
                obs, var, uns = (read_elem(file[name]) for name in ("obs", "var", "uns"))
                start = file["X/indptr"][()].astype(np.int64)
        except (OSError, KeyError, TypeError) as error:
            raise ValueError(
                f"A dataset on disk is an .h5ad file with X as CSR; {path} cannot be read "
                f"({str(error).splitlines()[0]}). Import it again."
            ) from error
        meta = meta_of(uns, var, path=path)
        truth = uns.get("truth")
        found = cls(
            path=path,
            genes=tuple(var.index.astype(str)),
            obs=obs,
            meta=meta,
            truth=None if truth is None else dict(truth),
            at=np.arange(len(obs)),
            matrix=MatrixFile(path, start),
        )
        if check:
            found.check()
        return found

    def check(self) -> None:
        """Read once through the file and compare its content with its hash.

        Raises:
            ValueError: they differ.
        """
        content = label_digest(self.matrix.digest(), self.genes, self.obs).hexdigest()
        check_content(self.path, found=content, said=self.hash)

    @property
    def dataset(self) -> str:
        return str(self.meta["dataset"])

    @property
    def hash(self) -> str:
        """The content hash that splits, models and predictions are locked to."""
        return str(self.meta["content_hash"])

    def subset(self, barcodes: Sequence[str]) -> CellFile:
        """A view of the named cells, in the order given.

        Raises:
            ValueError: a barcode is not in the data.
        """
        position = positions(self.obs, barcodes, dataset=self.dataset)
        return dataclasses.replace(self, obs=self.obs.iloc[position], at=self.at[position])

    def rows(self, index: np.ndarray) -> sp.csr_matrix:
        """Expression [row, gene] of the cells at ``index``, in the order given."""
        wanted, back = np.unique(self.at[index], return_inverse=True)
        x = self.matrix.read(wanted, genes=len(self.genes))
        return x if len(back) == len(wanted) and (np.diff(back) == 1).all() else x[back]


class MatrixFile:
    """X of a file, opened once per process."""

    def __init__(self, path: Path, start: np.ndarray) -> None:
        self.path, self.start = path, start
        self._open: tuple[int, ChunkedArray, ChunkedArray] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": None}  # a file handle does not go to another process

    @property
    def arrays(self) -> tuple[ChunkedArray, ChunkedArray]:
        """Values and gene numbers."""
        import h5py

        if self._open is None or self._open[0] != os.getpid():
            file = h5py.File(self.path, "r")
            self._open = os.getpid(), ChunkedArray(file["X/data"]), ChunkedArray(file["X/indices"])
        return self._open[1:]

    def read(self, wanted: np.ndarray, *, genes: int) -> sp.csr_matrix:
        """The rows of the file at ``wanted``, which ascends without repeats."""
        start = np.concatenate([[0], np.cumsum(self.start[wanted + 1] - self.start[wanted])])
        data, indices = np.empty(start[-1], dtype=np.float32), np.empty(start[-1], dtype=np.int32)
        edges = [0, *(np.flatnonzero(np.diff(wanted) > 1) + 1).tolist(), len(wanted)]
        runs = list(itertools.pairwise(edges)) if len(wanted) else []
        for array, out in zip(self.arrays, (data, indices), strict=True):
            for first, last in runs:
                begin, end = int(self.start[wanted[first]]), int(self.start[wanted[last - 1] + 1])
                array.read(begin, end, out[start[first] : start[last]])
        return sp.csr_matrix((data, indices, start), shape=(len(wanted), genes))

    def digest(self) -> Any:
        """sha256 over the matrix, as ``schema.content_hash`` begins; a slice at a time."""
        digest = hashlib.sha256()
        for array, kind in zip(self.arrays, ("<f4", "<i8"), strict=True):
            for first in range(0, len(array), SLICE):
                piece = np.empty(min(SLICE, len(array) - first), dtype=kind)
                array.read(first, first + len(piece), piece)
                digest.update(piece.tobytes())
        digest.update(np.ascontiguousarray(self.start, dtype="<i8").tobytes())
        return digest
