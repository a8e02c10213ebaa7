"""Embeddings that were made elsewhere (protein, text, a pretrained encoder, drug structure), keyed by target name.

``.npz`` with ``names`` [N] and ``values`` [N, F]; ``.csv``, ``.tsv`` (or ``.gz`` of one) or ``.parquet`` with names in
the first column (for parquet: a column of text) and numbers in the others. No pickles.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pandas as pd

from perturbcast.errors import UsageError
from perturbcast.features.target_features import TargetFeatures
from perturbcast.stores.gene_names import read_table

__all__ = ["of_file"]


def of_file(file: Path) -> TargetFeatures:
    """Features of every target that the file names.

    Raises:
        UsageError: there is no such file, or its kind is not known.
        ValueError: it holds no names, a name twice, or values that are no finite numbers.
    """
    if not file.is_file():
        raise UsageError(f"An embedding is an .npz, .csv, .tsv or .parquet file; {file} does not exist.")
    if file.suffix == ".npz":
        names, values = _npz(file)
    elif file.suffix == ".parquet":
        names, values = _columns(pd.read_parquet(file).reset_index(), file)
    elif file.name.removesuffix(".gz").endswith((".csv", ".tsv")):
        names, values = _columns(read_table(file, what="An embedding"), file)
    else:
        raise UsageError(f"An embedding is an .npz, .csv, .tsv or .parquet file; {file} is none of them.")
    return TargetFeatures(names=names, vectors=values).scaled()


def _npz(file: Path) -> tuple[tuple[str, ...], np.ndarray]:
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
            return tuple(map(str, arrays["names"])), np.asarray(arrays["values"], dtype=np.float64)
    except (KeyError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"An embedding .npz holds 'names' [N] as text and 'values' [N, F] as numbers; {file} does not ({error})."
        ) from error


def _columns(table: pd.DataFrame, file: Path) -> tuple[tuple[str, ...], np.ndarray]:
    text = [c for c in table if not pd.api.types.is_numeric_dtype(table[c])]
    if not text or len(table.columns) < 2:
        raise ValueError(f"An embedding has a column of names and columns of numbers; {file} has not.")
    numbers = table.drop(columns=text[0])
    numbers = numbers.drop(columns=[c for c in numbers if c == "index"])  # the row numbers of a parquet file
    try:
        values = numbers.astype(np.float64).to_numpy()
    except ValueError as error:
        raise ValueError(f"Values of an embedding are numbers; {file}: {error}.") from error
    return tuple(table[text[0]].astype(str)), values
