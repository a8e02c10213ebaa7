"""A screen as a dataset on the data contract: cells, counts and truth."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

from perturbcast.schema import PerturbationData, content_hash
from perturbcast.simulation.cells import draw_cells
from perturbcast.simulation.screen import ScreenConfig, design
from perturbcast.simulation.truth import compute_truth

__all__ = ["simulate"]


def simulate(
    config: ScreenConfig, *, workers: int = 1, dataset: str = "simulated"
) -> tuple[PerturbationData, sp.csr_matrix]:
    """Cells of a simulated screen with their truth, and the raw counts.

    Args:
        config: what to simulate.
        workers: threads; bytes are the same for any number.
        dataset: id to give the dataset.

    Returns:
        Data on the contract with ``truth``, and counts [cell, gene] CSR int32.

    Raises:
        UsageError: what was asked for cannot be.
    """
    screen = design(config)
    truth = compute_truth(screen, workers=workers)
    cells = draw_cells(screen, workers=workers)
    meta: dict[str, Any] = {
        "dataset": dataset,
        "source": f"perturbcast simulate, family {config.family}, seed {config.seed}",
        "license": "Apache-2.0",
        "accession": "none (simulated)",
        "scale": "log1p(counts per 10 000)",
        "unit": "cell",
        "gene_namespace": "simulated",
        "perturbation_type": config.intervention or screen.perturbations[0].intervention.kind,
        "targets": {p.label: p.label.split("+") for p in screen.perturbations},
        "preprocessing": ["log1p of counts per 10 000"],
        "content_hash": content_hash(cells.x, screen.genes, cells.obs),
    }
    if not np.diff(cells.counts.indptr).all():
        raise ValueError(
            "Every cell holds a count; some came out empty. Raise library_size, or lower dropout and overdispersion."
        )
    return PerturbationData(x=cells.x, genes=screen.genes, obs=cells.obs, meta=meta, truth=truth), cells.counts
