"""Stage ``import``: a named public dataset to the data contract."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from perturbcast import catalog
from perturbcast.schema import PerturbationData
from perturbcast.stages.layout import dataset_file
from perturbcast.stores import h5ad


def command(
    dataset: Annotated[str, typer.Argument(help="A module of perturbcast/datasets; see 'perturbcast datasets'.")],
    out: Annotated[Path | None, typer.Option(help="File to write [default: artifacts/datasets/DATASET.h5ad]")] = None,
    min_cells: Annotated[
        int | None, typer.Option(help="Perturbed conditions with fewer cells are dropped and listed [default: 20]")
    ] = None,
) -> None:
    """Find a public dataset, check it and write it on the data contract.

    The file is looked for in the folder PERTURBCAST_DATA, then in ../shared/data, then downloaded where a stable
    address is known; its sha256 must be the dataset's.

        perturbcast import kang2018 --out artifacts/datasets/kang2018.h5ad
    """
    module = catalog.load("datasets", dataset)
    config = catalog.configure("datasets", dataset, {} if min_cells is None else {"min_cells": min_cells})
    data, counts = module.build(config)
    path = out or dataset_file(dataset)
    h5ad.write(data, path, counts=counts)
    say(data, path)


def say(data: PerturbationData, path: Path) -> None:
    """One line about what was written, and the conditions that were dropped."""
    typer.echo(
        f"{path}: {len(data.obs)} cells x {len(data.genes)} genes, {len(data.conditions)} conditions in "
        f"{len(data.contexts)} contexts, sha256 {data.hash[:12]}"
    )
    dropped = data.meta.get("dropped_conditions", [])
    if dropped:
        more = f" and {len(dropped) - 10} more" if len(dropped) > 10 else ""
        typer.echo(f"dropped for too few cells: {'; '.join(dropped[:10])}{more}")
    if data.uncontrolled:
        typer.echo(f"without controls, kept but in no condition: {', '.join(data.uncontrolled)}")
