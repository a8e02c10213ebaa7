"""Minibatches of cells, with matched controls, from a file or from memory: the same ones from either.

    cells = CellFile.open(path)                                  # or h5ad.read(path), where it fits in memory
    perturbed, controls = part_rows(cells, split.parts["train"])
    reader = CellReader(cells, rows=perturbed, controls=controls, batch=256, seed=0)
    for batch in reader:                                         # one epoch; reader.state_dict() at any time
        batch.x, batch.control                                   # [cell, gene] float32 each

One sampler, two sources. What is held at once: labels, one window of sparse rows, at most ``pool`` controls of each
group, one dense batch. ``training/cell_loader.py`` gives torch tensors and reads windows in other processes.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from perturbcast.schema import Cells, positions
from perturbcast.stores.block_order import BLOCK, WINDOW, BlockOrder
from perturbcast.stores.matched_controls import ControlGroups

__all__ = ["POOL", "CellBatch", "CellReader", "part_rows"]

POOL = 512  # controls of a group that are held at once
LABELS = ("perturbation", "context")
_MATCH = 4  # what a draw is for, beside those of ``block_order`` and ``matched_controls``


@dataclasses.dataclass(frozen=True, kw_only=True)
class CellBatch:
    """One minibatch.

    Attributes:
        x: [cell, gene] float32, in the units of X and the order of the reader's genes.
        rows: [cell] rows of the source.
        perturbation: [cell] place in ``CellReader.perturbations``.
        context: [cell] place in ``CellReader.contexts``.
        control: [cell, gene] a control cell matched to each cell; None where no controls were given.
        control_rows: [cell] its row of the source; None likewise.
    """

    x: np.ndarray
    rows: np.ndarray
    perturbation: np.ndarray
    context: np.ndarray
    control: np.ndarray | None
    control_rows: np.ndarray | None


def part_rows(cells: Cells, barcodes: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the perturbed and of the control cells of a part of a split, ascending.

    Raises:
        ValueError: a barcode is not in the data.
    """
    rows = np.sort(positions(cells.obs, barcodes, dataset=cells.dataset))
    is_control = cells.obs["is_control"].to_numpy(dtype=bool)[rows]
    return rows[~is_control], rows[is_control]


