"""Control cells that travel with a request, dense or CSR; refused when built where they are bad whatever the model.

CSR stays sparse: nothing of the size cells x genes is allocated for it until single cells are asked for.

Array axes: cell, gene.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Union

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["ControlCells", "CsrMatrix", "largest_expression"]

CP10K = "log1p(counts per 10 000)"
_LARGEST = {CP10K: math.log1p(10_000) + 1e-3}  # a gene that has all counts of its cell
_ANY_SCALE = 1e9  # counts, TPM and their like stay below, and its square fits into float32
_FLOATS = (np.float32, np.float64)
_INTEGERS = (np.int32, np.int64)


def largest_expression(scale: str) -> float:
    """The largest value that a scale (``ModelInfo.scale``) can hold; infinite where that is not known."""
    return _LARGEST.get(scale, math.inf)


def named(field: str, value: str) -> None:
    """Refuse an empty name and one with blanks around it."""
    if not value or value != value.strip():
        raise ValueError(
            f"{field}: a name is not empty and has no blanks around it; got {value!r}. Give the name as in training."
        )


@dataclasses.dataclass(frozen=True, eq=False)
class CsrMatrix:
    """Compressed sparse rows in canonical form.

    Attributes:
        indptr: [cell + 1] int32 or int64; row i is data[indptr[i]:indptr[i + 1]].
        indices: [value] int32 or int64 columns, strictly growing within a row.
        data: [value] float32 or float64.
        shape: (cells, genes).
    """

    indptr: NDArray[Any]
    indices: NDArray[Any]
    data: NDArray[Any]
    shape: tuple[int, int]

    def __post_init__(self) -> None:
        for name, types in (("indptr", _INTEGERS), ("indices", _INTEGERS), ("data", _FLOATS)):
            array = getattr(self, name)
            if array.ndim != 1 or array.dtype.type not in types:
                allowed = " or ".join(np.dtype(kind).name for kind in types)
                raise ValueError(
                    f"{name}: {allowed} with one axis; got {array.dtype} of shape {array.shape}. Convert it first."
                )
        rows, columns = self.shape
        pointers = self.indptr
        if rows < 0 or columns < 0 or len(pointers) != rows + 1 or pointers[0] != 0 or (np.diff(pointers) < 0).any():
            raise ValueError(
                f"indptr: it begins with 0, never falls, and has one entry more than the {rows} cells; got "
                f"{len(pointers)} entries. Send what scipy.sparse.csr_matrix holds."
            )
        values = int(pointers[-1])
        if not values == len(self.indices) == len(self.data):
            raise ValueError(
                f"indices: as many as data and as indptr ends with, {values}; got {len(self.indices)} indices and "
                f"{len(self.data)} values. Send what scipy.sparse.csr_matrix holds."
            )
        if values and (self.indices.min() < 0 or self.indices.max() >= columns):
            raise ValueError(
                f"indices: columns lie between 0 and {columns - 1}; got {self.indices.min()} to {self.indices.max()}. "
                "Set the number of columns to that of genes."
            )
        grows = np.diff(self.indices) > 0
        ends = pointers[1:-1]  # the step from one row to the next may fall
        grows[ends[(ends > 0) & (ends < values)] - 1] = True
        if not grows.all():
            raise ValueError(
                "indices: columns grow within a row; these repeat or fall. Call sum_duplicates() of scipy.sparse first."
            )

    def mean(self) -> NDArray[np.float64]:
        """Mean over cells [gene]."""
        return np.bincount(self.indices, weights=self.data, minlength=self.shape[1]) / self.shape[0]

    def rows(self, cells: NDArray[np.intp]) -> NDArray[np.float64]:
        """The numbered cells as a dense array [cell, gene]."""
        dense = np.zeros((len(cells), self.shape[1]))
        for i, cell in enumerate(cells):
            start, stop = self.indptr[cell], self.indptr[cell + 1]
            dense[i, self.indices[start:stop]] = self.data[start:stop]
        return dense


@dataclasses.dataclass(frozen=True, eq=False)
class ControlCells:
    """Control cells of one context.

    Attributes:
        context: the context that they are the controls of.
        expression: [cell, gene] float32 or float64, dense or CSR, in the model's scale, finite, not negative, at least
            one cell.
    """

    context: str
    expression: Union[NDArray[np.float32], NDArray[np.float64], CsrMatrix]  # noqa: UP007  # evaluated on Python 3.9

    def __post_init__(self) -> None:
        named("context", self.context)
        x = self._values
        if x.dtype.type not in _FLOATS:
            raise ValueError(f"expression: control cells are float32 or float64; got {x.dtype}. Convert them first.")
        shape = self.expression.shape
        if len(shape) != 2 or 0 in shape:
            raise ValueError(
                f"expression: control cells are [cell, gene] with at least one of each; those of {self.context!r} have "
                f"shape {shape}. Give one row per cell."
            )
        if not x.size:
            return
        if not np.isfinite(x).all():
            raise ValueError(
                f"expression: control cells are finite; those of {self.context!r} hold "
                f"{int(np.count_nonzero(~np.isfinite(x)))} NaN or infinite values. Remove or impute them."
            )
        if x.min() < 0:
            raise ValueError(
                f"expression: expression is not negative; the smallest value of {self.context!r} is {x.min():g}. "
                "Give values in the model's scale (GetModel: scale), not centred ones."
            )
        if x.max() > _ANY_SCALE:
            raise ValueError(
                f"expression: expression is at most {_ANY_SCALE:g}; the largest value of {self.context!r} is "
                f"{x.max():g}. Give values in the model's scale (GetModel: scale)."
            )

    @classmethod
    def of(cls, context: str, values: ArrayLike | Any) -> ControlCells:
        """From an array or anything with ``tocsr()`` (scipy.sparse); float64 is kept, all else becomes float32."""
        if hasattr(values, "tocsr"):
            matrix = values.tocsr()
            if not matrix.has_canonical_format:
                matrix = matrix.copy()  # sum_duplicates changes it in place
                matrix.sum_duplicates()
            data = _floats(matrix.data)
            return cls(context, CsrMatrix(matrix.indptr, matrix.indices, data, tuple(matrix.shape)))
        return cls(context, _floats(np.asarray(values)))

    @property
    def _values(self) -> NDArray[Any]:
        return self.expression.data if isinstance(self.expression, CsrMatrix) else self.expression

    @property
    def largest(self) -> float:
        """Largest value."""
        return float(self._values.max(initial=0.0))

    @property
    def shape(self) -> tuple[int, int]:
        """Cells and genes."""
        cells, genes = self.expression.shape
        return cells, genes

    def mean(self) -> NDArray[np.float64]:
        """Mean over cells [gene], in double precision."""
        if isinstance(self.expression, CsrMatrix):
            return self.expression.mean()
        mean: NDArray[np.float64] = self.expression.mean(axis=0, dtype=np.float64)
        return mean

    def rows(self, cells: NDArray[np.intp]) -> NDArray[np.float64]:
        """The numbered cells as a dense array [cell, gene]."""
        if isinstance(self.expression, CsrMatrix):
            return self.expression.rows(cells)
        return self.expression[cells].astype(np.float64)


def _floats(array: NDArray[Any]) -> NDArray[Any]:
    return array if array.dtype == np.float64 else array.astype(np.float32, copy=False)
