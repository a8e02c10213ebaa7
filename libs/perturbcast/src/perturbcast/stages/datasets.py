"""Command ``datasets``: which public datasets there are, and whether their files can be reached from here."""

from __future__ import annotations

import typer
from rich.console import Console
from rich.table import Table

from perturbcast import catalog
from perturbcast.datasets.source import locate


def command() -> None:
    """List every dataset with its study, accession, licence note, and where its file was found.

    perturbcast datasets
    """
    table = Table("dataset", "study", "accession", "licence", "file", show_lines=True)
    for name in catalog.names("datasets"):
        module = catalog.load("datasets", name)
        source = getattr(module, "SOURCE", None)
        if source is None:
            table.add_row(name, (module.__doc__ or "").splitlines()[0], "-", "-", "made by 'perturbcast simulate'")
            continue
        try:
            where = str(locate(source))
        except (ValueError, OSError) as error:
            where = str(error)
        table.add_row(name, source.study, source.accession, source.licence, where)
    Console().print(table)
    typer.echo("Import one with 'perturbcast import DATASET', your own with 'perturbcast import-h5ad'.")
