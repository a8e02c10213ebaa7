"""Signatures on the data contract: rows that are conditions, and values that already are differences from control.

A signature has no cells and no controls behind it any more. Each context gets one control row of zeros, so that a
delta is the signature itself; nothing about the spread of cells can be asked of such data.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import scipy.sparse as sp

from perturbcast.schema import CONTROL

if TYPE_CHECKING:  # who asks whether data are signatures needs neither
    import anndata
    import pandas as pd

__all__ = ["UNIT", "complete", "neutral_controls"]

UNIT = "condition"  # ``meta["unit"]`` of signatures; that of cells is "cell"
MOST_MISSING = 0.01  # share of genes; signatures that lack more are dropped


def complete(adata: anndata.AnnData, layer: str, steps: list[str]) -> anndata.AnnData:
    """Signatures that hold nearly every gene, and the genes that all of these hold.

    Args:
        adata: the source.
        layer: name of the layer that is not 0 where a value is missing.
        steps: what was done is appended.

    Raises:
        ValueError: there is no such layer.
    """
    if layer not in adata.layers:
        raise ValueError(
            f"Missing values are marked in a layer; {layer!r} is none of this file's: {', '.join(adata.layers) or '-'}."
        )
    missing = sp.csr_matrix(adata.layers[layer]).toarray() != 0
    rows = missing.mean(axis=1) <= MOST_MISSING
    genes = ~missing[rows].any(axis=0)
    steps.append(
        f"dropped {int((~rows).sum())} signatures that lack more than {MOST_MISSING:.0%} of the genes, and "
        f"{int((~genes).sum())} genes that one of the others lacks"
    )
    return adata[rows, genes]


def neutral_controls(obs: pd.DataFrame, x: sp.csr_matrix, steps: list[str]) -> tuple[pd.DataFrame, sp.csr_matrix]:
    """One control row of zeros per context below the signatures.

    Raises:
        ValueError: a condition has more than one row, or a row is a control already.
    """
    import pandas as pd

    repeated = obs.duplicated(["perturbation", "context"])
    if repeated.any() or obs["is_control"].any():
        first = obs[repeated | obs["is_control"]].iloc[0]
        raise ValueError(
            f"Signatures are one row per condition and no controls; {first['perturbation']!r} in {first['context']!r} "
            "is another. Average its rows, or leave it out."
        )
    contexts = sorted(obs["context"].unique())
    added = pd.DataFrame(
        {"perturbation": CONTROL, "is_control": True, "context": contexts},
        index=pd.Index([f"{CONTROL} of {name}" for name in contexts], dtype=object),
    )
    steps.append(f"added {len(contexts)} control rows of zeros, one per context: a signature is a delta already")
    return pd.concat([obs, added]), sp.csr_matrix(sp.vstack([x, sp.csr_matrix((len(contexts), x.shape[1]))]))
