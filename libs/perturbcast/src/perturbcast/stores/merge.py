"""Several datasets as one, over the genes that all of them measure by name: what a cross-dataset split is made on.

Contexts, batches and barcodes get the dataset's id before them (``norman2019:K562``), so that controls are only ever
matched inside their own dataset; the column ``dataset`` says where a cell comes from. Values stay as they are: they
were normalised over all genes of their dataset. The record keeps each source's content hash and gene list.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from perturbcast.errors import UsageError
from perturbcast.schema import PerturbationData, content_hash, repeated
from perturbcast.stores.h5ad import GENE_COLUMNS

__all__ = ["gene_coverage", "merge", "sources_of"]

LABELS = ("perturbation", "is_control")
QUALIFIED = ("context", "batch")


def merge(datasets: Sequence[PerturbationData], *, name: str = "", scale: str = "") -> PerturbationData:
    """Put datasets side by side.

    Args:
        datasets: two or more, with different ids.
        name: id of the result; the ids joined by ``+`` where empty.
        scale: what the values are, in words, where the datasets' own records differ and the caller knows that
            they can be compared; empty where they agree.

    Raises:
        UsageError: fewer than two datasets, or two of one id.
        ValueError: they share no gene, or are in different units or on different scales.
    """
    ids = [data.dataset for data in datasets]
    if len(ids) < 2 or repeated(ids):
        raise UsageError(
            f"Two or more datasets with different ids are merged; got {', '.join(ids) or 'none'}. "
            "Give other files, or import one under another --name."
        )
    for what, key in (("unit", "unit"), ("scale", "scale")):
        found = {data.dataset: str(data.meta.get(key, "")) for data in datasets}
        if len(set(found.values())) > 1 and not (what == "scale" and scale):
            listed = "; ".join(f"{dataset}: {value}" for dataset, value in found.items())
            raise ValueError(
                f"Merged datasets are in one {what}; {listed}. Import them alike"
                + (", or state with --scale what all values are, if they can be compared." if what == "scale" else ".")
            )
    common = set(datasets[0].genes).intersection(*(data.genes for data in datasets[1:]))
    shared = [gene for gene in datasets[0].genes if gene in common]
    if not shared:
        some = "; ".join(f"{data.dataset}: {', '.join(data.genes[:3])}" for data in datasets)
        raise ValueError(
            f"Datasets are matched by gene names and these share none ({some}). Give them names of one namespace "
            "(symbols, or Ensembl ids) before import."
        )
    covariates = [
        column
        for column in datasets[0].obs.columns
        if column not in (*LABELS, *QUALIFIED, "dataset") and all(column in data.obs for data in datasets)
    ]
    covariates = [column for column in covariates if len({str(_unit(data, column)) for data in datasets}) == 1]
    batched = any("batch" in data.obs for data in datasets)
    obs = pd.concat([_labels(data, covariates, batched=batched) for data in datasets])
    x = sp.csr_matrix(
        sp.vstack([data.x[:, pd.Index(data.genes).get_indexer(pd.Index(shared))] for data in datasets]),
        dtype=np.float32,
    )
    x.sort_indices()
    meta: dict[str, Any] = {
        "dataset": name or "+".join(ids),
        "scale": scale or str(datasets[0].meta["scale"]),
        "unit": datasets[0].meta.get("unit", "cell"),
        "preprocessing": [
            *(f"{data.dataset}: {step}" for data in datasets for step in data.meta.get("preprocessing", ())),
            f"merged {', '.join(ids)} over {len(shared)} genes that all measure, by name",
        ],
        "targets": {key: value for data in datasets for key, value in dict(data.meta.get("targets", {})).items()},
        "units": {column: _unit(datasets[0], column) for column in covariates if _unit(datasets[0], column)},
        "uncontrolled": [f"{data.dataset}:{context}" for data in datasets for context in data.uncontrolled],
        "sources": {
            data.dataset: {
                "content_hash": data.hash,
                "genes": list(data.genes),
                **{key: str(data.meta[key]) for key in ("study", "accession", "licence") if key in data.meta},
            }
            for data in datasets
        },
    }
    for column in GENE_COLUMNS:
        holder = next((data for data in datasets if column in data.meta), None)
        if holder is not None:
            of_gene = dict(zip(holder.genes, holder.meta[column], strict=True))
            meta[column] = [of_gene[gene] for gene in shared]
    meta["content_hash"] = content_hash(x, shared, obs)
    return PerturbationData(x=x, genes=tuple(shared), obs=obs, meta=meta)


def _unit(data: PerturbationData, column: str) -> str:
    return str(dict(data.meta.get("units", {})).get(column, ""))


def _labels(data: PerturbationData, covariates: Sequence[str], *, batched: bool) -> pd.DataFrame:
    obs = data.obs[[*LABELS, *covariates]].copy()
    for column in covariates:
        if isinstance(obs[column].dtype, pd.CategoricalDtype):
            obs[column] = obs[column].astype(str)
    obs["perturbation"] = obs["perturbation"].astype(str)
    obs["context"] = f"{data.dataset}:" + data.obs["context"].astype(str)
    if batched:
        own = data.obs["batch"].astype(str) if "batch" in data.obs else pd.Series("", index=obs.index)
        obs["batch"] = f"{data.dataset}:" + own
    obs["dataset"] = data.dataset
    obs.index = pd.Index([f"{data.dataset}:{barcode}" for barcode in obs.index], dtype=object)
    return obs


def sources_of(data: PerturbationData) -> dict[str, Any]:
    """Dataset id -> content hash, genes and study of each part of a merged dataset.

    Raises:
        UsageError: the dataset is not a merged one.
    """
    sources = data.meta.get("sources")
    if not sources or "dataset" not in data.obs:
        raise UsageError(
            f"Several datasets are compared in a merged dataset; {data.dataset!r} is not one. "
            "Make it with 'perturbcast merge A.h5ad B.h5ad'."
        )
    return dict(sources)


def gene_coverage(data: PerturbationData, test: Sequence[str]) -> dict[str, Any]:
    """How far the genes of train datasets and test datasets agree in a merged dataset.

    Returns:
        ``shared`` (genes of the merged file), ``train_only`` and ``test_only`` (measured on one side alone),
        ``not_in_all`` (on both sides, but not in every dataset), the shares of train's and test's genes that are
        shared (0 to 1), and the content hash of every source.

    Raises:
        UsageError: the dataset is not a merged one, or holds no dataset of a name.
    """
    sources = sources_of(data)
    unknown = sorted(set(test) - set(sources))
    if unknown:
        raise UsageError(
            f"Datasets to hold out are datasets of the merged file; {', '.join(unknown)} unknown. "
            f"Known: {', '.join(sorted(sources))}."
        )
    genes = {name: set(source["genes"]) for name, source in sources.items()}
    tested = set().union(*(genes[name] for name in test))
    fitted = set().union(*(genes[name] for name in genes if name not in test))
    shared = len(data.genes)
    return {
        "shared": shared,
        "train_only": len(fitted - tested),
        "test_only": len(tested - fitted),
        "not_in_all": len(fitted & tested) - shared,
        "share_of_train": shared / len(fitted),
        "share_of_test": shared / len(tested),
        "sources": {name: str(source["content_hash"]) for name, source in sources.items()},
    }