class CellReader:
    """Batches from a position that can be saved and set; iterating goes on from there.

    Attributes:
        position: batches read so far.
        steps: where iteration ends.
        perturbations, contexts: labels that a batch's codes point to, sorted.
        genes: columns of a batch.
    """

    def __init__(
        self,
        cells: Cells,
        *,
        rows: np.ndarray,
        batch: int,
        seed: int,
        steps: int | None = None,
        controls: np.ndarray | None = None,
        genes: Sequence[str] | None = None,
        pool: int = POOL,
        block: int = BLOCK,
        window: int = WINDOW,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        """Check what was asked for; nothing is read yet.

        Args:
            cells: the source.
            rows: rows of the source to visit, each once per epoch; all perturbed where ``controls`` are given.
            batch: cells of a batch over all processes; fewer where there are fewer rows.
            seed: decides order and controls.
            steps: batches until iteration ends, however many epochs these are; None for one epoch (its last batch is
                filled up from the next).
            controls: rows of control cells to draw a match from for each cell; None for cells alone.
            genes: names of the columns wanted, in order; None for all.
            pool: controls of a group (context, or context and batch) that are held at once; others every epoch.
            block, window: rows that are read together, and that are shuffled together.
            rank, ranks: this process, and how many share each batch.

        Raises:
            ValueError: rows are none or not of this source, a context has no controls, a gene is not measured, or a
                batch cannot be shared evenly.
        """
        n = len(cells.obs)
        for what, given in (("rows", rows), ("controls", controls)):
            if given is not None and (
                len(given) == 0 or given.min() < 0 or given.max() >= n or len(np.unique(given)) != len(given)
            ):
                some = f"{len(given)} from {given.min()} to {given.max()}" if len(given) else "none"
                raise ValueError(
                    f"A reader visits rows 0 to {n - 1} of {cells.dataset!r}, each once; the {what} given are {some}. "
                    "Take them from a part of a split of this dataset, with 'part_rows'."
                )
        if min(batch, pool, block, window) < 1:
            raise ValueError(
                f"A reader holds at least one cell; batch, pool, block and window are {batch}, {pool}, {block} and "
                f"{window}. Give 1 or more."
            )
        size = min(batch, len(rows) - len(rows) % ranks)
        if size == 0 or size % ranks:
            raise ValueError(
                f"A global batch is shared evenly; {size or len(rows)} cells cannot be shared by {ranks} processes. "
                "Give a batch that is a multiple of the number of processes."
            )
        self.cells, self.seed, self.pool = cells, seed, pool
        self.rows = np.sort(rows)  # neighbours on disk are read together
        self.order = BlockOrder(rows=len(rows), batch=size, seed=seed, block=block, window=window)
        self.rank, self.ranks = rank, ranks
        self.steps = -(-len(rows) // size) if steps is None else steps
        self.genes, self.column = _columns(cells, genes)
        labels = [pd.factorize(cells.obs[name].astype(str).iloc[self.rows], sort=True) for name in LABELS]
        (self._perturbation, perturbations), (self._context, contexts) = labels
        self.perturbations, self.contexts = tuple(map(str, perturbations)), tuple(map(str, contexts))
        self.groups = (
            None if controls is None else ControlGroups.of(cells.obs, perturbed=self.rows, controls=np.unique(controls))
        )
        self.position = 0
        self._window: _Window | None = None
        self._pool: tuple[int, _Pool] | None = None

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[CellBatch]:
        while self.position < self.steps:
            self.position += 1
            yield self.batch(self.position - 1)

    def batch(self, step: int) -> CellBatch:
        """Batch ``step`` of the stream (0-based), this process's share of it."""
        window, at = divmod(step, self.order.batches)
        if self._window is None or self._window.number != window:
            self._window = None  # not two at a time
            self.hold(window, self.read(window))
            assert self._window is not None
        size = self.order.batch // self.ranks
        here = slice(at * size, (at + 1) * size)
        index = self._window.index[here]
        control, control_rows = (None, None) if self.groups is None else self._controls(self._window, here)
        return CellBatch(
            x=self._dense(self._window.x, np.arange(here.start, here.stop)),
            rows=self.rows[index],
            perturbation=self._perturbation[index],
            context=self._context[index],
            control=control,
            control_rows=control_rows,
        )

    def read(self, window: int) -> sp.csr_matrix:
        """This process's cells of a window, batch after batch."""
        return self.cells.rows(self.rows[self._mine(self.order.of_window(window))])

    def hold(self, window: int, x: sp.csr_matrix) -> None:
        """Cut the next batches from a window that was read, here or in another process."""
        draws = np.random.default_rng([self.seed, _MATCH, window]).random(self.order.window)
        self._window = _Window(
            number=window, index=self._mine(self.order.of_window(window)), share=self._mine(draws), x=x
        )

    def state_dict(self) -> dict[str, Any]:
        """The position, and what stream it is in."""
        return {"position": self.position, "stream": self._signature()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there.

        Raises:
            ValueError: it is a position in another stream.
        """
        if state["stream"] != self._signature():
            raise ValueError(
                "A position is of the stream that it was saved in; this one has other cells, another seed or another "
                "size of batch, block or window. Give those that it was saved with, or start from the beginning."
            )
        self.position = int(state["position"])

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_window": None, "_pool": None}  # another process reads its own

    def _signature(self) -> str:
        order, digest = self.order, hashlib.sha256(self.rows.tobytes())
        for rows in () if self.groups is None else self.groups.members:
            digest.update(rows.tobytes())
        digest.update(f"{self.cells.hash} {self.seed} {order.batch} {order.block} {order.window} {self.pool}".encode())
        return digest.hexdigest()

    def _mine(self, rows: np.ndarray) -> np.ndarray:
        """Every ``ranks``-th row of each batch."""
        return rows.reshape(-1, self.order.batch)[:, self.rank :: self.ranks].ravel()

    def _dense(self, x: sp.csr_matrix, rows: np.ndarray) -> np.ndarray:
        from perturbcast.stores._cell_rows import scatter

        out = np.zeros((len(rows), len(self.genes)), dtype=np.float32)
        scatter(x.data, x.indices, x.indptr, rows, self.column, out)
        return out

    def _controls(self, window: _Window, here: slice) -> tuple[np.ndarray, np.ndarray]:
        assert self.groups is not None
        epoch = self.order.epoch(window.number)
        if self._pool is None or self._pool[0] != epoch:
            drawn = self.groups.drawn(seed=self.seed, epoch=epoch, most=self.pool)
            if self._pool is None or any(len(rows) == self.pool for rows in drawn):
                self._pool = None
                self._pool = epoch, _Pool.of(self.cells, drawn)
            else:  # it holds all controls
                self._pool = epoch, self._pool[1]
        pool = self._pool[1]
        group = self.groups.of_cell[window.index[here]]
        size = pool.start[group + 1] - pool.start[group]
        at = pool.start[group] + (window.share[here] * size).astype(np.int64)
        return self._dense(pool.x, pool.place[at]), pool.rows[at]


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Window:
    """A window in memory: rows of the reader ``index`` [cell], draws ``share`` [cell] in [0, 1), ``x`` [cell, gene]."""

    number: int
    index: np.ndarray
    share: np.ndarray
    x: sp.csr_matrix


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Pool:
    """Controls in memory.

    Attributes:
        x: [cell, gene] each cell once.
        rows: rows of the source, group after group; ``start`` [group + 1] where each begins.
        place: [as rows] its row of ``x``.
    """

    x: sp.csr_matrix
    rows: np.ndarray
    start: np.ndarray
    place: np.ndarray

    @classmethod
    def of(cls, cells: Cells, groups: Sequence[np.ndarray]) -> _Pool:
        rows = np.concatenate(groups)
        unique, place = np.unique(rows, return_inverse=True)
        start = np.concatenate([[0], np.cumsum([len(group) for group in groups])])
        return cls(x=cells.rows(unique), rows=rows, start=start, place=place)


def _columns(cells: Cells, genes: Sequence[str] | None) -> tuple[tuple[str, ...], np.ndarray]:
    """Names of the columns wanted, and [gene of the source] the column of each, or -1."""
    if genes is None:
        return cells.genes, np.arange(len(cells.genes))
    at = pd.Index(cells.genes).get_indexer(pd.Index(genes))
    missing = [gene for gene, place in zip(genes, at, strict=True) if place < 0]
    if missing or len(set(genes)) != len(genes):
        raise ValueError(
            f"A reader's genes are measured ones, each once; {cells.dataset!r} lacks {len(missing)} of the "
            f"{len(genes)} given{f', first {missing[0]!r}' if missing else ' and some are named twice'}. "
            "Leave them out."
        )
    column = np.full(len(cells.genes), -1)
    column[at] = np.arange(len(genes))
    return tuple(genes), column
