"""Scoring a pair of files imports what it uses and no more: imports would take longer than the scores."""

from __future__ import annotations

import subprocess
import sys

import anndata
import numpy as np
import pandas as pd
import pytest

HEAVY = (
    *("numba", "pandas", "anndata", "zarr", "dask", "mlflow", "torch", "matplotlib", "rich", "pyarrow", "requests"),
    *("pydantic", "scipy.stats", "scipy.spatial", "scipy.linalg", "numpy.f2py.crackfortran", "numpy.testing._private"),
)


@pytest.fixture
def file(tmp_path):
    rng = np.random.default_rng(0)
    x = np.log1p(rng.poisson(0.5, size=(40, 30))).astype(np.float32)
    obs = pd.DataFrame({"perturbation": ["control"] * 20 + ["A"] * 10 + ["B"] * 10}, index=[f"c{i}" for i in range(40)])
    path = tmp_path / "cells.h5ad"
    anndata.AnnData(x, obs=obs, var=pd.DataFrame(index=[f"G{i}" for i in range(30)])).write_h5ad(path)
    return path


@pytest.mark.parametrize("panel", ["celleval", "all"])
def test_a_pair_of_files_is_scored_without_the_heavy_libraries(file, tmp_path, panel):
    words = ["evaluate", "--panel", panel, "--no-bounds", "--truth", file, "--prediction", file, "--out", tmp_path]
    # a first run may compile
    script = (
        f"import sys; sys.argv[1:] = {list(map(str, words))}; from perturbcast.cli import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
