"""What an evaluation costs, beside cell-eval 0.8.2 on the same files, in one run.

    python benchmarks/evaluate.py            # 50 conditions x 200 cells + 1,000 controls, 2,000 genes: two minutes
    python benchmarks/evaluate.py --large    # 200 x 100 + 2,000, 5,000 genes: ten minutes
    python benchmarks/evaluate.py --cells    # ours alone as cells grow: how memory follows

cell-eval runs in an environment of its own, which the first run makes under --cache (it needs the package index);
both run as subprocesses with one thread, one after the other, and are charged the CPU seconds and the peak memory that
the kernel counted, imports included. Compiled code of both is warm: each runs once on a tiny pair before. The last
column says whether every value of the shared metrics agrees ('perturbcast parity').
"""

from __future__ import annotations

import argparse
import functools
import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import scipy.sparse as sp

PEER = "cell-eval==0.8.2"
SMALL, LARGE, TINY = (50, 200, 1000, 2000), (200, 100, 2000, 5000), (4, 20, 40, 50)
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
ONE_THREAD |= {"POLARS_MAX_THREADS": "1"}


def write_pair(folder: Path, *, conditions: int, cells: int, controls: int, genes: int, seed: int = 0) -> None:
    """A seeded pair: overdispersed counts, 5 % of genes changed per condition, prediction with 0.7 of each effect."""
    rng = np.random.default_rng(seed)
    base = rng.lognormal(-1.5, 1.2, size=genes)
    effects = rng.normal(0.0, 1.0, size=(conditions, genes)) * (rng.random((conditions, genes)) < 0.05)
    labels = ["non-targeting"] * controls + [f"P{k:03d}" for k in range(conditions) for _ in range(cells)]
    obs = pd.DataFrame({"target": labels}, index=[f"cell{i}" for i in range(len(labels))])
    for name, strength in (("real", 1.0), ("pred", 0.7)):
        control_seed, own = np.random.default_rng(seed + 1), np.random.default_rng(seed + 2 + (name == "pred"))
        blocks = [_cells(control_seed, base, controls)]  # both files hold the same controls
        blocks += [_cells(own, base * np.exp(strength * effect), cells) for effect in effects]
        var = pd.DataFrame(index=[f"G{i}" for i in range(genes)])
        anndata.AnnData(sp.vstack(blocks, format="csr"), obs=obs, var=var).write_h5ad(folder / f"{name}.h5ad")


def _cells(rng: np.random.Generator, rate: np.ndarray, n: int) -> sp.csr_matrix:
    counts = rng.poisson(rate * rng.gamma(2.0, 0.5, size=(n, len(rate)))).astype(np.float32)
    counts *= 1e4 / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return sp.csr_matrix(np.log1p(counts))


def measure(words: list[str]) -> tuple[float, float]:
    """CPU seconds and peak memory (GB) of a command, or the end of this script with its message."""
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(words, stdout=said, stderr=subprocess.STDOUT, env=os.environ | ONE_THREAD)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            sys.exit(f"{' '.join(words)} ended with {process.returncode}:\n{said.read().decode()[-2000:]}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1e6


def peer_python(cache: Path) -> Path:
    """Python of the environment with cell-eval, made on first use."""
    python = cache / "cell-eval" / "bin" / "python"
    if not (cache / "cell-eval" / "ready").exists():
        print(f"making the environment of {PEER} in {cache / 'cell-eval'}")
        venv.create(cache / "cell-eval", with_pip=True, clear=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", PEER], check=True)
        (cache / "cell-eval" / "ready").touch()
    return python


OURS = (sys.executable, "-c", "from perturbcast.cli import main; main()")


@functools.cache
def without_bounds() -> tuple[str, ...]:
    """The option that leaves out ceilings and degenerate predictors, which the peer has no counterpart of."""
    said = subprocess.run([*OURS, "evaluate", "--help"], capture_output=True, text=True, check=True).stdout
    return ("--no-bounds",) if "--no-bounds" in said else ()


def ours(folder: Path, panel: str) -> list[str]:
    command = [*OURS, "evaluate", "--panel", panel, "--out", str(folder / panel), *without_bounds()]
    files = ["--truth", str(folder / "real.h5ad"), "--prediction", str(folder / "pred.h5ad")]
    keys = ["--perturbation-key", "target", "--control-label", "non-targeting"]
    return [*command, *files, *keys]


def theirs(folder: Path, python: Path) -> list[str]:
    files = ["-ap", str(folder / "pred.h5ad"), "-ar", str(folder / "real.h5ad"), "-o", str(folder / "cell-eval")]
    keys = ["--pert-col", "target", "--control-pert", "non-targeting", "--profile", "full", "--num-threads", "1"]
    return [str(python), "-m", "cell_eval", "run", *files, *keys]


def beside(size: tuple[int, int, int, int], python: Path) -> None:
    conditions, cells, controls, genes = size
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for conditions_, cells_, controls_, genes_ in (TINY, size):  # the first to warm compiled code
            write_pair(folder, conditions=conditions_, cells=cells_, controls=controls_, genes=genes_)
            rows = {"cell-eval": measure(theirs(folder, python))}
            rows |= {f"ours, {panel}": measure(ours(folder, panel)) for panel in ("celleval", "all", "spine")}
        pair = ["--truth", str(folder / "real.h5ad"), "--prediction", str(folder / "pred.h5ad")]
        words = ["parity", *pair, "--reference", str(folder / "cell-eval"), "--perturbation-key", "target"]
        gate = [*OURS, *words]
        done = subprocess.run(gate, capture_output=True, text=True, check=False, env=os.environ | ONE_THREAD)
        print(f"{conditions} conditions x {cells} cells + {controls} controls, {genes} genes")
        print(f"{'':<18}{'CPU s':>8}{'ratio':>8}{'GB':>8}{'ratio':>8}")
        seconds, memory = rows["cell-eval"]
        for name, (cpu, peak) in rows.items():
            print(f"{name:<18}{cpu:8.2f}{seconds / cpu:8.1f}{peak:8.2f}{memory / peak:8.1f}")
        print(f"values: {(done.stdout.strip().splitlines() or [done.stderr.strip()])[-1]}")
        for line in done.stdout.splitlines():
            if " FAIL " in line:
                print(line)


def growth() -> None:
    """CPU and memory of every panel as cells grow tenfold: what is read grows, what is added to it hardly."""
    print(f"{'cells':>8}{'both X, GB':>12}{'dense, GB':>12}{'CPU s':>8}{'GB':>8}{'beyond X':>10}")
    for cells in (40, 400):
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            write_pair(folder, conditions=20, cells=cells, controls=5 * cells, genes=2000)
            file = anndata.read_h5ad(folder / "real.h5ad")
            stored = (file.X.data.nbytes + file.X.indices.nbytes) * 2 / 1e9
            dense = file.n_obs * file.n_vars * 4 * 2 / 1e9
            cpu, peak = measure(ours(folder, "all"))
            print(f"{file.n_obs:8d}{stored:12.3f}{dense:12.3f}{cpu:8.2f}{peak:8.2f}{peak - stored:10.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--cells", action="store_true")
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "perturbcast-benchmarks")
    options = parser.parse_args()
    if options.cells:
        growth()
        return
    beside(LARGE if options.large else SMALL, peer_python(options.cache))


if __name__ == "__main__":
    main()
