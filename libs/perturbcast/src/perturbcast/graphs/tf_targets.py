"""Transcription factors and their targets from a curated table: directed, signed where the table says so.

Two file formats, told apart by suffix. ``.csv``/``.tsv`` with the columns ``tf`` and ``target``, and optionally ``mor``
(mode of regulation, the signed weight; 1 without it) and ``confidence`` (a letter), as DoRothEA has them. ``.gmt`` with
one set of targets per line whose name begins with the factor (``NANOG CHEA``), as Enrichr's ChIP libraries have them;
these have no sign, so every weight is 1. A pair that occurs more than once has the mean of its weights.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd

from perturbcast.graphs.gene_graph import GeneGraph
from perturbcast.graphs.provenance import MIN_PRIOR_COVERAGE, from_file
from perturbcast.schema import PerturbationData
from perturbcast.stores.data_folders import located
from perturbcast.stores.gene_names import positions, read_table
from perturbcast.stores.gene_sets import read_gmt

__all__ = ["FROM_CELLS", "Config", "build"]

FROM_CELLS = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Parameters.

    Attributes:
        file: the table or ``.gmt`` file.
        confidence: letters of ``confidence`` that are used (``AB``); every row where empty.
        gene_ids: table of ``ensembl_id`` and ``symbol``, where the data's genes have other names than the file's.
        min_coverage: share of the data's genes that the file has to name, 0 to 1.
    """

    file: str
    confidence: str = ""
    gene_ids: str = ""
    min_coverage: float = MIN_PRIOR_COVERAGE


def build(train: PerturbationData, config: Config) -> GeneGraph:
    """The graph over the genes of ``train``; its cells are not looked at.

    Raises:
        UsageError: the file does not exist.
        ValueError: it is not of either format, or names too few of the data's genes.
    """
    table = _read(located(config.file), confidence=config.confidence)
    place = positions(train, gene_ids=located(config.gene_ids) if config.gene_ids else None)
    named = {name: place.get(name) for name in (*table["tf"], *table["target"])}
    provenance = from_file("tf_targets", config, data=train, named=named, least=config.min_coverage)
    there = table["tf"].isin(place) & table["target"].isin(place)
    edges = pd.DataFrame(
        {
            "source": table.loc[there, "tf"].map(place).astype(np.int64),
            "target": table.loc[there, "target"].map(place).astype(np.int64),
            "weight": table.loc[there, "mor"].astype(np.float64),
        }
    )
    means = edges.groupby(["source", "target"])["weight"].mean()
    ends = means.index.to_frame()
    return GeneGraph.of(
        name="tf_targets",
        genes=train.genes,
        source=ends["source"].to_numpy(),
        target=ends["target"].to_numpy(),
        weight=means.to_numpy(),
        provenance=provenance,
    )


def _read(path: Path, *, confidence: str) -> pd.DataFrame:
    """Columns tf, target and mor (float)."""
    if path.name.removesuffix(".gz").endswith(".gmt"):
        if confidence:
            raise ValueError(f"Confidence is a column of a table; {path} is a .gmt file. Leave confidence empty.")
        pairs = [(name.split()[0], gene) for name, genes in read_gmt(path).items() for gene in genes]
        return pd.DataFrame(pairs, columns=["tf", "target"]).assign(mor=1.0)
    table = read_table(path, what="A table of factors and targets")
    absent = [c for c in ("tf", "target", *(["confidence"] if confidence else [])) if c not in table]
    if absent:
        raise ValueError(
            f"A table of factors and targets has the columns tf and target, and confidence to choose by it; {path} "
            f"lacks {', '.join(absent)}, it has {', '.join(table.columns)}. Rename them, or use edge_list."
        )
    wanted = table["confidence"].isin(list(confidence)) if confidence else np.ones(len(table), dtype=bool)
    table = table.iloc[np.flatnonzero(wanted)]
    mor = pd.to_numeric(table["mor"], errors="coerce") if "mor" in table else pd.Series(1.0, index=table.index)
    if not np.isfinite(mor).all():
        raise ValueError(f"A mode of regulation is a number; {path} has {int((~np.isfinite(mor)).sum())} that are not.")
    return table[["tf", "target"]].assign(mor=mor)
