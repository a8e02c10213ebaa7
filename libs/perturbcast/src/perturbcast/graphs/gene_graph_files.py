"""A gene graph on disk: a directory of ``edges.safetensors`` and ``graph.json``, no pickles, hashes checked on read.

``graph.json`` (format, name, genes in order and their hash, number of edges, provenance, sha256 of the edges' file and
of the graph) is written last: a directory without it, or with that of other edges, is half-written and refused.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from safetensors import SafetensorError
from safetensors.numpy import load as from_bytes
from safetensors.numpy import save as to_bytes

from perturbcast.errors import UsageError
from perturbcast.graphs.gene_graph import GeneGraph
from perturbcast.schema import gene_list_hash
from perturbcast.stores.atomic import write_bytes, write_json

__all__ = ["load", "save"]

FORMAT = "perturbcast.graph/1"
EDGES, RECORD = "edges.safetensors", "graph.json"


def save(graph: GeneGraph, directory: Path) -> None:
    """Write the directory; equal graphs give equal bytes."""
    edges = to_bytes({"edge_index": graph.edge_index, "weight": graph.weight})
    write_bytes(directory / EDGES, edges)
    write_json(
        directory / RECORD,
        {
            "format": FORMAT,
            "name": graph.name,
            "genes": list(graph.genes),
            "genes_sha256": gene_list_hash(graph.genes),
            "n_edges": graph.n_edges,
            "provenance": dict(graph.provenance),
            "edges_sha256": hashlib.sha256(edges).hexdigest(),
            "sha256": graph.hash,
        },
    )


def load(directory: Path) -> GeneGraph:
    """Read a graph after checking it against its hashes.

    Raises:
        UsageError: there is no such directory.
        ValueError: it is half-written, was changed, or was written by another format.
    """
    if not directory.is_dir():
        raise UsageError(
            f"A graph is a directory of {EDGES} and {RECORD}; {directory} does not exist. Build one with "
            "'perturbcast graph build'."
        )
    missing = [name for name in (EDGES, RECORD) if not (directory / name).is_file()]
    if missing:
        raise ValueError(
            f"A graph is a directory of {EDGES} and {RECORD}; {directory} lacks {', '.join(missing)}: it is "
            "half-written or not a graph. Build it again with 'perturbcast graph build'."
        )
    changed = f"A graph is not edited; {{}} in {directory}. Build it again, or restore it with 'dvc checkout'."
    content = (directory / EDGES).read_bytes()
    try:
        record = json.loads((directory / RECORD).read_text())
        if record["format"] != FORMAT:
            raise ValueError(
                f"This version reads graphs of format {FORMAT}; {directory} is {record['format']!r}. "
                "Use the version of perturbcast that wrote it, or build it again."
            )
        if hashlib.sha256(content).hexdigest() != record["edges_sha256"]:
            raise ValueError(changed.format(f"{EDGES} does not have the sha256 of {RECORD}"))
        arrays = from_bytes(content)
        graph = GeneGraph(
            name=record["name"],
            genes=tuple(record["genes"]),
            edge_index=arrays["edge_index"],
            weight=arrays["weight"],
            provenance=record["provenance"],
        )
        claimed = (record["genes_sha256"], record["n_edges"], record["sha256"])
    except (json.JSONDecodeError, KeyError, TypeError, SafetensorError) as error:
        raise ValueError(changed.format(f"a file cannot be read ({type(error).__name__}: {error})")) from error
    if claimed != (gene_list_hash(graph.genes), graph.n_edges, graph.hash):
        raise ValueError(changed.format(f"{RECORD} does not have its own sha256"))
    return graph
