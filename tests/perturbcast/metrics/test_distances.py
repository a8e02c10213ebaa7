"""Sums of distances are right on every route, shared between metrics, and never need all pairs or all cells dense."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import scipy.sparse as sp

from perturbcast.evaluation.cells import MeasuredCells
from perturbcast.metrics import Comparison, Truth, distances, mann_whitney, panel
from perturbcast.metrics.distances import control_energies, pair_sums
from perturbcast.schema import Condition


def _cells(rng, n, *, genes, density):
    return (rng.gamma(2.0, 0.5, size=(n, genes)) * (rng.random((n, genes)) < density)).astype(np.float32)


def _exact(a, b):
    a, b = a.astype(np.float64), b.astype(np.float64)
    return sum(np.sqrt(((b - cell) ** 2).sum(axis=1)).sum() for cell in a)


def _compare(make_comparison, cells, predicted, controls):
    return make_comparison(
        delta=[cells.mean(axis=0) - controls.mean(axis=0)],
        control=[controls.mean(axis=0)],
        cells=[cells],
        predicted_cells=[predicted],
        control_cells=[controls],
    )


@pytest.mark.parametrize(
    ("densities", "genes"),
    [((0.1, 0.1), 1100), ((0.9, 0.1), 60), ((0.1, 0.9), 60), ((0.9, 0.9), 60)],
    ids=["sparse, more genes than stay in the cache", "dense to sparse", "sparse to dense", "dense"],
)
def test_sums_are_those_of_every_pair(make_comparison, densities, genes):
    rng = np.random.default_rng(0)
    # 150 and 131 cells: more than one tile, the last one not full
    a, b = (_cells(rng, n, genes=genes, density=d) for n, d in zip((150, 131), densities, strict=True))
    b[3] = a[7]  # a pair that coincides
    comparison = _compare(make_comparison, a, b, a)
    cells, predicted, _ = comparison.sides()
    assert pair_sums(cells, predicted, [0], comparison)[0] == pytest.approx(_exact(a, b), rel=2e-8)
    assert pair_sums(cells, cells, [0], comparison)[0] == pytest.approx(_exact(a, a), rel=2e-8)
    assert pair_sums(predicted, predicted, [0], comparison)[0] == pytest.approx(_exact(b, b), rel=2e-8)


def test_energy_to_the_controls_by_hand(make_comparison):
    # |a - c| = 3, 4, 2, 3; |a - a'| = |c - c'| = 1: 2 * 3 - 1/2 - 1/2; genes without counts change nothing
    pad = np.zeros((2, 9))
    a, c = (np.c_[np.array([[low], [low + 1.0]]), pad] for low in (0.0, 3.0))
    comparison = _compare(make_comparison, a, a, c)
    assert control_energies(comparison.sides()[0], np.array([0]), comparison)[0] == pytest.approx(5.0)


def test_a_sum_is_computed_once_and_a_predictions_own_is_not_kept_with_the_truth(make_comparison, monkeypatch):
    rng = np.random.default_rng(0)
    groups = [_cells(rng, 12, genes=30, density=0.2) for _ in range(4)]
    comparison = _compare(make_comparison, *groups[:3])
    looked = []
    whole = distances._sum
    monkeypatch.setattr(distances, "_sum", lambda a, b, centre: looked.append(1) or whole(a, b, centre))
    sparse = distances._sparse_sums
    monkeypatch.setattr(
        distances,
        "_sparse_sums",
        lambda groups, b, centre: looked.extend([1] * len(groups)) or sparse(groups, b, centre),
    )
    cells, predicted, _ = comparison.sides()
    rows = np.array([0])
    for _ in range(2):
        control_energies(cells, rows, comparison)
        pair_sums(predicted, cells, rows, comparison)
        pair_sums(cells, predicted, rows, comparison)  # whichever side is named first
    assert len(looked) == 4, "measured and controls within, measured to controls, measured to predicted"
    # another prediction of the same truth; its cells may get the identity of those that are gone
    other = Comparison(truth=comparison.truth, predicted=comparison.predicted, cells=type(cells)([groups[3]]))
    assert pair_sums(other.sides()[1], cells, rows, other)[0] == pytest.approx(_exact(groups[3], groups[0]), rel=1e-7)
    assert len(looked) == 5


def _panel_peak(n):
    """Peak of what scoring with cell-eval's panel allocates, in bytes, for two conditions and controls of n cells."""
    rng = np.random.default_rng(0)
    x = sp.random(4 * n + n, 400, density=0.03, format="csr", dtype=np.float32, random_state=rng)
    rows = [np.arange(k * n, (k + 1) * n) for k in range(5)]
    mean = [np.asarray(x[part].mean(axis=0)).ravel().astype(np.float64) for part in rows]
    conditions = (Condition("A", "one"), Condition("B", "one"))
    measured, predicted, controls = (
        MeasuredCells(x=x, rows=[rows[i] for i in places], keys=["A", "B"]) for places in ((0, 1), (2, 3), (4, 4))
    )
    truth = Truth(
        conditions=conditions,
        genes=tuple(f"G{i}" for i in range(400)),
        mean=np.stack(mean[:2]),
        control=np.stack([mean[4]] * 2),
        error=np.full((2, 400), 0.01),
        cells=measured,
        control_cells=controls,
    )
    comparison = Comparison(truth=truth, predicted=np.stack(mean[2:4]), cells=predicted)
    tracemalloc.start()
    for measure in panel("celleval"):
        measure.score(comparison)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak, x.nnz * 8


def test_memory_follows_the_non_zeros_of_a_group_and_not_the_cells_squared_or_dense(monkeypatch):
    monkeypatch.setattr(mann_whitney, "STORED", 1 << 12)
    _panel_peak(50)  # imports and compiled code
    (small, _), (large, stored) = _panel_peak(400), _panel_peak(3000)
    # a dense group would add 4.2 MB and all pairs of a group 32 MB; the copy of a group and its sorted values are each
    # a fifth of the 1.4 MB that are stored
    assert large - small < 2.5 * stored < 2600 * 400 * 4
