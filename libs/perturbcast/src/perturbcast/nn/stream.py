"""The order in which rows are seen: a function of seed and step alone, so that any step can be reached again.

A ``Source`` is what a network is fitted to, a ``Stream`` its batches in that order. ``Rows`` are one long stream:
the permutation of epoch 0, then that of epoch 1, and so on; a batch is the next ``size`` rows of it. A rank of a
distributed run takes every ``ranks``-th row of each batch, so that all ranks together see what one process would.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

import numpy as np
import torch

__all__ = ["Batches", "Rows", "Source", "Stream", "digest_of", "rows_of_step"]

ROWS_AT_ONCE = 16  # of a digest


class Stream(Protocol):
    """Batches from a position that can be saved and set; iterating again goes on from there."""

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]: ...
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class Source(Protocol):
    """What a network is fitted to."""

    def stream(self, *, seed: int, size: int, steps: int, rank: int = 0, ranks: int = 1) -> Stream:
        """Batches of ``size`` rows over all processes; this process's share of each."""
        ...

    def digest(self) -> str:
        """sha256 of the rows: what a checkpoint has to agree with."""
        ...


def rows_of_step(step: int, *, seed: int, rows: int, size: int) -> np.ndarray:
    """Row numbers [size] of batch ``step`` (0-based)."""
    positions = np.arange(step * size, (step + 1) * size)
    epochs = {
        int(epoch): np.random.default_rng([seed, int(epoch)]).permutation(rows)
        for epoch in np.unique(positions // rows)
    }
    return np.array([epochs[int(at // rows)][at % rows] for at in positions])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rows:
    """Rows that are built when a batch asks for them: what is in memory does not grow with their number.

    Attributes:
        count: P rows.
        build: row numbers [B] -> tensors with B rows each, by name; a row does not depend on the others.
    """

    count: int
    build: Callable[[np.ndarray], dict[str, torch.Tensor]]

    def stream(self, *, seed: int, size: int, steps: int, rank: int = 0, ranks: int = 1) -> Stream:
        """Shuffled anew every epoch."""
        return _RowStream(self, Batches(seed=seed, rows=self.count, size=size, steps=steps, rank=rank, ranks=ranks))

    def digest(self) -> str:
        """sha256 over names, shapes and values, some rows at a time."""
        return self._digest

    @functools.cached_property
    def _digest(self) -> str:
        digest = hashlib.sha256()
        for start in range(0, self.count, ROWS_AT_ONCE):
            rows = np.arange(start, min(start + ROWS_AT_ONCE, self.count))
            digest.update(digest_of(self.build(rows)).encode())
        return digest.hexdigest()


def digest_of(tensors: Mapping[str, torch.Tensor]) -> str:
    """sha256 over names, shapes and values."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(f"{name} {tuple(tensors[name].shape)}".encode())
        digest.update(tensors[name].detach().cpu().numpy().tobytes())
    return digest.hexdigest()


class Batches:
    """Row numbers of each step from a position that can be saved and set; iterating again goes on from there."""

    def __init__(self, *, seed: int, rows: int, size: int, steps: int, rank: int = 0, ranks: int = 1) -> None:
        self.size = min(size, rows - rows % ranks) if rows >= ranks else size
        if self.size % ranks:
            raise ValueError(
                f"A global batch is shared evenly; {self.size} rows cannot be shared by {ranks} processes. "
                "Give a batch that is a multiple of the number of processes."
            )
        self.seed, self.rows, self.steps, self.rank, self.ranks = seed, rows, steps, rank, ranks
        self.position = 0

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[np.ndarray]:
        while self.position < self.steps:
            rows = rows_of_step(self.position, seed=self.seed, rows=self.rows, size=self.size)
            self.position += 1
            yield rows[self.rank :: self.ranks]

    def state_dict(self) -> dict[str, Any]:
        return {"position": self.position}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.position = int(state["position"])


class _RowStream:
    """The named rows of every tensor, batch after batch."""

    def __init__(self, rows: Rows, batches: Batches) -> None:
        self.rows, self.batches = rows, batches

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        for index in self.batches:
            yield self.rows.build(index)

    def state_dict(self) -> dict[str, Any]:
        return self.batches.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.batches.load_state_dict(state)
