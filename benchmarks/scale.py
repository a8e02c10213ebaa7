"""How evaluation grows with shards and with cells, measured here and carried on to 100 million cells on paper.

    python benchmarks/scale.py           # 1, 2, 4 shards, then ten times the cells: some minutes on two cores
    python benchmarks/scale.py --small   # the same on a tiny dataset, to see that it runs

A shard is a fold of a split: held-out conditions that are scored on their own ('perturbcast evaluate --executor dask'
gives each to a worker). Every row is a process of its own that is charged the CPU seconds, with those of its workers,
and the peak memory that the kernel counted, imports included. The extrapolation prints what it assumes.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp

from perturbcast.schema import PerturbationData, content_hash
from perturbcast.stores import h5ad

OURS = (sys.executable, "-c", "from perturbcast.cli import main; main()")
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
FOLDS = 4
CELLS_ON_PAPER, CELLS_PER_CONDITION, GENES_ON_PAPER, DENSITY, TASKS, NODE_GB = 100_000_000, 500, 5000, 0.1, 100, 64


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cost:
    """What a command took: seconds on the wall and of CPU, peak memory in GB."""

    wall: float
    cpu: float
    peak: float


def make_dataset(path: Path, *, conditions: int, cells: int, genes: int, seed: int = 0) -> float:
    """Write seeded log1p counts, ``cells`` per condition and ten times as many controls; GB of the matrix."""
    rng = np.random.default_rng(seed)
    base = rng.lognormal(-2.2, 1.0, size=genes)
    labels = ["control"] * (10 * cells) + [f"P{k:04d}" for k in range(conditions) for _ in range(cells)]
    blocks = [_cells(rng, base, 10 * cells)]
    blocks += [
        _cells(rng, base * np.exp(rng.normal(0, 0.5, genes) * (rng.random(genes) < 0.1)), cells)
        for _ in range(conditions)
    ]
    x = sp.csr_matrix(sp.vstack(blocks, format="csr"))
    obs = pd.DataFrame({"perturbation": labels, "context": "one"}, index=[f"cell{i:07d}" for i in range(len(labels))])
    obs["is_control"] = obs["perturbation"] == "control"
    names = [f"G{i}" for i in range(genes)]
    meta = {
        "dataset": "scale",
        "scale": "log1p(counts per 10 000)",
        "unit": "cell",
        "preprocessing": ["made by benchmarks/scale.py"],
        "content_hash": content_hash(x, names, obs),
    }
    h5ad.write(PerturbationData(x=x, genes=tuple(names), obs=obs, meta=meta, truth=None), path)
    return (x.data.nbytes + x.indices.nbytes) / 1e9


def _cells(rng: np.random.Generator, rate: np.ndarray, n: int) -> sp.csr_matrix:
    counts = rng.poisson(rate * rng.gamma(2.0, 0.5, size=(n, len(rate)))).astype(np.float32)
    counts *= 1e4 / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return sp.csr_matrix(np.log1p(counts))


def measure(folder: Path, *words: str) -> Cost:
    """Run a command of perturbcast in ``folder``, or end this script with its message."""
    with tempfile.TemporaryFile() as said:
        started = time.perf_counter()
        process = subprocess.Popen(
            [*OURS, *words], cwd=folder, stdout=said, stderr=subprocess.STDOUT, env=os.environ | ONE_THREAD
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            sys.exit(f"{' '.join(words)} ended with {process.returncode}:\n{said.read().decode()[-2000:]}")
    return Cost(wall=wall, cpu=usage.ru_utime + usage.ru_stime, peak=usage.ru_maxrss / 1e6)


def prepare(folder: Path, *, conditions: int, cells: int, genes: int) -> float:
    """Dataset, split of four folds, and predictions of one model; GB of the matrix."""
    size = make_dataset(folder / "scale.h5ad", conditions=conditions, cells=cells, genes=genes)
    words = ("--data", "scale.h5ad", "--out", "split", "--rule", "unseen_perturbation")
    measure(folder, "split", *words, "--folds", str(FOLDS), "--validation", "0.2", "--calibration", "0.2")
    measure(folder, "train", "--data", "scale.h5ad", "--split", "split", "--model", "train_mean", "--out", "model")
    words = ("--data", "scale.h5ad", "--split", "split", "--out", "prediction")
    measure(folder, "predict", *words, "--model", "model", "--part", "test")
    for shards in (1, 2):
        (folder / f"split{shards}").mkdir()
        for fold in range(shards):
            for file in (folder / "split").glob(f"fold_{fold}.*"):
                shutil.copy(file, folder / f"split{shards}")
    return size


def score(folder: Path, *words: str, split: str = "split") -> Cost:
    fixed = ("--data", "scale.h5ad", "--prediction", "prediction", "--part", "test", "--no-bounds", "--panel", "spine")
    return measure(folder, "evaluate", *fixed, "--split", split, "--out", "scores", *words)


def row(name: str, cost: Cost, *more: str) -> None:
    print(f"{name:<28}{cost.wall:9.1f}{cost.cpu:9.1f}{cost.peak:9.2f}", *more)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Size:
    """A dataset: conditions, genes, cells with controls, and GB of its matrix."""

    conditions: int
    genes: int
    cells: int
    matrix: float

    @property
    def density(self) -> float:
        """Values of a cell that are not zero."""
        return self.matrix * 1e9 / 8 / self.cells


def on_paper(start: Cost, few: tuple[Size, Cost], many: tuple[Size, Cost]) -> None:
    """Print what two sizes mean for a third, one assumption a line.

    Time is start + a conditions + b cells, of which the two sizes (equal conditions) give a and b.
    """
    (small, cost), (large, more) = few, many
    a_cell = max(more.cpu - cost.cpu, 0.0) / (large.cells - small.cells)
    a_condition = max(cost.cpu - start.cpu - a_cell * small.cells, 0.0) / small.conditions
    memory = max((more.peak - cost.peak) / (large.matrix - small.matrix), 1.0)
    values, conditions = GENES_ON_PAPER * DENSITY, CELLS_ON_PAPER // CELLS_PER_CONDITION
    per_shard = int(NODE_GB * 1e9 / memory / (values * 8))
    shards = max(-(-CELLS_ON_PAPER // per_shard), TASKS)
    of_cells = CELLS_ON_PAPER * a_cell * values / large.density
    of_conditions = conditions * a_condition * GENES_ON_PAPER / large.genes
    hours = (of_cells + of_conditions + shards * start.cpu) / 3600
    print(f"\n{CELLS_ON_PAPER:,} cells on paper, assuming")
    for line in (
        f"{a_cell * 1e6:.0f} us a cell and {a_condition * 1e3:.0f} ms a condition, as the two sizes above give them,",
        f"  the first growing with the values of a cell ({large.density:.0f} here, {values:.0f} there:",
        f"  {GENES_ON_PAPER} genes, {DENSITY:.0%} of them not zero), the second with the genes ({large.genes} here)",
        f"{CELLS_PER_CONDITION} cells a condition: {conditions:,} conditions, whose ranks are among those of a shard",
        "one model, panel 'spine' without ceilings",
        "a process reads its whole file, so that a shard is a file with its own controls, which are not counted twice",
        f"a process takes {memory:.1f} times its matrix (8 bytes a value; reading and hashing copy it), as between the",
        f"  two sizes above: {NODE_GB} GB hold {per_shard:,} cells; {shards} shards",
        f"a file system that feeds {TASKS} tasks at once",
    ):
        print(line if line.startswith(" ") else f"- {line}")
    print(f"it takes {hours:.0f} CPU hours: {hours / TASKS:.2f} h on {TASKS} cores. Nothing was run at this size.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true")
    small = parser.parse_args().small
    size = {"conditions": 16, "cells": 20, "genes": 100} if small else {"conditions": 80, "cells": 80, "genes": 2000}
    print(f"{'':<28}{'wall s':>9}{'CPU s':>9}{'peak GB':>9}")
    with tempfile.TemporaryDirectory() as scratch:
        few, many = Path(scratch) / "few", Path(scratch) / "many"
        few.mkdir()
        many.mkdir()
        gb = prepare(few, **size)
        score(few)  # compiled code is warm from here on
        start = measure(few, "evaluate", "--help")
        row("start alone", start)
        by_shards = {shards: score(few, split=f"split{shards}") for shards in (1, 2)} | {FOLDS: score(few)}
        for shards, cost in by_shards.items():
            each = (cost.cpu - by_shards[1].cpu) / (shards - 1) if shards > 1 else 0.0
            row(f"{shards} shards, one process", cost, f"  {each:.2f} CPU s each shard after the first" * (shards > 1))
        if importlib.util.find_spec("distributed"):
            row(f"{FOLDS} shards, Dask workers", score(few, "--executor", "dask"), "  peak of the largest process")
        else:
            print(f"{FOLDS} shards, Dask workers: the extra 'dask' is not installed (PYTHONPATH=.venv-dask finds it)")
        cells = (size["conditions"] + 10) * size["cells"]
        known = {"conditions": size["conditions"], "genes": size["genes"]}
        small_one = Size(cells=cells, matrix=gb, **known)
        large_one = Size(cells=10 * cells, matrix=prepare(many, **{**size, "cells": 10 * size["cells"]}), **known)
        large = score(many)
        row(f"{cells:,} cells", by_shards[FOLDS], f"  matrix {gb:.3f} GB")
        ratio = (large.cpu - start.cpu) / (by_shards[FOLDS].cpu - start.cpu)
        more = f"  matrix {large_one.matrix:.3f} GB; {ratio:.1f} x the time for 10 x the cells"
        row(f"{10 * cells:,} cells", large, more)
        on_paper(start, (small_one, by_shards[FOLDS]), (large_one, large))


if __name__ == "__main__":
    main()
