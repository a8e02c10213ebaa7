"""Control cells that are kept with a model, so that whoever has none of a train context can still be given cells.

At most ``STORED`` of each train context, drawn without regard to the model or its seed: every model of a fold keeps the
same cells, and its directory the same file. Axes: cell, gene.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp

from perturbcast.calibration import generator_of
from perturbcast.schema import CONTROL, Condition

__all__ = ["STORED", "draw", "read", "write"]

STORED = 100  # cells of a context: what harnesses compare distributions with, at 0.1 MB for 9 000 genes


def draw(obs: pd.DataFrame, rows: Callable[[np.ndarray], sp.csr_matrix]) -> dict[str, sp.csr_matrix]:
    """Context -> at most ``STORED`` of its control cells [cell, gene] float32, in the order of the data.

    Args:
        obs: of the train cells, with ``context`` and ``is_control``.
        rows: row numbers of ``obs`` -> their cells, from memory or from a file.
    """
    contexts = obs["context"].to_numpy().astype(str)
    is_control = obs["is_control"].to_numpy(dtype=bool)
    drawn = {}
    for context in sorted(set(contexts[is_control])):
        generator = generator_of(Condition(CONTROL, context), seed=0)
        own = generator.permutation(np.flatnonzero(is_control & (contexts == context)))[:STORED]
        drawn[context] = rows(np.sort(own)).astype(np.float32)
    return drawn


def write(cells: Mapping[str, sp.csr_matrix], path: Path) -> None:
    """One compressed ``.npz`` without pickles; equal cells give equal bytes."""
    contexts = sorted(cells)
    stacked = sp.vstack([cells[context] for context in contexts], format="csr")
    np.savez_compressed(
        path,
        contexts=np.array(contexts),
        counts=np.array([cells[context].shape[0] for context in contexts]),
        genes=stacked.shape[1],
        indptr=stacked.indptr,
        indices=stacked.indices.astype(np.int32),
        data=stacked.data,
    )


def read(path: Path) -> dict[str, sp.csr_matrix]:
    """What ``write`` wrote."""
    with np.load(path, allow_pickle=False) as file:
        parts = (file["data"], file["indices"], file["indptr"])
        stacked = sp.csr_matrix(parts, shape=(len(file["indptr"]) - 1, int(file["genes"])))
        contexts, ends = file["contexts"].tolist(), np.cumsum(file["counts"]).tolist()
    starts = [0, *ends[:-1]]
    return {context: stacked[start:end] for context, start, end in zip(contexts, starts, ends, strict=True)}
