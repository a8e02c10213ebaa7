"""Minibatches of cells as tensors, read in this process or in others ahead of the training step.

Other processes read whole windows as sparse rows; dense batches are cut here. The stream is therefore the same for any
number of them, and so is the position that a checkpoint keeps: batches taken, whatever has been read ahead. Each
process opens the file for itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from perturbcast.stores.cell_file import CellFile
from perturbcast.stores.cell_reader import CellBatch, CellReader

__all__ = ["CellLoader"]


class CellLoader:
    """The batches of a reader as dictionaries of tensors; Lightning and a plain loop both take it.

    ``x`` and ``control`` [cell, gene] float32, ``rows``, ``control_rows``, ``perturbation`` and ``context`` [cell]
    int64, as ``CellBatch`` has them. Iterating goes on from the position; ``state_dict`` gives it and
    ``load_state_dict`` sets it.

    Attributes:
        reader: what is read; this process's share, where several train together.
        workers: processes that read ahead; 0 to read between steps.
    """

    def __init__(self, reader: CellReader, *, workers: int = 0) -> None:
        if workers < 0:
            raise ValueError(f"Processes that read ahead are counted from 0; workers is {workers}. Give 0 or more.")
        if workers and not isinstance(reader.cells, CellFile):
            raise ValueError(
                f"Other processes read ahead from a file; {reader.cells.dataset!r} is held in memory, and each of "
                f"{workers} would hold it again. Use workers=0, or CellFile.open."
            )
        self.reader, self.workers = reader, workers

    def __len__(self) -> int:
        return len(self.reader)

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        if self.workers == 0:
            yield from map(_tensors, self.reader)
            return
        reader, each = self.reader, self.reader.order.batches
        first, last = reader.position // each, -(-reader.steps // each)
        windows = DataLoader(
            _Windows(reader),
            sampler=range(first, last),
            batch_size=None,
            num_workers=self.workers,
            collate_fn=_as_it_is,
            prefetch_factor=1,
        )
        for number, x in zip(range(first, last), windows, strict=True):
            reader.hold(number, x)
            for step in range(reader.position, min((number + 1) * each, reader.steps)):
                reader.position = step + 1
                yield _tensors(reader.batch(step))

    def state_dict(self) -> dict[str, Any]:
        return self.reader.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.reader.load_state_dict(state)


class _Windows(Dataset[Any]):
    """Windows by number, as another process reads them."""

    def __init__(self, reader: CellReader) -> None:
        self.reader = reader

    def __getitem__(self, number: int) -> Any:
        return self.reader.read(number)


def _as_it_is(window: Any) -> Any:
    return window


def _tensors(batch: CellBatch) -> dict[str, torch.Tensor]:
    named = {
        "x": batch.x,
        "rows": batch.rows,
        "perturbation": batch.perturbation,
        "context": batch.context,
        "control": batch.control,
        "control_rows": batch.control_rows,
    }
    return {
        name: torch.from_numpy(value if value.dtype == np.float32 else value.astype(np.int64))
        for name, value in named.items()
        if value is not None
    }
