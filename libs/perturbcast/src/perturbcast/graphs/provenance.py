"""What a graph keeps about where it comes from: enough to build it again and to see that it is another one."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from perturbcast.graphs.gene_graph import Coverage
from perturbcast.schema import PerturbationData
from perturbcast.stores.data_folders import located

__all__ = ["MIN_PRIOR_COVERAGE", "from_cells", "from_file"]

MIN_PRIOR_COVERAGE = 0.05  # curated sources name a part of a panel; next to none is another namespace


def from_cells(source: str, config: Any, *, data: PerturbationData) -> dict[str, Any]:
    """Record of a graph that was made from cells: the hash of their barcodes ties it to a fold of a split."""
    barcodes = sorted(map(str, data.obs.index))
    return {
        "source": source,
        "parameters": dataclasses.asdict(config),
        "dataset": data.dataset,
        "dataset_sha256": data.hash,
        "cells_sha256": hashlib.sha256("\n".join(barcodes).encode()).hexdigest(),
    }


def from_file(
    source: str, config: Any, *, data: PerturbationData, named: Mapping[str, int | None], least: float
) -> dict[str, Any]:
    """Record of a graph that was read from a file, after its coverage of the data's genes is found enough.

    Args:
        source: the plugin's name.
        config: its ``Config``; files are kept by name and sha256.
        data: whose genes count.
        named: every gene name in the file -> its position in the data, None where the data has no such gene.
        least: the share of the data's genes that has to be named.

    Raises:
        ValueError: too few genes of the data are named in the file.
    """
    covered = np.zeros(len(data.genes), dtype=bool)
    covered[[place for place in named.values() if place is not None]] = True
    coverage = Coverage.of(data.genes, covered)
    coverage.require(least, what=f"{source} from {config.file}")
    parameters = dataclasses.asdict(config)
    files = {key: located(parameters[key]) for key in ("file", "gene_ids") if parameters[key]}
    return {
        "source": source,
        "parameters": parameters | {key: path.name for key, path in files.items()},
        "files_sha256": {key: hashlib.sha256(path.read_bytes()).hexdigest() for key, path in files.items()},
        "coverage": coverage.share,
        "genes_covered": coverage.n_covered,
        "names_without_gene": sum(place is None for place in named.values()),
    }
