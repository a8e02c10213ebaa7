"""Another project's harness through the front door: served, exported by the client, scored by the real cell-eval."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import cdist

from perturbcast import splits
from perturbcast.evaluation.parity import parity
from perturbcast.models.linear import Config
from perturbcast.training import fit, save_model

BIN = Path(sys.executable).parent
PEER = "cell-eval==0.8.2"
SPREAD = "celleval.pearson_edistance@1"
# the folder that benchmarks/evaluate.py keeps the peer in
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "perturbcast-benchmarks" / "cell-eval"
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS", "POLARS_MAX_THREADS"), "1")


@pytest.fixture(scope="module")
def cell_eval():
    """The real cell-eval in an environment of its own, made once."""
    if not (CACHE / "ready").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", CACHE], check=True, capture_output=True)
        words = [CACHE / "bin" / "python", "-m", "pip", "install", "--quiet", PEER]
        made = subprocess.run(words, capture_output=True, text=True, check=False, timeout=900)
        if made.returncode:
            pytest.skip(f"{PEER} cannot be installed from the package index: {made.stderr[-200:]}")
        (CACHE / "ready").touch()
    return CACHE / "bin" / "cell-eval"


def run(*words):
    done = subprocess.run(
        [str(word) for word in words],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env=os.environ | ONE_THREAD,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


@pytest.mark.slow
def test_cell_eval_itself_is_permissive_but_for_what_draws_its_graphs(cell_eval, gpl_environment):
    """It runs as a program of its own on files; nothing of ours is in its environment."""
    assert gpl_environment(cell_eval.parents[1]) == ["igraph"]


@pytest.mark.slow
def test_cell_eval_scores_exported_cells_as_we_do(make_data, start_serve, cell_eval, tmp_path):
    data = make_data(perturbations=("G0", "G1", "G2", "G3"), genes=30, cells=40, noise=0.3)
    split = splits.make(data, "unseen_context", seed=1)[0]
    model = fit(data, split, kind="linear", plugin="linear", config=Config(components=2), seed=0)
    save_model(model, tmp_path / "linear")

    here = data.obs["context"] == split.held_out
    labels = data.obs["perturbation"].astype(str).where(~data.obs["is_control"], "non-targeting")
    obs = pd.DataFrame({"target_gene": labels, "cell_type": data.obs["context"].astype(str)})
    truth = anndata.AnnData(data.x[here.to_numpy()], obs=obs[here], var=pd.DataFrame(index=list(data.genes)))
    truth.write_h5ad(tmp_path / "real.h5ad")
    conditions = tmp_path / "conditions.csv"
    rows = [f"{c.perturbation},{c.context}" for c in split.conditions["test"]]
    conditions.write_text("\n".join(["perturbation,context", *rows]) + "\n")

    with start_serve("--model", str(tmp_path / "linear")) as address:
        said = run(
            *(BIN / "perturbcast-client", "export", "linear", "--address", address, "--conditions", conditions),
            *("--controls", tmp_path / "real.h5ad", "--perturbation-key", "target_gene", "--context-key", "cell_type"),
            *("--control-label", "non-targeting", "--layout", "cell-eval", "--cells", 40),
            *("--out", tmp_path / "pred.h5ad"),
        )
    assert said == f"{len(rows)} conditions in {tmp_path / 'pred.h5ad'}\n"

    run(
        *(cell_eval, "run", "-ap", tmp_path / "pred.h5ad", "-ar", tmp_path / "real.h5ad", "-o", tmp_path / "theirs"),
        *("--pert-col", "target_gene", "--control-pert", "non-targeting", "--profile", "full", "--num-threads", 1),
        *("--skip-metrics", "clustering_agreement"),  # Leiden: two runs of it differ
    )
    verdicts = parity(
        *(tmp_path / name for name in ("real.h5ad", "pred.h5ad", "theirs")),
        perturbation_key="target_gene",
        context_key=None,
        control_label="non-targeting",
    )
    theirs = [verdict for verdict in verdicts if verdict.metric_id.startswith("celleval") and verdict.n]
    assert len(theirs) >= 25
    assert [verdict for verdict in theirs if verdict.status != "PASS" and verdict.metric_id != SPREAD] == []

    # the reference averages distances in float32 and correlates the small differences of these means
    files = {name: cells_by_label(tmp_path / f"{name}.h5ad") for name in ("real", "pred")}
    run(
        *(BIN / "perturbcast", "evaluate", "--truth", tmp_path / "real.h5ad", "--prediction", tmp_path / "pred.h5ad"),
        *("--perturbation-key", "target_gene", "--control-label", "non-targeting", "--context-key", "cell_type"),
        *("--panel", "celleval", "--out", tmp_path / "ours"),
    )
    ours = pd.read_csv(tmp_path / "ours" / "per_condition.csv")
    printed = pd.read_csv(tmp_path / "theirs" / "results.csv")["pearson_edistance"]
    scored = ours.loc[ours["metric_id"] == SPREAD, "value"]
    assert len(scored) == len(printed) == len(rows)
    np.testing.assert_allclose(scored, correlation(files, mean_distance), rtol=0, atol=1e-6)
    np.testing.assert_allclose(printed, correlation(files, mean_distance_in_float32), rtol=0, atol=1e-6)


def cells_by_label(path):
    """Label -> cells [cell, gene] float32 of an exported file."""
    data = anndata.read_h5ad(path)
    labels = data.obs["target_gene"].astype(str).to_numpy()
    return {label: data.X[labels == label].toarray() for label in np.unique(labels)}


def correlation(files, mean):
    """Pearson, real against predicted, of the E-distances 2 E|a - c| - E|a - a'| - E|c - c'| to the control cells."""

    def energies(cells):
        control = cells["non-targeting"]
        return [
            2 * mean(x, control) - mean(x, x) - mean(control, control)
            for label, x in cells.items()
            if label != "non-targeting"
        ]

    return np.corrcoef(energies(files["real"]), energies(files["pred"]))[0, 1]


def mean_distance(one, other):
    """Mean Euclidean distance over all pairs of cells, in float64."""
    return cdist(one.astype(np.float64), other.astype(np.float64)).mean()


def mean_distance_in_float32(one, other):
    """The same as scikit-learn takes it of float32 cells: squares in float64, root and mean in float32."""
    a, b = one.astype(np.float64), other.astype(np.float64)
    squares = (a**2).sum(axis=1)[:, None] - 2 * a @ b.T + (b**2).sum(axis=1)
    distances = np.sqrt(np.maximum(squares, 0).astype(np.float32))
    if one is other:
        np.fill_diagonal(distances, 0)
    return distances.mean()
