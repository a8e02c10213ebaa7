"""Minibatches of unperturbed cells from wherever they are, and beside them means of some that are held in memory.

Cells come from the reader: every cell once an epoch, in an order that seed and step decide; processes that train
together see different ones. A profile that a model asks about is a mean of cells, so that means of 2 to 64 cells of
one context are added to each batch, drawn anew at every step from at most 512 cells of each context.

Axes: n cells, E genes of the encoder.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch

from perturbcast.nn.panel import Panel
from perturbcast.schema import Cells
from perturbcast.stores.cell_reader import POOL, CellReader
from perturbcast.training.cell_loader import CellLoader

__all__ = ["Pools", "PretextBatches"]

LARGEST_POOL = 64  # cells
_POOLED = 6  # what a draw is for, beside those of ``stores``


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pools:
    """Means of cells of one context, contexts in turn.

    Attributes:
        x: [n, E] the cells that they are of, at least two of each context.
        members: rows of ``x``, for each context.
        share: means in a batch, as a share of its cells.
        seed: decides which cells.
    """

    x: sp.csr_matrix
    members: Sequence[np.ndarray]
    share: float
    seed: int

    @staticmethod
    def rows(context: np.ndarray, fitted: np.ndarray, *, generator: np.random.Generator) -> np.ndarray:
        """Which of the ``fitted`` rows to hold, ascending: at most 512 of each ``context``, none where one is alone."""
        of_each = (fitted[context[fitted] == name] for name in sorted(set(context[fitted])))
        groups = [rows for rows in of_each if len(rows) > 1]
        drawn = [rows if len(rows) <= POOL else generator.choice(rows, POOL, replace=False) for rows in groups]
        return np.sort(np.concatenate([np.zeros(0, dtype=np.int64), *drawn]))

    @classmethod
    def of(cls, x: sp.csr_matrix, context: np.ndarray, *, share: float, seed: int) -> Pools:
        """Pools of the cells ``x`` [n, E] of ``context`` [n]."""
        members = [np.flatnonzero(context == name) for name in sorted(set(context))]
        return cls(x=x, members=members, share=share, seed=seed)

    def count(self, batch: int) -> int:
        """Means beside ``batch`` cells."""
        return round(self.share * batch) if self.members else 0

    def of_step(self, step: int, *, batch: int, rank: int = 0, ranks: int = 1) -> np.ndarray:
        """Means [pool, E] of a step (0-based); of one of several processes every ``ranks``-th."""
        count = self.count(batch)
        generator = np.random.default_rng([self.seed, _POOLED, step])
        chosen = []
        for number in range(step * count, (step + 1) * count):
            group = self.members[number % len(self.members)]
            size = int(generator.integers(2, min(LARGEST_POOL, len(group)) + 1))
            chosen.append(generator.choice(group, size=size, replace=False))
        chosen = chosen[rank::ranks]
        start = np.concatenate([[0], np.cumsum([len(group) for group in chosen])]).astype(np.int64)
        columns = np.concatenate([np.zeros(0, dtype=np.int64), *chosen])
        share = np.concatenate([np.zeros(0), *(np.full(len(group), 1 / len(group)) for group in chosen)])
        means = sp.csr_matrix((share, columns, start), shape=(len(chosen), self.x.shape[0])) @ self.x
        return means.toarray().astype(np.float32)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PretextBatches:
    """What a pretext task is fitted to.

    Attributes:
        cells: where they are.
        fitted: their rows.
        genes: the E names.
        panel: standardises them.
        pools: what is added to each batch.
        sha256: of the cells.
        workers: processes that read ahead.
    """

    cells: Cells
    fitted: np.ndarray
    genes: Sequence[str]
    panel: Panel
    pools: Pools
    sha256: str
    workers: int = 0

    def stream(self, *, seed: int, size: int, steps: int, rank: int = 0, ranks: int = 1) -> _Stream:
        """``cells`` [B, E] standardised, this process's share of ``size`` cells and of the means beside them.

        Of several processes, each is also told what share it holds: ``place`` [B] of its rows in the whole batch,
        ``whole`` rows of that, ``step`` (from 1), ``rank`` and ``ranks``.
        """
        reader = CellReader(
            self.cells,
            rows=self.fitted,
            genes=self.genes,
            batch=size,
            seed=seed,
            steps=steps,
            rank=rank,
            ranks=ranks,
        )
        return _Stream(self, CellLoader(reader, workers=self.workers))

    def digest(self) -> str:
        """Which of the cells are fitted follows from seed and config."""
        return self.sha256


class _Stream:
    """The batches of a loader, with means beside them."""

    def __init__(self, source: PretextBatches, loader: CellLoader) -> None:
        self.source, self.loader = source, loader

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        reader, pools = self.loader.reader, self.source.pools
        size, rank, ranks = reader.order.batch, reader.rank, reader.ranks
        count = pools.count(size)
        place = torch.cat([torch.arange(size)[rank::ranks], torch.arange(size, size + count)[rank::ranks]])
        for batch in self.loader:
            step = reader.position
            means = pools.of_step(step - 1, batch=size, rank=rank, ranks=ranks)
            rows = {"cells": self.source.panel(torch.cat([batch["x"], torch.from_numpy(means)]))}
            if ranks > 1:
                said = {"whole": size + count, "step": step, "rank": rank, "ranks": ranks}
                rows |= {"place": place} | {name: torch.tensor(value) for name, value in said.items()}
            yield rows

    def state_dict(self) -> dict[str, Any]:
        return self.loader.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.loader.load_state_dict(state)
