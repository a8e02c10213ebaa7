"""Sums of Euclidean distances between cells, in tiles: no matrix of all pairs, no dense copy beyond a tile.

Groups that are mostly zeros go through a compiled loop over their non-zeros, others through dense matrix products.
Sums over whole groups and all genes are kept, so that every metric that needs the same pairs shares them.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence

import numpy as np
import scipy.sparse as sp

from perturbcast.metrics.comparison import Cells, Comparison, cell_count
from perturbcast.metrics.distance_tiles import WIDTH, Room, TiledCells

__all__ = ["control_energies", "distance_sum", "group_sizes", "pair_sums"]

TILE = 512  # cells; a tile of distances is 1 MB in float32
BLOCK = 4096  # cells that go through the tiles of another group together
TOGETHER = 8  # tiles of a sparse product that are held at once; 10 MB at 5000 genes
# |a|^2 + |b|^2 - 2ab loses what is below a few float32 roundings of its terms: cells closer than that coincide
COINCIDENT = 4e-6
SPARSE = 0.6  # share of non-zeros above which a dense product is faster
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
        comparison: keeps the sums; its truth keeps those that predictions share.
    """
    controls = comparison.sides()[2]
    n, m = group_sizes(cells, rows), group_sizes(controls, rows)
    across = pair_sums(cells, controls, rows, comparison)
    within = pair_sums(cells, cells, rows, comparison)
    energies: np.ndarray = 2 * across / (n * m) - within / n**2 - pair_sums(controls, controls, rows, comparison) / m**2
    return energies


def pair_sums(a: Cells, b: Cells, rows: Sequence[int] | np.ndarray, comparison: Comparison) -> np.ndarray:
    """Sum of distances of each cell of ``a`` to each of ``b`` over all genes, computed once per pair of groups [row].

    Conditions that share their cells of ``b`` (the controls) go through its tiles together.
    """
    keys = {int(row): frozenset((a.key(row), b.key(row))) for row in rows}
    kept = {row: _kept(comparison, row, key) for row, key in keys.items()}
    together: dict[Hashable, dict[Hashable, int]] = {}
    for row, key in keys.items():
        if key not in kept[row]:
            together.setdefault(b.key(row), {}).setdefault(key, row)
    for new in together.values():
        first = next(iter(new.values()))
        centre = comparison.truth.control[first].astype(np.float32)
        other = b.matrix(first)
        if len(keys[first]) == 1:
            kept[first][keys[first]] = _sum(other, other, centre)
            new = {key: row for key, row in new.items() if row != first}
        for block in _blocks(a, list(new.values())):
            for row, total in zip(block, _sums(list(block.values()), other, centre), strict=True):
                kept[row][keys[row]] = total
    return np.array([kept[row][key] for row, key in keys.items()])


def group_sizes(cells: Cells, rows: Sequence[int] | np.ndarray) -> np.ndarray:
    """Number of cells of each condition [row]."""
    return np.array([cell_count(cells, int(row)) for row in rows], dtype=np.float64)


def _kept(comparison: Comparison, row: int, groups: frozenset[Hashable]) -> dict[Hashable, float]:
    """Where sums over these groups are kept: with the truth if they are its own, else with the prediction."""
    truth = comparison.truth
    own = {cells.key(row) for cells in (truth.cells, truth.control_cells) if cells is not None}
    holder = truth if groups <= own else comparison
    return holder.shared("distance sums", dict[Hashable, float])


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


def _sums(groups: list[sp.csr_matrix], other: sp.csr_matrix, centre: np.ndarray) -> list[float]:
    """Sum of distances of each group to ``other``, all genes."""
    if all(map(_is_sparse, groups)):
        return _sparse_sums(groups, other, centre)
    return [_sum(group, other, centre) for group in groups]


def _sum(a: sp.csr_matrix, b: sp.csr_matrix, centre: np.ndarray) -> float:
    if a is b and _is_sparse(a):
        return _sparse_within(a, centre)
    if _is_sparse(a):
        return _sparse_sums([a], b, centre)[0]
    if _is_sparse(b):
        return _sparse_sums([b], a, centre)[0]
    return distance_sum(a, b, centre=centre)


def _is_sparse(x: sp.csr_matrix) -> bool:
    return bool(x.nnz <= SPARSE * x.shape[0] * x.shape[1])


def _sparse_sums(groups: list[sp.csr_matrix], other: sp.csr_matrix, centre: np.ndarray) -> list[float]:
    walked = [_tiled(group, centre) for group in groups]
    tiles, rooms = _tiled(other, centre), Room.some(len(centre), TOGETHER)
    sums = [0.0] * len(groups)
    for start in range(0, tiles.n, TOGETHER * WIDTH):
        firsts = range(start, min(start + TOGETHER * WIDTH, tiles.n), WIDTH)
        filled = [(room, tiles.spread(first, room)) for first, room in zip(firsts, rooms, strict=False)]
        for k, group in enumerate(walked):
            # a group goes through several tiles while it is in the cache
            sums[k] += sum(group.distances(0, group.n, room, lengths) for room, lengths in filled)
    return sums


def _sparse_within(group: sp.csr_matrix, centre: np.ndarray) -> float:
    cells, (room,) = _tiled(group, centre), Room.some(len(centre), 1)
    total = 0.0
    for first in range(0, cells.n, WIDTH):
        last, lengths = min(first + WIDTH, cells.n), cells.spread(first, room)
        total += cells.distances(first, last, room, lengths) + 2 * cells.distances(last, cells.n, room, lengths)
    return total


def _tiled(group: sp.csr_matrix, centre: np.ndarray) -> TiledCells:
    return TiledCells(group, centre=centre, coincident=COINCIDENT)
