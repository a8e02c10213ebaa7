"""An AnnData as a lab would bring it: own column names, raw counts, a non-targeting control."""

from __future__ import annotations

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from perturbcast.stores.contract import ColumnMapping


def _make_adata(*, cells=25, contexts=("K562", "RPE1"), labels=("non-targeting", "TP53", "MYC_KLF1"), genes=5, seed=0):
    rows = [(label, context) for context in contexts for label in labels for _ in range(cells)]
    obs = pd.DataFrame(rows, columns=["target_gene", "line"], index=[f"bc{i}" for i in range(len(rows))])
    obs["umis"] = 1000.0
    counts = np.random.default_rng(seed).poisson(3.0, (len(rows), genes)) + 1
    var = pd.DataFrame(index=[f"gene{i}" for i in range(genes)])
    return anndata.AnnData(X=sp.csr_matrix(counts.astype(np.float32)), obs=obs, var=var)


def _make_mapping(**changes):
    values = {"perturbation": "target_gene", "context": "line", "control": ("non-targeting",), "separator": "_"}
    return ColumnMapping(**(values | changes))


@pytest.fixture(scope="session")
def make_adata():
    """Factory of source files in memory."""
    return _make_adata


@pytest.fixture(scope="session")
def make_mapping():
    """Factory of column mappings that fit ``make_adata``."""
    return _make_mapping
