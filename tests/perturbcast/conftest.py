"""Unperturbed cells with something to learn, and encoders with untrained weights."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import scipy.sparse as sp

from perturbcast import catalog
from perturbcast.encoders import Encoder
from perturbcast.encoders.encoder import marks, untrained
from perturbcast.schema import content_hash


def _make_cells(make_data, *, cells=120, genes=12, programmes=2, noise=0.2, seed=0):
    """Control cells of one context in which genes rise and fall together, ``programmes`` of them in turn."""
    data = make_data(contexts=("a",), perturbations=("G0",), genes=genes, cells=cells, seed=seed)
    rng = np.random.default_rng(seed)
    activity = rng.standard_normal((cells, max(programmes, 1)))
    x = 3 + noise * rng.standard_normal((cells, genes))
    for gene in range(genes if programmes else 0):
        x[:, gene] += (1 if gene % 4 < 2 else -1) * activity[:, gene % programmes]
    control = data.subset(list(data.obs.index[data.obs["is_control"]]))
    x = sp.csr_matrix(np.clip(x, 0, None).astype(np.float32))
    meta = {**control.meta, "content_hash": content_hash(x, control.genes, control.obs)}
    return dataclasses.replace(control, x=x, meta=meta)


@pytest.fixture(scope="session")
def make_cells(make_data):
    return lambda **changes: _make_cells(make_data, **changes)


def _make_encoder(*, genes=("A", "B", "C", "D"), barcodes=("one", "two"), studies=("made",), seed=0, **fields):
    """An encoder whose weights were drawn and not fitted."""
    import torch

    config = catalog.load("encoders", "masked_genes").Config(**{"width": 3, "hidden": 5} | fields)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = untrained("masked_genes", dataclasses.asdict(config), genes=len(genes))
    return Encoder(
        objective="masked_genes",
        parameters=dataclasses.asdict(config),
        genes=tuple(genes),
        centre=np.full(len(genes), 7.0, dtype=np.float32),
        scale=np.linspace(0.5, 1.5, len(genes), dtype=np.float32),
        weights={name: value.detach().numpy() for name, value in network.named_parameters()},
        cells=marks(barcodes, {}),
        provenance={"studies": list(studies), "cells_sha256": "0" * 64, "dataset": "made"},
    )


@pytest.fixture(scope="session")
def make_encoder():
    return _make_encoder
