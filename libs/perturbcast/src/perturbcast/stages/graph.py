"""Command ``graph``: build a gene graph for every fold of a split, and describe one so that it can be judged."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from perturbcast import catalog, graphs
from perturbcast.errors import UsageError
from perturbcast.graphs import GeneGraph
from perturbcast.schema import PerturbationData
from perturbcast.stages.layout import load_fold, open_data, split_files
from perturbcast.stages.params import options
from perturbcast.stages.progress import track
from perturbcast.stores import h5ad

command = typer.Typer(
    help="Build gene graphs from train controls, curated tables or your own edges; describe one: nodes, edges, "
    "degrees, signs, coverage of the data's genes, and what it was made from.",
    no_args_is_help=True,
)


@command.command("build", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def build(
    context: typer.Context,
    source: Annotated[str, typer.Option(help="Where edges come from: a module of perturbcast/graphs.")],
    out: Annotated[Path, typer.Option(help="Folder for fold_0/, fold_1/, ..., or the graph itself without --split.")],
    split: Annotated[
        Path | None,
        typer.Option(help="Split folder (all folds) or one fold_K.json; needed by sources that look at cells."),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Dataset [default: artifacts/datasets/<dataset of the split>.h5ad]")
    ] = None,
    name: Annotated[str | None, typer.Option(help="What models and tables call it [default: the source].")] = None,
) -> None:
    """Build a graph over the genes of a dataset. Cells are read from the train part alone.

    Parameters of the source follow as options of their own, for example:

        perturbcast graph build --split artifacts/splits/mine --source coexpression --k 20
            --out artifacts/graphs/mine/coexpression

        perturbcast graph build --data mine.h5ad --source gene_sets --file hallmark.gmt --out artifacts/graphs/hallmark

    Sources: coexpression (--k, --min-correlation), tf_targets (--file, --confidence), gene_sets (--file, --k,
    --min-size, --max-size), edge_list (--file, --source-column, --target-column, --weight-column,
    --undirected). Those with a file also take --gene-ids (a table of ensembl_id and symbol) and --min-coverage.
    """
    module = catalog.load("graphs", source)
    config = catalog.configure("graphs", source, options(context.args))
    if split is None:
        if data is None:
            raise UsageError("A graph stands over the genes of a dataset; give --split or --data.")
        if module.FROM_CELLS:
            raise UsageError(
                f"A graph from cells is made from the train part of a split; {source!r} looks at cells. Give --split."
            )
        _write(module.build(h5ad.read(data), config), out, name=name)
        return
    cells = open_data(split, data)
    for file in track(split_files(split), f"graph {source} for {split.name}"):
        fold = load_fold(file, cells)
        _write(module.build(cells.subset(fold.parts["train"]), config), out / f"fold_{fold.fold}", name=name)


def _write(graph: GeneGraph, directory: Path, *, name: str | None) -> None:
    graphs.save(dataclasses.replace(graph, name=name) if name else graph, directory)
    typer.echo(f"{directory}: {graph.n_edges} edges over {len(graph.genes)} genes, sha256 {graph.hash[:12]}")


@command.command("describe")
def describe(
    graph: Annotated[Path, typer.Argument(help="A graph directory that 'graph build' wrote.")],
    data: Annotated[Path | None, typer.Option(help="Dataset whose genes it should cover [default: its own].")] = None,
) -> None:
    """Nodes, edges, degrees, signs and weights, how much of the data's genes it covers, and its provenance."""
    loaded = graphs.load(graph)
    table = Table("what", "value", show_header=False)
    for what, value in _facts(loaded, h5ad.read(data) if data else None).items():
        table.add_row(what, str(value))
    Console().print(table)


def _facts(graph: GeneGraph, data: PerturbationData | None) -> dict[str, Any]:
    into, out_of = (np.bincount(graph.edge_index[row], minlength=len(graph.genes)) for row in (1, 0))
    touched = (into + out_of) > 0
    facts: dict[str, Any] = {
        "name": graph.name,
        "sha256": graph.hash,
        "nodes": len(graph.genes),
        "nodes with an edge": f"{touched.sum()} ({touched.mean():.1%})",
        "edges": graph.n_edges,
        "density": f"{graph.n_edges / max(len(graph.genes) * (len(graph.genes) - 1), 1):.2e}",
    }
    for what, degree in (("edges into a gene", into), ("edges out of a gene", out_of)):
        low, middle, high = np.percentile(degree, [0, 50, 100]).astype(int)
        facts[what] = f"mean {degree.mean():.2f}, least {low}, median {middle}, most {high}"
    if graph.n_edges:
        source, target = graph.edge_index
        back = np.isin(target * len(graph.genes) + source, source * len(graph.genes) + target)
        positive = float((graph.weight > 0).mean())
        facts["sign"] = f"{positive:.1%} positive, {1 - positive:.1%} negative"
        size = np.percentile(np.abs(graph.weight), [0, 50, 100])
        facts["absolute weight"] = f"least {size[0]:.3g}, median {size[1]:.3g}, most {size[2]:.3g}"
        facts["edges that also go back"] = f"{back.mean():.1%}"
        strongest = [graph.genes[i] for i in np.argsort(-(into + out_of), kind="stable")[:5]]
        facts["most connected"] = ", ".join(strongest)
    if data is not None:
        there = np.isin(np.array(data.genes, dtype=object), np.array(graph.genes, dtype=object))
        facts[f"coverage of {data.dataset}"] = graphs.Coverage.of(data.genes, there)
    return (
        facts
        | {key: value for key, value in graph.provenance.items() if key != "parameters"}
        | {f"parameter {key}": value for key, value in graph.provenance.get("parameters", {}).items()}
    )
