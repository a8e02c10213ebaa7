"""What a metric scores: the measured effects of conditions beside the predicted ones.

The controls are always the true, matched ones. A prediction's own controls have no place here, so copying
or twisting them cannot change a score.

Axes: C conditions, G genes, N cells.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable

import numpy as np
import scipy.sparse as sp
from scipy.special import ndtr

from perturbcast.schema import Condition

if TYPE_CHECKING:
    from perturbcast.stores import Effects

__all__ = ["Cells", "CellsByGene", "Comparison", "CountedCells", "Means", "Truth", "cell_count", "drawn_genes"]

T = TypeVar("T")


class Cells(Protocol):
    """Cells of each condition, handed out a bounded number at a time."""

    def draw(self, row: int, *, limit: int, seed: int) -> np.ndarray:
        """At most ``limit`` cells [cell, gene] float32 of condition ``row``, drawn without replacement.

        The same seed gives the same cells, and cells of the same barcodes are drawn alike from two sources.
        """
        ...

    def matrix(self, row: int) -> sp.csr_matrix:
        """All cells [cell, gene] of condition ``row`` in any order, in the precision of their source."""
        ...

    def key(self, row: int) -> Hashable:
        """Names the cells of condition ``row``: rows with equal keys hold the same cells."""
        ...


@runtime_checkable
class CellsByGene(Protocol):
    """Cells that can hand out some genes without making the others dense."""

    def draw_genes(self, row: int, genes: np.ndarray, *, limit: int, seed: int) -> np.ndarray:
        """Columns ``genes`` of ``Cells.draw`` [cell, gene] float32."""
        ...


def drawn_genes(cells: Cells, row: int, genes: np.ndarray, *, limit: int, seed: int) -> np.ndarray:
    """Columns ``genes`` of ``cells.draw`` [cell, gene] float32, a copy."""
    if isinstance(cells, CellsByGene):
        return cells.draw_genes(row, genes, limit=limit, seed=seed)
    return cells.draw(row, limit=limit, seed=seed)[:, genes]


@runtime_checkable
class CountedCells(Protocol):
    """Cells that can be counted without being made."""

    def size(self, row: int) -> int:
        """Number of all cells of condition ``row``."""
        ...


def cell_count(cells: Cells, row: int) -> int:
    """Number of all cells of condition ``row``."""
    return cells.size(row) if isinstance(cells, CountedCells) else int(cells.matrix(row).shape[0])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Means:
    """Condition means [condition, gene] of truth, matched true control and prediction."""

    truth: np.ndarray
    control: np.ndarray
    predicted: np.ndarray


@dataclasses.dataclass(frozen=True, kw_only=True)
class Truth:
    """Measured conditions, shared by every prediction that is compared with them.

    Attributes:
        conditions: C perturbed conditions.
        genes: G gene names.
        mean: [condition, gene] float64 perturbed mean, in the units of X.
        control: [condition, gene] float64 mean of the matched true controls.
        error: [condition, gene] sampling variance of ``mean - control``.
        cells: measured perturbed cells, where a metric may look at them.
        control_cells: the measured matched control cells of each condition; one group per context.
        train_mean: [gene] mean perturbed profile of the train conditions, where it is known.
        stored_mean: ``mean`` accumulated in the precision of the file; None where only float64 exists.
        stored_control: the same of ``control``.
    """

    conditions: tuple[Condition, ...]
    genes: tuple[str, ...]
    mean: np.ndarray
    control: np.ndarray
    error: np.ndarray
    cells: Cells | None = None
    control_cells: Cells | None = None
    train_mean: np.ndarray | None = None
    stored_mean: np.ndarray | None = None
    stored_control: np.ndarray | None = None
    _shared: dict[Hashable, Any] = dataclasses.field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, effects: Effects, **more: Any) -> Truth:
        """The truth that measured effects are; ``more`` is given to the attributes that they do not have."""
        return cls(
            conditions=effects.conditions,
            genes=effects.genes,
            mean=effects.mean,
            control=effects.control,
            error=effects.error,
            **more,
        )

    def __post_init__(self) -> None:
        _check(
            (len(self.conditions), len(self.genes)), {"mean": self.mean, "control": self.control, "error": self.error}
        )
        if (self.error < 0).any():
            raise ValueError(f"A sampling variance is not negative; the smallest given is {self.error.min():g}.")

    @cached_property
    def delta(self) -> np.ndarray:
        """Measured delta [condition, gene]."""
        return self.mean - self.control

    @cached_property
    def standard_error(self) -> np.ndarray:
        """Standard error of the measured delta [condition, gene]; 0 where no cell of either group varies."""
        return np.sqrt(self.error)

    def over_standard_error(self, delta: np.ndarray) -> np.ndarray:
        """|delta| over the truth's standard error [condition, gene]; 0 where that is 0 (nothing measured varies)."""
        size = np.abs(delta)
        return np.divide(size, self.standard_error, out=np.zeros_like(size), where=self.standard_error > 0)

    def differential(self, *, fdr: float) -> np.ndarray:
        """Truly differential genes [condition, gene] bool.

        Two-sided z test of the measured delta against its standard error, Benjamini-Hochberg within each
        condition over genes that vary. The normal limit needs some 20 cells a group.
        """
        return self.shared(("differential", fdr), lambda: self._differential(fdr))

    def _differential(self, fdr: float) -> np.ndarray:
        varies = self.standard_error > 0
        p = np.where(varies, 2 * ndtr(-self.over_standard_error(self.delta)), 1.0)
        # Benjamini-Hochberg by its step-up rule: every p up to the largest p_(k) <= fdr * k / m
        # (scipy.stats holds it too, but importing that takes as long as a whole evaluation here)
        ordered = np.sort(p, axis=1)
        tests = np.maximum(varies.sum(axis=1, keepdims=True), 1)
        passes = ordered <= fdr * np.arange(1, p.shape[1] + 1) / tests
        threshold = np.where(passes, ordered, -1.0).max(axis=1, initial=-1.0, keepdims=True)
        return varies & (p <= threshold)

    def shared(self, key: Hashable, compute: Callable[[], T]) -> T:
        """``compute()``, once per truth: what several metrics, floors and predictions need alike."""
        return _once(self._shared, key, compute)

    @cached_property
    def rows_of_contexts(self) -> tuple[np.ndarray, ...]:
        """Rows of the conditions of each context, contexts sorted."""
        contexts = np.array([condition.context for condition in self.conditions])
        return tuple(np.flatnonzero(contexts == name) for name in np.unique(contexts))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Comparison:
    """A prediction beside the truth, for the conditions and genes of the truth.

    Attributes:
        truth: the measured conditions.
        predicted: [condition, gene] float64 predicted mean, in the units of X.
        half_widths: level (0 to 1) -> half width [condition, gene] of the interval around the predicted delta,
            infinite where calibration could not give one; empty where the prediction carries none.
        cells: predicted cells, where a metric may look at them.
        stored_predicted: ``predicted`` accumulated in the precision of the file.
        variance: [condition, gene] the model's variance of the *measured* delta around its prediction (the sampling
            error of a usual condition is inside); None where it states none.
        ood_score: [condition] higher the farther a condition is from train; None where the model gives none.
        novel: [condition] bool, what the split says: train lacks the perturbation or the context; None
            where there is no split.
    """

    truth: Truth
    predicted: np.ndarray
    half_widths: Mapping[float, np.ndarray] = dataclasses.field(default_factory=dict)
    cells: Cells | None = None
    stored_predicted: np.ndarray | None = None
    variance: np.ndarray | None = None
    ood_score: np.ndarray | None = None
    novel: np.ndarray | None = None
    _shared: dict[Hashable, Any] = dataclasses.field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        shape = (len(self.truth.conditions), len(self.truth.genes))
        _check(shape, {"prediction": self.predicted})
        for level, half in self.half_widths.items():
            if half.shape != shape or np.isnan(half).any() or (half < 0).any():
                raise ValueError(
                    f"Interval half widths are [condition, gene] = {shape}, not negative and not NaN; those of level "
                    f"{level:g} ({half.shape}) are not. Predict again with a calibrated model."
                )
        if self.variance is not None:
            _check(shape, {"variance": self.variance})
            if (self.variance < 0).any():
                raise ValueError(f"A variance is not negative; the smallest given is {self.variance.min():g}.")
        for name, array in {"ood_score": self.ood_score, "novel": self.novel}.items():
            if array is not None and (array.shape != shape[:1] or not np.isfinite(array).all()):
                raise ValueError(
                    f"{name!r} has one finite value per condition ({shape[0]}); it came as {array.shape}. "
                    "Predict again, or leave it out."
                )

    @cached_property
    def delta(self) -> np.ndarray:
        """Predicted delta [condition, gene]: predicted mean minus the true control mean."""
        return self.predicted - self.truth.control

    def shared(self, key: Hashable, compute: Callable[[], T]) -> T:
        """``compute()``, once per prediction: what several metrics need alike."""
        return _once(self._shared, key, compute)

    def sides(self) -> tuple[Cells, Cells, Cells]:
        """Measured, predicted and control cells.

        Raises:
            ValueError: the comparison holds means only.
        """
        truth = self.truth
        if truth.cells is None or self.cells is None or truth.control_cells is None:
            raise ValueError(
                "This metric compares cells; the comparison holds means only. Give measured, predicted and control "
                "cells, or leave the metric out."
            )
        return truth.cells, self.cells, truth.control_cells

    @property
    def as_stored(self) -> Means:
        """Means in the precision of the files where both sides have them, else the float64 ones.

        PerturBench averages float32 files in float32; only the same rounding gives its digits.
        """
        truth, stored = self.truth, (self.truth.stored_mean, self.truth.stored_control, self.stored_predicted)
        mean, control, predicted = stored
        if mean is None or control is None or predicted is None:
            return Means(truth=truth.mean, control=truth.control, predicted=self.predicted)
        return Means(truth=mean, control=control, predicted=predicted)


def _once(known: dict[Hashable, Any], key: Hashable, compute: Callable[[], T]) -> T:
    if key not in known:
        known[key] = compute()
    value: T = known[key]
    return value


def _check(shape: tuple[int, int], arrays: Mapping[str, np.ndarray]) -> None:
    for name, array in arrays.items():
        if array.shape != shape:
            raise ValueError(f"Means of a comparison are [condition, gene] = {shape}; {name!r} came as {array.shape}.")
        if not np.isfinite(array).all():
            raise ValueError(
                f"Means of a comparison are finite; {name!r} has {int((~np.isfinite(array)).sum())} entries that are "
                "not. Remove the NaN or infinite values of the file, or predict again."
            )
