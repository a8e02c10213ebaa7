"""Command ``merge``: several imported datasets as one over their shared genes, for a cross-dataset split."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from perturbcast.errors import UsageError
from perturbcast.stages.layout import dataset_file
from perturbcast.stores import h5ad
from perturbcast.stores.merge import gene_coverage, merge


def command(
    files: Annotated[list[Path], typer.Argument(help="Imported datasets (.h5ad on the data contract), two or more.")],
    out: Annotated[Path | None, typer.Option(help="File to write [default: artifacts/datasets/NAME.h5ad]")] = None,
    name: Annotated[str, typer.Option(help="Dataset id [default: the ids joined by +]")] = "",
    scale: Annotated[
        str,
        typer.Option(help="What the values are, in words, where the datasets' records differ and you vouch for it."),
    ] = "",
) -> None:
    """Put datasets side by side over the genes that all of them measure, matched by name.

        perturbcast merge artifacts/datasets/a.h5ad artifacts/datasets/b.h5ad
        perturbcast split --data artifacts/datasets/a+b.h5ad --rule cross_dataset --test b --out artifacts/splits/a-to-b

    Contexts and barcodes get the dataset's id before them; controls stay matched inside their own dataset.
    """
    if Path(name).name != name:
        raise UsageError(f"A dataset id names a file; {name!r} is a path. Give --name without slashes, and --out.")
    merged = merge([h5ad.read(file) for file in files], name=name, scale=scale)
    path = out or dataset_file(merged.dataset)
    h5ad.write(merged, path)
    typer.echo(
        f"{path}: {len(merged.obs)} cells, {len(merged.conditions)} conditions, {len(merged.genes)} genes in all"
    )
    for dataset in merged.meta["sources"]:
        found = gene_coverage(merged, [dataset])
        typer.echo(
            f"{dataset} against the others: {found['shared']} genes shared ({found['share_of_test']:.1%} of its own), "
            f"{found['test_only']} only in it, {found['train_only']} only in the others"
        )
