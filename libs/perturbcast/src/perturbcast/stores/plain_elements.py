"""Tables and mappings of an AnnData file without anndata, which takes longer to import than to read a million labels.

The usual forms of anndata 0.8 to 0.12 (text, numbers, categories, tables, mappings) are read here, to the values that
anndata reads. An element that holds any other form (nullable columns, matrices, older files) is read by anndata.
"""

from __future__ import annotations

from typing import Any

import h5py

__all__ = ["read_element"]


class _Unusual(Exception):
    """The element holds a form that only anndata reads."""


def read_element(stored: h5py.Group | h5py.Dataset) -> Any:
    """An element of the file, for example its ``obs``.

    Raises:
        OSError, KeyError, TypeError: it is damaged, or not of an AnnData file.
    """
    try:
        return _read(stored)
    except _Unusual:
        from anndata.io import read_elem

        return read_elem(stored)


def _read(stored: h5py.Group | h5py.Dataset) -> Any:
    form = stored.attrs.get("encoding-type"), stored.attrs.get("encoding-version")
    if isinstance(stored, h5py.Dataset):
        if form in {("string-array", "0.2.0"), ("string", "0.2.0")}:
            return stored.asstr()[()]
        if form == ("array", "0.2.0"):
            return stored[()]
        if form == ("numeric-scalar", "0.2.0"):
            return stored[()].item()
        raise _Unusual
    if form == ("dict", "0.1.0"):
        return {name: _read(inner) for name, inner in stored.items()}
    if form == ("categorical", "0.2.0"):
        return _categories(stored)
    if form == ("dataframe", "0.2.0"):
        return _table(stored)
    raise _Unusual


def _categories(stored: h5py.Group) -> Any:
    import pandas as pd

    return pd.Categorical.from_codes(
        codes=_read(stored["codes"]),
        categories=_read(stored["categories"]),
        ordered=bool(stored.attrs["ordered"]),
    )


def _table(stored: h5py.Group) -> Any:
    import pandas as pd

    columns, index = list(stored.attrs["column-order"]), stored.attrs["_index"]
    table = pd.DataFrame(
        {name: _read(stored[name]) for name in columns}, index=_read(stored[index]), columns=columns or None
    )
    if index != "_index":
        table.index.name = index
    return table
