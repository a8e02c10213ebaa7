"""Sums of Euclidean distances between cells, in tiles: no matrix of all pairs, no copy beyond a tile."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import scipy.sparse as sp

from perturbcast.metrics.comparison import Cells, Comparison

__all__ = ["control_energies", "distance_sum"]

TILE = 512  # cells; a tile of distances is 1 MB in float32
BLOCK = 2048  # cells of conditions that are dense at once
# |a|^2 + |b|^2 - 2ab loses what is below a few float32 roundings of its terms: cells closer than that coincide
COINCIDENT = 4e-6
Group = np.ndarray | sp.csr_matrix


def distance_sum(a: Group, b: Group, *, centre: np.ndarray | None = None) -> float:
    """Sum of |a_i - b_j| over all pairs.

    Args:
        a: [cell, gene], dense float32 or sparse; a sparse group is made dense a tile at a time.
        b: [cell, gene], likewise. The same object as ``a`` takes half the work.
        centre: [gene] taken off every cell, which keeps the terms small; None where the groups are centred.
    """
    total = 0.0
    for i in range(0, a.shape[0], TILE):
        first = _tile(a, i, centre)
        square_first = np.einsum("ng,ng->n", first, first)
        for j in range(i if a is b else 0, b.shape[0], TILE):
            second = first if a is b and i == j else _tile(b, j, centre)
            scale = square_first[:, None] + np.einsum("ng,ng->n", second, second)[None, :]
            square = first @ second.T
            square *= -2
            square += scale
            scale *= COINCIDENT
            np.putmask(square, square < scale, 0.0)
            twice = 2.0 if a is b and i != j else 1.0
            total += twice * float(np.sqrt(square, out=square).sum(dtype=np.float64))
    return total


def _tile(x: Group, start: int, centre: np.ndarray | None, *, rows: int = TILE) -> np.ndarray:
    part = x[start : start + rows]
    if not sp.issparse(part):
        return part if centre is None else part - centre
    tile: np.ndarray = part.toarray().astype(np.float32, copy=False)
    if centre is not None:
        tile -= centre
    return tile


def control_energies(cells: Cells, rows: np.ndarray, comparison: Comparison) -> np.ndarray:
    """E-distance (V-statistic, Euclidean) of all cells of each condition to its control cells [row].

    Args:
        cells: measured, predicted or control cells.
        rows: conditions of one context, which share their controls.
        comparison: its truth keeps what predictions share.
    """
    truth = comparison.truth
    controls = comparison.sides()[2]
    first = rows[0]
    own = truth.shared(("within", controls.key(first)), lambda: _within(controls.matrix(first), truth.control[first]))
    known = truth.shared(("control energy", controls.key(first)), dict[object, float])
    new = {cells.key(row): row for row in rows if cells.key(row) not in known}
    m = controls.matrix(first).shape[0]
    for block in _blocks(cells, list(new.values())):
        across, within = _block_sums(list(block.values()), controls.matrix(first), truth.control[first])
        for (row, group), between, inner in zip(block.items(), across, within, strict=True):
            n = group.shape[0]
            known[cells.key(row)] = 2 * between / (n * m) - inner / n**2 - own / m**2
    return np.array([known[cells.key(row)] for row in rows])


def _within(group: sp.csr_matrix, centre: np.ndarray) -> float:
    return distance_sum(group, group, centre=centre.astype(np.float32))


def _blocks(cells: Cells, rows: list[int]) -> Iterator[dict[int, sp.csr_matrix]]:
    """Conditions with their cells, of together at most ``BLOCK`` cells; a condition of more is alone."""
    block: dict[int, sp.csr_matrix] = {}
    for row in rows:
        group = cells.matrix(row)
        if block and group.shape[0] + sum(held.shape[0] for held in block.values()) > BLOCK:
            yield block
            block = {}
        block[row] = group
    if block:
        yield block


def _block_sums(
    groups: list[sp.csr_matrix], controls: sp.csr_matrix, centre: np.ndarray
) -> tuple[list[float], list[float]]:
    """Sums of distances of each group to the controls, and within each group.

    The controls are made dense once for all groups of a block, a tile at a time.
    """
    centre = centre.astype(np.float32)
    if len(groups) == 1 and groups[0].shape[0] > BLOCK:
        large = groups[0]
        return [distance_sum(large, controls, centre=centre)], [distance_sum(large, large, centre=centre)]
    dense = [_tile(group, 0, centre, rows=BLOCK) for group in groups]
    across = [0.0] * len(groups)
    for start in range(0, controls.shape[0], TILE):
        tile = _tile(controls, start, centre)
        for k, group in enumerate(dense):
            across[k] += distance_sum(group, tile)
    return across, [distance_sum(group, group) for group in dense]
