"""How evaluation grows with shards and with cells, measured here and carried on to 100 million cells on paper.

    python benchmarks/scale.py           # 1, 2, 4 shards, then ten times the cells: some minutes on two cores
    python benchmarks/scale.py --small   # the same on a tiny dataset, to see that it runs

A shard is a part of the conditions of one fold, worked on by tasks of its own ('perturbcast evaluate --shards N --shard
K --step means', then '--step cells', then '--step merge'), as an array job would. Every task is a process that is
charged its CPU seconds and the peak memory that the kernel counted, imports included: 'sum' is what all tasks of a row
took, 'longest' what the longest task of each step took, one step after the other, which is the time on a machine per
shard. CPU seconds do not depend on who else uses this machine. The extrapolation prints what it assumes.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import dataclasses
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp

from perturbcast.schema import PerturbationData, content_hash
from perturbcast.stores import h5ad

OURS = (sys.executable, "-c", "from perturbcast.cli import main; main()")
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
SHARDS = (1, 2, 4)
FOLDS = 2  # half of the perturbations are scored
CELLS_ON_PAPER, CELLS_PER_CONDITION, GENES_ON_PAPER, DENSITY, TASKS, NODE_GB = 100_000_000, 500, 5000, 0.1, 100, 64
ROWS_KEPT = (
    20  # of genes, a condition, when shards are put together: means, errors, what the model says, copies of both
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cost:
    """What commands took: seconds of CPU, of all and of the longest task of each step, and peak memory in GB."""

    cpu: float
    longest: float
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
        process = subprocess.Popen(
            [*OURS, *words], cwd=folder, stdout=said, stderr=subprocess.STDOUT, env=os.environ | ONE_THREAD
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            sys.exit(f"{' '.join(words)} ended with {process.returncode}:\n{said.read().decode()[-2000:]}")
    cpu = usage.ru_utime + usage.ru_stime
    return Cost(cpu=cpu, longest=cpu, peak=usage.ru_maxrss / 1e6)


def prepare(folder: Path, *, conditions: int, cells: int, genes: int) -> float:
    """Dataset, one fold of a split, and predictions of one model; GB of the matrix."""
    # elsewhere: the kernel charges a process that is started here with the memory that this one has ever taken
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        made = pool.submit(make_dataset, folder / "scale.h5ad", conditions=conditions, cells=cells, genes=genes)
        size = made.result()
    words = ("--data", "scale.h5ad", "--out", "folds", "--rule", "unseen_perturbation")
    measure(folder, "split", *words, "--folds", str(FOLDS), "--validation", "0.2", "--calibration", "0.2")
    (folder / "split").mkdir()
    for file in (folder / "folds").glob("fold_0.*"):
        shutil.copy(file, folder / "split")
    measure(folder, "train", "--data", "scale.h5ad", "--split", "split", "--model", "train_mean", "--out", "model")
    words = ("--data", "scale.h5ad", "--split", "split", "--out", "prediction")
    measure(folder, "predict", *words, "--model", "model", "--part", "test")
    return size


def score(folder: Path, *words: str, out: str = "whole") -> Cost:
    """One command 'evaluate' on the fold."""
    fixed = ("--data", "scale.h5ad", "--prediction", "prediction", "--part", "test", "--no-bounds", "--panel", "spine")
    return measure(folder, "evaluate", *fixed, "--split", "split", "--out", out, *words)


def in_shards(folder: Path, shards: int) -> Cost:
    """All tasks of an array job, one after the other; they must give the bytes of the whole."""
    out, steps = f"shards_{shards}", []
    for step in ("means", "cells"):
        words = ("--shards", str(shards), "--step", step)
        steps.append([score(folder, *words, "--shard", str(k), out=out) for k in range(1, shards + 1)])
    steps.append([score(folder, "--shards", str(shards), "--step", "merge", out=out)])
    for name in ("metrics.json", "per_condition.csv", "curves.json"):
        whole, merged = (folder / place / "test/split/prediction" / name for place in ("whole", out))
        if whole.read_bytes() != merged.read_bytes():
            sys.exit(f"{merged} is not {whole}: shards do not give the bytes of the whole")
    return Cost(
        cpu=sum(task.cpu for tasks in steps for task in tasks),
        longest=sum(max(task.cpu for task in tasks) for tasks in steps),
        peak=max(task.peak for tasks in steps for task in tasks),
    )


def row(name: str, cost: Cost, *more: str) -> None:
    """Print a line of the table."""
    print(f"{name:<32}{cost.cpu:9.1f}{cost.longest:9.1f}{cost.peak:9.2f}", *more, flush=True)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Size:
    """A dataset: conditions that are scored, genes, cells with controls, and GB of its matrix."""

    conditions: int
    genes: int
    cells: int
    matrix: float

    @property
    def density(self) -> float:
        """Values of a cell that are not zero."""
        return self.matrix * 1e9 / 8 / self.cells


def each_task(costs: dict[int, Cost]) -> float:
    """CPU seconds of a further task: its start, labels and controls, from the fewest and the most shards."""
    few, many = min(costs), max(costs)
    return max(costs[many].cpu - costs[few].cpu, 0.0) / (2 * (many - few))


def work(costs: dict[int, Cost]) -> float:
    """CPU seconds without those that every task takes again."""
    few = min(costs)
    return costs[few].cpu - (2 * few + 1) * each_task(costs)


def on_paper(few: tuple[Size, dict[int, Cost]], many: tuple[Size, dict[int, Cost]]) -> None:
    """Print what two sizes mean for a third, one assumption a line.

    Time is f tasks + a conditions + b cells: f from the numbers of shards, a and b from the two sizes.
    """
    (small, costs), (large, more) = few, many
    shards = max(costs)
    a_cell = max(work(more) - work(costs), 0.0) / (large.cells - small.cells)
    a_condition = max(work(costs) - a_cell * small.cells, 0.0) / small.conditions
    a_label = max((more[shards].peak - costs[shards].peak) * 1e9 / (large.cells - small.cells), 1.0)
    values, conditions = GENES_ON_PAPER * DENSITY, CELLS_ON_PAPER // CELLS_PER_CONDITION
    by_labels = int(NODE_GB * 1e9 / a_label)
    by_means = int(NODE_GB * 1e9 / (ROWS_KEPT * GENES_ON_PAPER * 8)) * CELLS_PER_CONDITION
    files = -(-CELLS_ON_PAPER // min(by_labels, by_means))
    of_cells = CELLS_ON_PAPER * a_cell * values / large.density
    of_conditions = conditions * a_condition * GENES_ON_PAPER / large.genes
    hours = (of_cells + of_conditions + 2 * TASKS * each_task(more)) / 3600
    print(f"\n{CELLS_ON_PAPER:,} cells on paper, assuming")
    for line in (
        f"{a_cell * 1e6:.0f} us a cell and {a_condition * 1e3:.0f} ms a condition, as the two sizes above give them,",
        f"  the first growing with the values of a cell ({large.density:.0f} here, {values:.0f} there:",
        f"  {GENES_ON_PAPER} genes, {DENSITY:.0%} of them not zero), the second with the genes ({large.genes} here);",
        f"  {each_task(more):.1f} s a task for its start, labels and controls",
        f"{CELLS_PER_CONDITION} cells a condition: {conditions:,} conditions, whose cells lie together in the file",
        "one model, panel 'spine' without ceilings; ranks among the conditions of one file (their number squared)",
        f"a task takes {a_label:.0f} bytes for each cell of its file, as between the two sizes above (labels, and",
        f"  controls, which grow with the cells here): {NODE_GB} GB hold a file of {by_labels:,} cells",
        f"putting together keeps {ROWS_KEPT} rows of genes a condition: {NODE_GB} GB hold a file of {by_means:,} cells",
        f"so {files} files of {CELLS_ON_PAPER // files:,} cells, each with its own controls, not counted twice",
        f"{TASKS} tasks at once and a file system that feeds them; the train mean and putting together, which are not",
        "  divided, run beside the tasks of other files",
    ):
        print(line if line.startswith(" ") else f"- {line}")
    print(f"it takes {hours:.0f} CPU hours: {hours / TASKS:.2f} h on {TASKS} cores. Nothing was run at this size.")


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true")
    small = parser.parse_args().small
    size = {"conditions": 16, "cells": 20, "genes": 100} if small else {"conditions": 80, "cells": 80, "genes": 2000}
    print(f"{'':<32}{'CPU s':>9}{'longest':>9}{'peak GB':>9}")
    with tempfile.TemporaryDirectory() as scratch:
        known = {"conditions": size["conditions"] // FOLDS, "genes": size["genes"]}
        measured: list[tuple[Size, dict[int, Cost]]] = []
        for times in (1, 10):
            folder = Path(scratch) / str(times)
            folder.mkdir()
            gb = prepare(folder, **{**size, "cells": times * size["cells"]})
            one = Size(cells=(size["conditions"] + 10) * size["cells"] * times, matrix=gb, **known)
            whole = score(folder)  # the first compiles; code is warm from here on
            if times == 1:
                start, whole = measure(folder, "evaluate", "--help"), score(folder)
                row("start alone", start)
            row(f"{one.cells:,} cells, whole fold", whole, f"  matrix {gb:.3f} GB")
            of_shards = {}
            for shards in SHARDS:
                of_shards[shards] = in_shards(folder, shards)
                row(f"{one.cells:,} cells, {shards} shards", of_shards[shards], "  the bytes of the whole")
            measured.append((one, of_shards))
        (_, of_few), (_, of_many) = few, many = measured
        for one, costs in measured:
            print(
                f"{each_task(costs):.2f} CPU s a further task of {one.cells:,} cells; {work(costs):.1f} CPU s of work"
            )
        print(f"{work(of_many) / work(of_few):.1f} x the work for 10 x the cells")
        on_paper(few, many)


if __name__ == "__main__":
    main()
