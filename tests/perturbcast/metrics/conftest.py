"""Comparisons of stated means, and of cells drawn from stated distributions."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import scipy.sparse as sp

from perturbcast.metrics import Comparison, Truth
from perturbcast.schema import Condition


@dataclasses.dataclass(frozen=True)
class GivenCells:
    """Cells of each condition as given; the first ``limit`` of them."""

    groups: list[np.ndarray]

    def draw(self, row: int, *, limit: int, seed: int) -> np.ndarray:
        return self.groups[row][:limit].astype(np.float32)

    def matrix(self, row: int) -> sp.csr_matrix:
        return sp.csr_matrix(self.groups[row].astype(np.float32))

    def key(self, row: int) -> tuple[int, int]:
        return (id(self), id(self.groups[row]))


def _make_comparison(
    *,
    delta,
    predicted_delta=None,
    control=None,
    error=0.01,
    contexts=None,
    labels=None,
    half_widths=None,
    cells=None,
    predicted_cells=None,
    control_cells=None,
    train_mean=None,
    variance=None,
    ood_score=None,
    novel=None,
):
    """Comparison of [condition, gene] deltas over a control profile of 2 (by default a perfect prediction)."""
    delta = np.atleast_2d(np.asarray(delta, dtype=np.float64))
    predicted_delta = delta if predicted_delta is None else np.atleast_2d(np.asarray(predicted_delta, dtype=np.float64))
    control = np.broadcast_to(np.asarray(2.0 if control is None else control, dtype=np.float64), delta.shape)
    contexts = contexts or ["a"] * len(delta)
    labels = labels or [f"P{i}" for i in range(len(delta))]
    truth = Truth(
        conditions=tuple(Condition(label, context) for label, context in zip(labels, contexts, strict=True)),
        genes=tuple(f"G{i}" for i in range(delta.shape[1])),
        mean=control + delta,
        control=control,
        error=np.broadcast_to(np.asarray(error, dtype=np.float64), delta.shape),
        cells=None if cells is None else GivenCells(cells),
        control_cells=None if control_cells is None else GivenCells(control_cells),
        train_mean=train_mean,
    )
    return Comparison(
        truth=truth,
        predicted=control + predicted_delta,
        half_widths={
            level: np.broadcast_to(np.asarray(half, dtype=np.float64), delta.shape)
            for level, half in (half_widths or {}).items()
        },
        cells=None if predicted_cells is None else GivenCells(predicted_cells),
        variance=None if variance is None else np.broadcast_to(np.asarray(variance, dtype=np.float64), delta.shape),
        ood_score=None if ood_score is None else np.asarray(ood_score, dtype=np.float64),
        novel=None if novel is None else np.asarray(novel),
    )


@pytest.fixture(scope="session")
def make_comparison():
    """Factory of comparisons with stated means."""
    return _make_comparison
