"""Your own edges: a table with a column for the source, one for the target, and perhaps one for the signed weight.

Edges are directed as they are written; for an undirected graph write both directions, or set ``undirected``.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd

from perturbcast.graphs.gene_graph import GeneGraph
from perturbcast.graphs.provenance import MIN_PRIOR_COVERAGE, from_file
from perturbcast.schema import PerturbationData
from perturbcast.stores.data_folders import located
from perturbcast.stores.gene_names import positions, read_table

__all__ = ["FROM_CELLS", "Config", "build"]

FROM_CELLS = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Parameters.

    Attributes:
        file: ``.csv`` or ``.tsv`` (or ``.gz`` of one) with one header line.
        source_column: column of the source gene.
        target_column: column of the target gene.
        weight_column: column of the signed weight; 1 for every edge where empty.
        undirected: each edge also goes the other way.
        gene_ids: table of ``ensembl_id`` and ``symbol``, where the data's genes have other names than the file's.
        min_coverage: share of the data's genes that the file has to name, 0 to 1.
    """

    file: str
    source_column: str = "source"
    target_column: str = "target"
    weight_column: str = ""
    undirected: bool = False
    gene_ids: str = ""
    min_coverage: float = MIN_PRIOR_COVERAGE


def build(train: PerturbationData, config: Config) -> GeneGraph:
    """The graph over the genes of ``train``; its cells are not looked at.

    Raises:
        UsageError: the file does not exist.
        ValueError: a column is missing, a weight is no number, an edge has two weights, or too few genes are named.
    """
    table = read_table(located(config.file), what="An edge list")
    wanted = [config.source_column, config.target_column, *([config.weight_column] if config.weight_column else [])]
    absent = [column for column in wanted if column not in table]
    if absent:
        raise ValueError(
            f"An edge list has a column for source and target, and for weight where it is named; {config.file} lacks "
            f"{', '.join(absent)}, it has {', '.join(table.columns)}. "
            "Name yours with source_column, target_column and weight_column."
        )
    place = positions(train, gene_ids=located(config.gene_ids) if config.gene_ids else None)
    named = {name: place.get(name) for name in (*table[config.source_column], *table[config.target_column])}
    provenance = from_file("edge_list", config, data=train, named=named, least=config.min_coverage)
    table = table[table[config.source_column].isin(place) & table[config.target_column].isin(place)]
    weight = (
        pd.to_numeric(table[config.weight_column], errors="coerce").to_numpy()
        if config.weight_column
        else np.ones(len(table))
    )
    if not np.isfinite(weight).all():
        first = table.loc[~np.isfinite(weight), config.weight_column].iloc[0]
        raise ValueError(f"A weight is a number; {config.file} has {first!r} in column {config.weight_column!r}.")
    ends = [
        table[column].map(place).to_numpy(dtype=np.int64) for column in (config.source_column, config.target_column)
    ]
    source, target = (
        (np.concatenate([ends[0], ends[1]]), np.concatenate([ends[1], ends[0]])) if config.undirected else ends
    )
    weight = np.tile(weight, 2 if config.undirected else 1)
    edges = pd.DataFrame({"source": source, "target": target, "weight": weight}).drop_duplicates()
    twice = edges.duplicated(["source", "target"])
    if twice.any():
        first = edges[twice].iloc[0]
        raise ValueError(
            f"An edge has one weight; {train.genes[int(first['source'])]} -> {train.genes[int(first['target'])]} has "
            f"two in {config.file}. Keep one line per edge."
        )
    return GeneGraph.of(
        name="edge_list",
        genes=train.genes,
        source=edges["source"].to_numpy(),
        target=edges["target"].to_numpy(),
        weight=edges["weight"].to_numpy(),
        provenance=provenance,
    )
