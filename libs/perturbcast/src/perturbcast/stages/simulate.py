"""Stage ``simulate``: a screen with known truth as a dataset on the data contract, and its description."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from perturbcast import catalog
from perturbcast.datasets import simulated
from perturbcast.errors import UsageError
from perturbcast.simulation import describe, plot
from perturbcast.stages import params as parameter_file
from perturbcast.stores import h5ad


def command(
    out: Annotated[
        Path | None, typer.Option(help="File to write (.h5ad on the data contract, counts in a layer).")
    ] = None,
    description: Annotated[
        Path | None, typer.Option("--describe", metavar="FILE", help="Describe this simulated file instead.")
    ] = None,
    family: Annotated[
        str | None,
        typer.Option(
            help="gene_expression, or a mechanism family: linear, mlp, gp, gpcde, square, periodic, logistic_map, "
            "pnl, heteroscedastic, mixture. [default: gene_expression]"
        ),
    ] = None,
    graph: Annotated[
        str | None,
        typer.Option(
            help="erdos_renyi, scale_free, scale_free_transposed, watts_strogatz, stochastic_block, random_geometric "
            "or mixture. [default: scale_free_transposed]"
        ),
    ] = None,
    nodes: Annotated[int | None, typer.Option(help="Genes. [default: 60]")] = None,
    edges_per_node: Annotated[float | None, typer.Option(help="Expected regulations per gene. [default: 2]")] = None,
    contexts: Annotated[int | None, typer.Option(help="Contexts (cell types). [default: 4]")] = None,
    perturbations: Annotated[int | None, typer.Option(help="Single-gene perturbations. [default: 20]")] = None,
    combinations: Annotated[int | None, typer.Option(help="Pairs of them. [default: 6]")] = None,
    cells: Annotated[int | None, typer.Option(help="Cells, controls included. [default: 4320]")] = None,
    control_share: Annotated[float | None, typer.Option(help="Share of control cells. [default: 0.2]")] = None,
    intervention: Annotated[
        str | None,
        typer.Option(
            help="knock_out, knock_down or activation for gene_expression; hard, shift, knock_down, activation or "
            "noise_only for the others. [default: knock_down, hard]"
        ),
    ] = None,
    target: Annotated[
        list[str] | None, typer.Option(help="Gene to perturb (GENE01, ...); repeat. [default: drawn regulators]")
    ] = None,
    mechanism: Annotated[
        str | None, typer.Option(help="Parameters of the family as JSON, like '{\"noise_scale\": 0.5}'.")
    ] = None,
    noise: Annotated[
        str | None,
        typer.Option(help="gaussian, laplace, uniform or student_t (mechanism families). [default: gaussian]"),
    ] = None,
    context_shift: Annotated[float | None, typer.Option(help="Baseline difference of contexts. [default: 0.5]")] = None,
    context_edges: Annotated[
        float | None, typer.Option(help="Share of regulations of a context's own. [default: 0.2]")
    ] = None,
    predictable_share: Annotated[
        float | None,
        typer.Option(help="Share of effects that follows from the graph; 0: nothing to learn. [default: 1]"),
    ] = None,
    systematic_shift: Annotated[
        float | None, typer.Option(help="Sd of a log shift common to all perturbed cells. [default: 0]")
    ] = None,
    shuffle_labels: Annotated[
        bool | None, typer.Option("--shuffle-labels", help="Permute labels of perturbed cells within contexts.")
    ] = None,
    library_size: Annotated[float | None, typer.Option(help="Median counts per cell. [default: 1500]")] = None,
    overdispersion: Annotated[float | None, typer.Option(help="Of the negative binomial. [default: 0.15]")] = None,
    dropout: Annotated[float | None, typer.Option(help="Probability that an entry is emptied. [default: 0]")] = None,
    batches: Annotated[int | None, typer.Option(help="Batches. [default: 1]")] = None,
    truth_draws: Annotated[
        int | None, typer.Option(help="Draws per context and round behind the truth. [default: 4096]")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Decides every draw. [default: 0]")] = None,
    params: Annotated[
        Path | None, typer.Option(help="Parameter file whose section 'simulate' comes before the options.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Threads; the file does not depend on it. [default: all cores]")
    ] = None,
) -> None:
    """Simulate a perturbation screen whose true effects are known, or describe one.

        perturbcast simulate --family gene_expression --nodes 60 --edges-per-node 2 --contexts 4
            --perturbations 20 --combinations 6 --cells 4320 --seed 0 --out simulated.h5ad

        perturbcast simulate --family linear --intervention shift --noise laplace --out linear.h5ad

        perturbcast simulate --describe simulated.h5ad

    The file holds X (log1p of counts per 10 000), counts, labels, and in uns['truth'] the true mean delta of every
    condition in the units of X with its standard error, graphs with signs, causal order and total effects.
    Mechanism families are continuous; their values, in sd units, are log expression behind the counts.
    --describe prints density, sortability, effect sizes and variance explained by parents, and draws graph and
    effects into FILE.svg beside the file.
    """
    named = {
        "family": family,
        "graph": graph,
        "nodes": nodes,
        "edges_per_node": edges_per_node,
        "contexts": contexts,
        "perturbations": perturbations,
        "combinations": combinations,
        "cells": cells,
        "control_share": control_share,
        "intervention": intervention,
        "targets": tuple(target) if target else None,
        "mechanism": None if mechanism is None else _parse(mechanism),
        "noise": noise,
        "context_shift": context_shift,
        "context_edges": context_edges,
        "predictable_share": predictable_share,
        "systematic_shift": systematic_shift,
        "shuffle_labels": shuffle_labels,
        "library_size": library_size,
        "overdispersion": overdispersion,
        "dropout": dropout,
        "batches": batches,
        "truth_draws": truth_draws,
        "seed": seed,
    }
    given: dict[str, Any] = {name: value for name, value in named.items() if value is not None}
    if (out is None) == (description is None):
        raise UsageError(
            "A run either simulates (--out FILE.h5ad) or describes (--describe FILE); give one of the two."
        )
    if description is not None:
        if given or params is not None:
            raise UsageError(
                f"--describe reads what the file holds; {', '.join(given) or 'params'} changes nothing. Leave it out."
            )
        _describe(description)
        return
    assert out is not None
    section = {} if params is None else parameter_file.read(params).simulate
    if "targets" in given and "perturbations" not in given:
        given["perturbations"] = len(given["targets"])
        given.setdefault("combinations", 0)
    config = catalog.configure("datasets", "simulated", {**section, **given})
    data, counts = simulated.build(config, workers=workers or len(os.sched_getaffinity(0)))
    h5ad.write(data, out, counts=counts)
    typer.echo(
        f"{out}: {len(data.obs)} cells x {len(data.genes)} genes, {len(data.conditions)} perturbed conditions in "
        f"{len(data.contexts)} contexts, seed {config.seed}, content {data.hash[:12]}"
    )


def _parse(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise UsageError(f"--mechanism is a JSON object; {text!r} is not ({error}). Quote it for the shell.") from error
    if not isinstance(value, dict):
        raise UsageError(f"--mechanism is a JSON object of parameters; {text!r} is not one.")
    return value


def _describe(file: Path) -> None:
    data = h5ad.read(file)
    for line in describe(data).lines():
        typer.echo(line)
    picture = file.with_name(f"{file.name}.svg")
    plot(data, picture)
    typer.echo(f"plot                 {picture}")
