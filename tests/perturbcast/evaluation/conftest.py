"""Pairs of files, scored folds and stored evaluations, small and with stated values."""

from __future__ import annotations

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from perturbcast.evaluation import Evaluation, Scored, summarise, write_directory
from perturbcast.evaluation.directory import read_directory
from perturbcast.evaluation.scoring import ScoredMetric
from perturbcast.metrics import metric

METRIC = "celleval.mae@1"


def _make_file(path, *, labels=None, contexts=("one",), genes=12, cells=25, shift=0.0, seed=0, **obs):
    """An .h5ad of cells: label k (control first) raises gene k by 1, plus ``shift`` for all but control."""
    labels = labels or ["control", "A", "B", "A+B"]
    rng = np.random.default_rng(seed)
    blocks, rows = [], []
    for c, context in enumerate(contexts):
        for k, label in enumerate(labels):
            mean = np.full(genes, 1.0 + c)
            if k:
                mean[k] += 1.0
                mean += shift
            blocks.append(np.maximum(mean + 0.2 * rng.standard_normal((cells, genes)), 0))
            rows += [(label, context)] * cells
    table = pd.DataFrame(rows, columns=["perturbation", "context"]).assign(**obs)
    table.index = pd.Index([f"cell{i}" for i in range(len(table))])
    file = anndata.AnnData(
        sp.csr_matrix(np.concatenate(blocks).astype(np.float32)),
        obs=table,
        var=pd.DataFrame(index=[f"G{i}" for i in range(genes)]),
    )
    file.write_h5ad(path)
    return path


def _make_scored(values, *, metric_id=METRIC, floors=None, labels=None):
    """One fold with one metric."""
    values = np.asarray(values, dtype=np.float64)
    labels = labels or [("a", f"P{i}") for i in range(len(values))]
    return Scored(
        labels=tuple(labels),
        metrics=(
            ScoredMetric(
                metric=metric(metric_id),
                per_condition=values,
                chance=None,
                floors=floors or {"control": np.ones_like(values), "train_mean": None},
            ),
        ),
        notes={},
    )


@pytest.fixture
def make_file(tmp_path):
    """Factory of .h5ad files in the test's folder."""
    return lambda name, **options: _make_file(tmp_path / f"{name}.h5ad", **options)


@pytest.fixture(scope="session")
def make_scored():
    """Factory of scored folds with stated values."""
    return _make_scored


@pytest.fixture
def make_stored(tmp_path):
    """Factory of evaluations on disk: value per condition of one metric, of one model on one split."""

    def make(name, values, *, part="validation", split="s", metric_id=METRIC, labels=None, **provenance):
        evaluation: Evaluation = summarise([_make_scored(values, metric_id=metric_id, labels=labels)])
        record = {
            "part": part,
            "dataset_hash": "d",
            "seed": 0,
            "folds": [{"fold": 0, "split_sha256": "f", "model_fingerprint": name}],
        }
        directory = tmp_path / part / split / name
        write_directory(evaluation, directory, provenance=record | provenance)
        return read_directory(directory)

    return make
