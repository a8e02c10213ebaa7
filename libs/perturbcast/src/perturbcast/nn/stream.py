"""The order in which rows are seen: a function of seed and step alone, so that any step can be reached again.

One long stream: the permutation of epoch 0, then that of epoch 1, and so on; a batch is the next ``size`` rows of it.
A rank of a distributed run takes every ``ranks``-th row of each batch, so that all ranks together see what one
process would.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

__all__ = ["Batches", "rows_of_step"]


def rows_of_step(step: int, *, seed: int, rows: int, size: int) -> np.ndarray:
    """Row numbers [size] of batch ``step`` (0-based)."""
    positions = np.arange(step * size, (step + 1) * size)
    epochs = {
        int(epoch): np.random.default_rng([seed, int(epoch)]).permutation(rows)
        for epoch in np.unique(positions // rows)
    }
    return np.array([epochs[int(at // rows)][at % rows] for at in positions])


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
