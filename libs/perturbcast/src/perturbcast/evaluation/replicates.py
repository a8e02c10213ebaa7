"""The truth measured again: from half of each condition's cells, or from cells drawn with replacement.

Every draw is seeded by the condition itself, so that it depends neither on which other conditions there are nor on
the order of a file.

Axes: C conditions, G genes.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Sequence

import numpy as np

from perturbcast.evaluation.cells import MeasuredCells, drawn
from perturbcast.metrics import Truth
from perturbcast.stores.pseudobulk import mean_and_variance

__all__ = ["Halves", "Measured", "generator_of", "halves", "replicate"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measured:
    """A truth with the cells that it is made of.

    Attributes:
        truth: the measured conditions.
        cells: measured perturbed cells of each condition.
        controls: the control cells of each condition that its mean is made of; conditions of one context share one
            group. ``truth.control_cells`` may hold fewer.
        stand_ins: the control cells that a prediction without cells of its own is moved from, per condition.
        smallest: what no expression value goes below.
        relative: predictions are deltas on top of the measured controls (those of a split), so that sampling error
            of the controls is in every prediction; else they are means of their own (those of files).
        max_controls: control cells of a context that metrics of cells look at, at most.
    """

    truth: Truth
    cells: MeasuredCells
    controls: MeasuredCells
    stand_ins: MeasuredCells
    smallest: float
    relative: bool
    max_controls: int

    @functools.cached_property
    def variance(self) -> np.ndarray:
        """Variance over the cells of each condition [condition, gene]."""
        return np.stack([mean_and_variance(self.cells.x[rows])[1] for rows in self.cells.rows])

    @functools.cached_property
    def sizes(self) -> np.ndarray:
        """Cells of each condition [condition, 1]."""
        return np.array([[len(rows)] for rows in self.cells.rows])

    @property
    def control_error(self) -> np.ndarray:
        """The part of the truth's sampling variance that its controls bring [condition, gene]."""
        return np.maximum(self.truth.error - self.variance / self.sizes, 0.0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Halves:
    """Each condition's cells in two halves that share no cell.

    Attributes:
        first: cells of one half, ``first_mean`` their mean [condition, gene].
        truth: the other half as a truth.
        divided: [condition] bool; False where a condition has fewer than four cells, so that a half would have no
            spread. Both halves are then all of its cells, and its scores say nothing.
    """

    first: MeasuredCells
    first_mean: np.ndarray
    truth: Truth
    divided: np.ndarray


def generator_of(key: str, *, purpose: str, seed: int) -> np.random.Generator:
    """The generator of one draw of one condition."""
    digest = hashlib.sha256(f"{purpose}\0{key}".encode()).digest()[:8]
    return np.random.default_rng([seed, int.from_bytes(digest, "little")])


def halves(measured: Measured, *, seed: int) -> Halves:
    """Divide the cells of every condition at random."""
    source = measured.cells
    first, second = [], []
    for key, rows in zip(source.keys, source.rows, strict=True):
        order = generator_of(key, purpose="halves", seed=seed).permutation(len(rows))
        cut = len(rows) // 2 if len(rows) >= 4 else 0
        first.append(rows[np.sort(order[:cut])] if cut else rows)
        second.append(rows[np.sort(order[cut:])])
    means, variances = _moments(source, second)
    truth = dataclasses.replace(
        measured.truth,
        mean=means,
        error=variances / np.array([[len(rows)] for rows in second]) + measured.control_error,
        cells=MeasuredCells(x=source.x, rows=second, keys=source.keys),
        stored_mean=None,
        stored_control=None,
        _shared={},
    )
    return Halves(
        first=MeasuredCells(x=source.x, rows=first, keys=source.keys),
        first_mean=_moments(source, first)[0],
        truth=truth,
        divided=measured.sizes[:, 0] >= 4,
    )


def replicate(measured: Measured, *, seed: int) -> Truth:
    """The truth of cells and controls that are drawn from the measured ones with replacement, as many of each."""
    source, controls, truth = measured.cells, measured.controls, measured.truth
    rows = [_again(group, key, seed=seed) for key, group in zip(source.keys, source.rows, strict=True)]
    drawn_again: dict[int, np.ndarray] = {}
    moved: dict[int, np.ndarray] = {}
    for condition, group in zip(truth.conditions, controls.rows, strict=True):
        if id(group) not in moved:
            again = _again(group, f"controls of {condition.context}", seed=seed)
            moved[id(group)] = mean_and_variance(controls.x[again])[0] - mean_and_variance(controls.x[group])[0]
            drawn_again[id(group)] = drawn(condition.context, again, limit=measured.max_controls, seed=seed)
    means, variances = _moments(source, rows)
    control_cells = [drawn_again[id(group)] for group in controls.rows]
    return dataclasses.replace(
        truth,
        mean=means,
        control=truth.control + np.stack([moved[id(group)] for group in controls.rows]),
        error=variances / measured.sizes + measured.control_error,
        cells=MeasuredCells(x=source.x, rows=rows, keys=source.keys),
        control_cells=MeasuredCells(x=controls.x, rows=control_cells, keys=controls.keys),
        stored_mean=None,
        stored_control=None,
        _shared={},
    )


def _again(rows: np.ndarray, key: str, *, seed: int) -> np.ndarray:
    chosen = generator_of(key, purpose="bootstrap", seed=seed).integers(len(rows), size=len(rows))
    return rows[np.sort(chosen)]


def _moments(source: MeasuredCells, rows: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    means, variances = zip(*(mean_and_variance(source.x[group]) for group in rows), strict=True)
    return np.stack(means), np.stack(variances)
