"""Which gene of the data a name from elsewhere means: by its name, its Ensembl id or its symbol.

A name of the data always means itself. Another name counts where it leads to one gene only; a symbol that two of the
data's genes share leads nowhere. Version suffixes of Ensembl ids are ignored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from perturbcast.errors import UsageError
from perturbcast.schema import PerturbationData

__all__ = ["positions", "read_table"]


def read_table(path: Path, *, what: str) -> pd.DataFrame:
    """A table of text, from a file that pandas knows by its suffix (``.csv``, ``.tsv``, each also ``.gz``).

    Raises:
        UsageError: there is no such file.
        ValueError: it is no table.
    """
    if not path.is_file():
        raise UsageError(f"{what} is a .csv or .tsv file (or .gz of one); {path} does not exist.")
    separator = "\t" if path.name.removesuffix(".gz").endswith((".tsv", ".txt")) else ","
    try:
        return pd.read_csv(path, sep=separator, dtype=str, keep_default_na=False)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError, OSError) as error:
        raise ValueError(f"{what} is a table with one header line; {path} cannot be read ({error}).") from error


def positions(data: PerturbationData, *, gene_ids: Path | None = None) -> dict[str, int]:
    """Name -> position among the data's genes.

    Args:
        data: its genes, and the ``ensembl_id`` and ``symbol`` columns that it was imported with.
        gene_ids: a table with the columns ``ensembl_id`` and ``symbol``, for data that has one of the two.
    """
    known: dict[str, set[int]] = {}
    for i, gene in enumerate(data.genes):
        for name in {gene, _stem(gene), *_labels(data, i)}:
            known.setdefault(name, set()).add(i)
    if gene_ids is not None:
        table = read_table(gene_ids, what="A table of gene ids")
        absent = [column for column in ("ensembl_id", "symbol") if column not in table]
        if absent:
            raise ValueError(
                f"A table of gene ids has the columns ensembl_id and symbol; {gene_ids} lacks {', '.join(absent)}."
            )
        linked: dict[str, set[int]] = {}
        for ensembl, symbol in zip(table["ensembl_id"].map(_stem), table["symbol"], strict=True):
            for name, other in ((ensembl, symbol), (symbol, ensembl)):
                if name and name not in known:
                    linked.setdefault(name, set()).update(known.get(other, ()))
        known |= linked
    own: Mapping[str, int] = {gene: i for i, gene in enumerate(data.genes)}
    found = {name: next(iter(places)) for name, places in known.items() if len(places) == 1}
    return {**found, **own}


def _stem(name: str) -> str:
    return name.split(".")[0] if name.startswith("ENS") else name


def _labels(data: PerturbationData, i: int) -> list[str]:
    columns: list[Sequence[str]] = [data.meta[key] for key in ("ensembl_id", "symbol") if key in data.meta]
    return [_stem(str(column[i])) for column in columns if str(column[i])]
