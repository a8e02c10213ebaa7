"""Datasets on disk: one ``.h5ad`` on the data contract, whose content hash is checked on every read.

``X`` log1p(counts per 10 000) float32 CSR, ``layers["counts"]`` where they exist, ``obs`` with ``perturbation``,
``is_control``, ``context`` and covariates, ``uns["perturbcast"]`` with source, licence, scale, steps and hash,
``uns["truth"]`` in simulated data. Equal content gives equal bytes, so that DVC sees no change where there is none.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

from perturbcast.errors import UsageError
from perturbcast.schema import PerturbationData, content_hash
from perturbcast.stores.atomic import replacing

if TYPE_CHECKING:  # imported when a file is read or written: it takes a third of a second
    import anndata
    import pandas as pd

__all__ = ["GENE_COLUMNS", "check_content", "meta_of", "read", "read_anndata", "require", "write"]

AS_TEXT = ("targets", "perturbation_type")  # their keys are labels, which HDF5 would split at a slash
GENE_COLUMNS = ("ensembl_id", "symbol")  # lists by gene in ``meta``, columns of ``var`` in the file


def write(data: PerturbationData, path: Path, *, counts: sp.csr_matrix | None = None) -> None:
    """Write a dataset whole.

    Args:
        data: cells on the contract.
        path: the ``.h5ad`` to write or replace.
        counts: [cell, gene] raw counts, where they exist.
    """
    import anndata
    import pandas as pd

    meta = {
        key: json.dumps(value, sort_keys=True) if key in AS_TEXT else _plain(value)
        for key, value in data.meta.items()
        if value is not None and key not in GENE_COLUMNS
    }
    var = pd.DataFrame(
        {column: data.meta[column] for column in GENE_COLUMNS if column in data.meta},
        index=pd.Index(data.genes, dtype=object),
    )
    adata = anndata.AnnData(X=data.x, obs=data.obs.copy(), var=var)
    adata.uns["perturbcast"] = meta
    if data.truth is not None:
        adata.uns["truth"] = dict(data.truth)
    if counts is not None:
        adata.layers["counts"] = sp.csr_matrix(counts)
    with replacing(path) as beside:
        adata.write_h5ad(beside, compression="gzip", compression_opts=1)


def read_anndata(path: Path) -> anndata.AnnData:
    """Anyone's AnnData, in memory. Repeated names are the caller's to refuse, in one error instead of a warning.

    Raises:
        ValueError: the file cannot be read, or is not an AnnData.
    """
    import anndata

    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*names are not unique", category=UserWarning)
            warnings.filterwarnings("ignore", category=anndata.OldFormatWarning)
            return anndata.read_h5ad(path)
    except (OSError, KeyError, TypeError) as error:  # TypeError: an HDF5 file with groups that AnnData does not have
        raise ValueError(
            f"An AnnData is a whole .h5ad file; {path} cannot be read ({str(error).splitlines()[0]}). Make it again."
        ) from error


def read(path: Path) -> PerturbationData:
    """Read a dataset and check its content against its hash; counts are left on disk.

    Raises:
        UsageError: there is no such file.
        ValueError: the file is not on the data contract, or its content is not what its hash says.
    """
    require(path)
    adata = read_anndata(path)
    meta = meta_of(adata.uns, adata.var, path=path)
    truth = adata.uns.get("truth")
    data = PerturbationData(
        x=sp.csr_matrix(adata.X),
        genes=tuple(adata.var_names.astype(str)),
        obs=adata.obs,
        meta=meta,
        truth=None if truth is None else dict(truth),
    )
    check_content(path, found=content_hash(data.x, data.genes, data.obs), said=data.hash)
    return data


def require(path: Path) -> None:
    """Refuse a dataset that is not there.

    Raises:
        UsageError: there is no such file.
    """
    if not path.is_file():
        raise UsageError(
            f"A dataset is an .h5ad file; {path} does not exist. Make it with 'perturbcast import', "
            "'perturbcast import-h5ad' or 'perturbcast simulate'."
        )


def check_content(path: Path, *, found: str, said: str) -> None:
    """Refuse a dataset whose content has another sha256 than the file says.

    Raises:
        ValueError: it was edited.
    """
    if found != said:
        raise ValueError(
            f"A dataset is not edited after import; {path} has content {found[:12]} but says {said[:12]}. "
            "Import it again, or restore it with 'dvc checkout'."
        )


def meta_of(uns: Mapping[str, Any], var: pd.DataFrame, *, path: Path) -> dict[str, Any]:
    """``meta`` of a dataset from what its file holds.

    Raises:
        ValueError: the file is not on the data contract.
    """
    meta = uns.get("perturbcast")
    if not isinstance(meta, Mapping) or "content_hash" not in meta:
        raise ValueError(
            f"A dataset is on the data contract (uns['perturbcast'] says its source and hash); {path} is not. "
            f"Run 'perturbcast import-h5ad {path} --map perturbation=COLUMN context=COLUMN --control LABEL'."
        )
    return {key: json.loads(value) if key in AS_TEXT else _python(value) for key, value in meta.items()} | {
        column: var[column].astype(str).tolist() for column in GENE_COLUMNS if column in var
    }


def _plain(value: Any) -> Any:
    """Lists of text as arrays, which HDF5 keeps; mappings below it likewise."""
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return np.array(list(map(str, value)), dtype=object)
    return value


def _python(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _python(inner) for key, inner in value.items()}
    if isinstance(value, np.ndarray):
        return [str(item) for item in value]
    return value.item() if isinstance(value, np.generic) else value
