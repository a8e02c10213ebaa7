"""Command ``datasets``: which public datasets there are, and whether their files can be reached from here."""

from __future__ import annotations

import json
from types import ModuleType
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from perturbcast import catalog
from perturbcast.datasets.source import find, locate


def command(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines instead of a table.")] = False,
) -> None:
    """List every dataset with its study, accession, licence note, and where its file was found.

    Nothing is downloaded: a dataset with a known public address says so, and 'perturbcast import' fetches it.

        perturbcast datasets
    """
    rows = [_row(name, catalog.load("datasets", name)) for name in catalog.names("datasets")]
    if as_json:
        typer.echo(json.dumps(rows, indent=1))
        return
    table = Table("dataset", "study", "accession", "licence", show_lines=True)
    table.add_column("file", overflow="fold")
    for row in rows:
        table.add_row(*(row[key] for key in ("name", "study", "accession", "licence", "file")))
    Console().print(table)
    typer.echo("Import one with 'perturbcast import DATASET', your own with 'perturbcast import-h5ad'.")


def _row(name: str, module: ModuleType) -> dict[str, str]:
    """One dataset; ``state`` is found, downloadable, made (simulated) or absent."""
    source = getattr(module, "SOURCE", None)
    if source is None:
        study = (module.__doc__ or "").splitlines()[0]
        return {
            "name": name,
            "study": study,
            "accession": "-",
            "licence": "-",
            "state": "made",
            "file": "made by 'perturbcast simulate'",
        }
    try:
        if source.url and find(source) is None:
            state, file = "downloadable", source.url
        else:
            state, file = "found", str(locate(source))
    except (ValueError, OSError) as error:
        state, file = "absent", str(error)
    return {
        "name": name,
        "study": source.study,
        "accession": source.accession,
        "licence": source.licence,
        "state": state,
        "file": file,
    }
