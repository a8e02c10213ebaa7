"""How evaluation grows with shards, conditions and cells, measured here and carried on to 100 million cells on paper.

    python benchmarks/scale.py           # about six minutes on two idle cores; ends with 1 where a bound is not kept
    python benchmarks/scale.py --small   # the same on tiny datasets, to see that it runs; bounds are not judged

A shard is a part of the conditions of one fold, worked on by tasks of its own ('perturbcast evaluate --shards N --shard
K --step means', then '--step cells', then one '--step merge'), as an array job would. Every task is a process that is
charged its CPU seconds and the peak memory that the kernel counted, imports included. CPU seconds hardly depend on who
else uses this machine; wall time does, and is told of tasks one after the other and of two at once.

Three datasets: a small one, one of ten times the conditions, and one of ten times the cells in each condition (controls
in proportion). The start of a task is measured by a task of a shard that has no condition: imports, labels, the split.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import dataclasses
import itertools
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np
import pandas as pd
import scipy.sparse as sp

from perturbcast.schema import PerturbationData, content_hash
from perturbcast.stores import h5ad

OURS = (sys.executable, "-c", "from perturbcast.cli import main; main()")
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
FOLDS = 2  # half of the perturbations are scored
NO_CONDITION = ("--shards", "1000000", "--shard", "1000000", "--step", "means")
CELLS_ON_PAPER, CELLS_PER_CONDITION, GENES_ON_PAPER, DENSITY, TASKS, NODE_GB = 100_000_000, 500, 5000, 0.1, 100, 64


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cost:
    """What a task took: seconds of CPU, and peak memory in GB."""

    cpu: float
    peak: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shards:
    """What the tasks of an array job took.

    Attributes:
        means, cells: a task per shard; together they are its share of the conditions.
        merge: the one task that puts them together.
        wall: seconds from the first to the last task.
    """

    means: list[Cost]
    cells: list[Cost]
    merge: Cost
    wall: float

    @property
    def tasks(self) -> list[Cost]:
        return [*self.means, *self.cells, self.merge]

    @property
    def cpu(self) -> float:
        """CPU seconds of all tasks."""
        return sum(task.cpu for task in self.tasks)

    @property
    def longest(self) -> float:
        """CPU seconds of the longest shard."""
        return max(a.cpu + b.cpu for a, b in zip(self.means, self.cells, strict=True))

    @property
    def shard_peak(self) -> float:
        """GB of the largest task of a shard."""
        return max(task.peak for task in (*self.means, *self.cells))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measured:
    """A dataset and what scoring it took.

    Attributes:
        name: of its row.
        conditions: that are scored.
        genes: of a cell.
        cells: with controls.
        matrix: GB of its values.
        start: of a task without a condition.
        shards: number of shards -> their tasks.
    """

    name: str
    conditions: int
    genes: int
    cells: int
    matrix: float
    start: Cost
    shards: dict[int, Shards]

    def work(self, shards: int) -> float:
        """CPU seconds of all tasks without their starts."""
        of = self.shards[shards]
        return of.cpu - len(of.tasks) * self.start.cpu

    @property
    def filled(self) -> float:
        """Values of a cell that are not zero."""
        return self.matrix * 1e9 / 8 / self.cells


def make_dataset(path: Path, *, conditions: int, cells: int, genes: int, seed: int = 0) -> float:
    """Write seeded log1p counts, ``cells`` per condition and ten times as many controls; GB of the matrix."""
    rng = np.random.default_rng(seed)
    base = rng.lognormal(-2.2, 1.0, size=genes)
    labels = ["control"] * (10 * cells) + [f"P{k:04d}" for k in range(conditions) for _ in range(cells)]
    blocks = [_cells(rng, base, cells) for _ in range(10)]
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
    counts = rng.poisson(rate * rng.gamma(4.0, 0.25, size=(n, 1))).astype(np.float32)
    counts *= 1e4 / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return sp.csr_matrix(np.log1p(counts))


def start(folder: Path, *words: str) -> tuple[subprocess.Popen[bytes], IO[bytes]]:
    """A command of perturbcast in ``folder``, and the file of what it says."""
    said = tempfile.TemporaryFile()  # noqa: SIM115 - 'ended' closes it
    environment = os.environ | ONE_THREAD
    return subprocess.Popen([*OURS, *words], cwd=folder, stdout=said, stderr=said, env=environment), said


def ended(process: subprocess.Popen[bytes], said: IO[bytes]) -> Cost:
    """Wait for a command, or end this script with its message."""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    with said:
        if process.returncode:
            said.seek(0)
            sys.exit(f"{process.args!r} ended with {process.returncode}:\n{said.read().decode()[-2000:]}")
    return Cost(cpu=usage.ru_utime + usage.ru_stime, peak=usage.ru_maxrss / 1e6)


def prepare(folder: Path, *, conditions: int, cells: int, genes: int) -> float:
    """Dataset, one fold of a split, and predictions of one model; GB of the matrix."""
    # elsewhere: the kernel charges a process that is started here with the memory that this one has ever taken
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        made = pool.submit(make_dataset, folder / "scale.h5ad", conditions=conditions, cells=cells, genes=genes)
        size = made.result()
    words = ("--data", "scale.h5ad", "--out", "folds", "--rule", "unseen_perturbation")
    ended(*start(folder, "split", *words, "--folds", str(FOLDS), "--validation", "0.2", "--calibration", "0.2"))
    (folder / "split").mkdir()
    for file in (folder / "folds").glob("fold_0.*"):
        shutil.copy(file, folder / "split")
    of_split = ("--data", "scale.h5ad", "--split", "split")
    ended(*start(folder, "train", *of_split, "--model", "train_mean", "--out", "model"))
    ended(*start(folder, "predict", *of_split, "--model", "model", "--part", "test", "--out", "prediction"))
    return size


def score(folder: Path, *words: str, out: str) -> tuple[subprocess.Popen[bytes], IO[bytes]]:
    """One command 'evaluate' on the fold: its default panel, with ceilings and degenerate predictors."""
    fixed = ("--data", "scale.h5ad", "--split", "split", "--prediction", "prediction", "--part", "test")
    return start(folder, "evaluate", *fixed, "--out", out, *words)


def in_shards(folder: Path, shards: int, *, at_once: int = 1) -> Shards:
    """All tasks of an array job, ``at_once`` of a step together."""
    begun = time.perf_counter()
    out, steps = f"shards_{shards}", []
    for step in ("means", "cells"):
        done = []
        words = ("--shards", str(shards), "--step", step)
        for first in range(1, shards + 1, at_once):
            numbers = range(first, min(first + at_once, shards + 1))
            running = [score(folder, *words, "--shard", str(k), out=out) for k in numbers]
            done += [ended(*task) for task in running]
        steps.append(done)
    merge = ended(*score(folder, "--shards", str(shards), "--step", "merge", out=out))
    return Shards(means=steps[0], cells=steps[1], merge=merge, wall=time.perf_counter() - begun)


def same_bytes(folder: Path, *outs: str) -> None:
    """End this script where the scores below ``outs`` are not the same files."""
    for name, out in itertools.product(("metrics.json", "per_condition.csv", "curves.json"), outs[1:]):
        one, other = (folder / place / "test/split/prediction" / name for place in (outs[0], out))
        if one.read_bytes() != other.read_bytes():
            sys.exit(f"{other} is not {one}: shards do not give the bytes of the whole")


def run(
    scratch: Path, name: str, *, conditions: int, cells: int, genes: int, numbers: Sequence[int], whole: bool = False
) -> Measured:
    """Make a dataset, score it in every number of shards, two of them at once, and print a line of each.

    Args:
        scratch: where.
        name: of the dataset.
        conditions, cells, genes: of ``make_dataset``.
        numbers: of shards; they must give the same bytes.
        whole: score it in memory too; its bytes are then the first.
    """
    folder = scratch / name.replace(" ", "_")
    folder.mkdir()
    matrix = prepare(folder, conditions=conditions, cells=cells, genes=genes)
    n = (conditions + 10) * cells
    print(f"{name}: {conditions // FOLDS:,} conditions scored, {n:,} cells, {genes:,} genes, matrix {matrix:.3f} GB")
    if whole:
        ended(*score(folder, out="in_memory"))  # the first on a machine compiles; code is warm from here on
        of_whole = ended(*score(folder, out="in_memory"))
        row("  whole in memory", of_whole.cpu, None, of_whole.peak)
    begin = ended(*score(folder, *NO_CONDITION, out="nothing"))
    row("  start of a task", begin.cpu, None, begin.peak)
    of_shards = {}
    for shards in numbers:
        at_once = 2 if shards == 2 else 1
        of = of_shards[shards] = in_shards(folder, shards, at_once=at_once)
        said = f"  {shards} shard{'s' * (shards > 1)}, {len(of.tasks)} tasks{', two at once' * (at_once > 1)}"
        row(said, of.cpu, of, max(task.peak for task in of.tasks), starts=len(of.tasks) * begin.cpu)
    same_bytes(folder, *(["in_memory"] if whole else []), *(f"shards_{shards}" for shards in numbers))
    shutil.rmtree(folder)
    return Measured(
        name=name,
        conditions=conditions // FOLDS,
        genes=genes,
        cells=n,
        matrix=matrix,
        start=begin,
        shards=of_shards,
    )


def row(name: str, cpu: float, of: Shards | None, peak: float, *, starts: float = 0.0) -> None:
    """Print a line of the table."""
    parts = (f"{x:9.1f}" for x in (starts, cpu - starts, of.longest, of.merge.cpu, of.wall)) if of else [" " * 45]
    print(f"{name:<32}{cpu:9.1f}{''.join(parts)}{peak:9.2f}", flush=True)


def judge(small: Measured, wide: Measured, deep: Measured) -> bool:
    """Print what was measured beside the bound that it has to keep; whether all are kept."""
    one, two, four = (wide.shards[shards] for shards in (1, 2, 4))
    few = max(small.shards)  # shards whose memory is compared
    path = max(task.cpu for task in four.means) + max(task.cpu for task in four.cells) + four.merge.cpu
    found = (
        ("work is heavy enough: CPU s of 1 shard without starts, at least", -wide.work(1), -20.0),
        ("CPU of 2 shards over that of 1", two.cpu / one.cpu, 1.3),
        ("CPU of 4 shards over that of 1", four.cpu / one.cpu, 1.3),
        ("work of 4 shards over that of 1, starts taken out", wide.work(4) / wide.work(1), 1.15),
        ("longest of 4 shards over all tasks of 1", four.longest / one.cpu, 0.4),
        ("longest tasks of 4 shards and putting together, over the same", path / one.cpu, 0.5),
        ("wall of 2 shards, two at once, over that of 1", two.wall / one.wall, 0.7),
        ("CPU for 10 x the conditions", wide.shards[1].cpu / small.shards[1].cpu, 12.0),
        ("work for 10 x the conditions", wide.work(1) / small.work(1), 12.0),
        ("work for 10 x the cells in each condition", deep.work(1) / small.work(1), 12.0),
        ("memory of a shard for 10 x the conditions", wide.shards[few].shard_peak / small.shards[few].shard_peak, 4.0),
        ("memory of a shard for 10 x the cells", deep.shards[few].shard_peak / small.shards[few].shard_peak, 3.0),
        ("memory of putting together for 10 x the cells", deep.shards[1].merge.peak / small.shards[1].merge.peak, 1.5),
    )
    print()
    for what, value, bound in found:
        limit = f"at most {bound:g}" if bound > 0 else ""
        print(f"{'PASS' if value <= bound else 'FAIL'}  {what} {abs(value):.2f} {limit or f'{-bound:g}'}")
    return all(value <= bound for _, value, bound in found)


def on_paper(small: Measured, wide: Measured, deep: Measured) -> None:
    """Print what three sizes mean for a fourth, one assumption a line.

    Time is f tasks + a conditions + b cells: f is measured, b comes from ten times the cells, a from ten times the
    conditions.
    """
    a_cell = max(deep.work(1) - small.work(1), 0.0) / (deep.cells - small.cells)
    more = wide.work(1) - small.work(1) - a_cell * (wide.cells - small.cells)
    a_condition = max(more, 0.0) / (wide.conditions - small.conditions)
    a_label = max((deep.start.peak - small.start.peak) * 1e9 / (deep.cells - small.cells), 1.0)
    kept = (wide.shards[1].merge.peak - small.shards[1].merge.peak) * 1e9 - a_label * (wide.cells - small.cells)
    a_row = max(kept, 0.0) / (wide.conditions - small.conditions) / wide.genes  # bytes of a condition for each gene
    values, conditions = GENES_ON_PAPER * DENSITY, CELLS_ON_PAPER // CELLS_PER_CONDITION
    a_file_condition = CELLS_PER_CONDITION * a_label + a_row * GENES_ON_PAPER
    of_a_file = int(NODE_GB * 1e9 / a_file_condition) * CELLS_PER_CONDITION
    files = -(-CELLS_ON_PAPER // of_a_file)
    of_cells = CELLS_ON_PAPER * a_cell * values / wide.filled
    of_conditions = conditions * a_condition * GENES_ON_PAPER / wide.genes
    a_label_read = max(deep.start.cpu - small.start.cpu, 0.0) / (deep.cells - small.cells)
    a_start = small.start.cpu + a_label_read * CELLS_ON_PAPER / files
    starts = files * (2 * TASKS + 1) * a_start
    hours = (of_cells + of_conditions + starts) / 3600
    apart = wide.shards[1].merge.cpu / (wide.shards[1].cpu - wide.shards[1].merge.cpu)
    alone = (of_cells + of_conditions) / files * apart / (1 + apart) / 3600
    print(f"\n{CELLS_ON_PAPER:,} cells on paper, assuming")
    for line in (
        f"{a_cell * 1e6:.0f} us a cell and {a_condition * 1e3:.0f} ms a condition, as the three sizes above give them,",
        f"  the first growing with the values of a cell ({wide.filled:.0f} here, {values:.0f} there:",
        f"  {GENES_ON_PAPER} genes, {DENSITY:.0%} of them not zero), the second with the genes ({wide.genes} here)",
        f"{CELLS_PER_CONDITION} cells a condition: {conditions:,} conditions, whose cells lie together in the file",
        "one model, panel 'spine'; ranks among the conditions of one context, of which there are as many as here",
        f"{a_label:.0f} bytes for the labels of a cell, and {a_row:.0f} bytes for each gene of a condition when shards",
        f"  are put together: {NODE_GB} GB hold a file of {of_a_file:,} cells, so {files} files, each with its own",
        "  controls, not counted twice",
        f"a start grows with the labels of its file: {a_start:.0f} s, {2 * TASKS + 1} of them for each file",
        f"{TASKS} tasks at once and a file system that feeds them",
        f"putting a file together is one task, {apart / (1 + apart):.0%} of the work: {alone:.1f} h, beside tasks of",
        "  other files",
    ):
        print(line if line.startswith(" ") else f"- {line}")
    print(f"it takes {hours:.0f} CPU hours: {hours / TASKS:.2f} h on {TASKS} cores. Nothing was run at this size.")


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="tiny datasets, to see that it runs; nothing is judged")
    tiny = parser.parse_args().small
    few, cells, genes = (16, 20, 100) if tiny else (128, 160, 3000)
    heads = ("CPU s", "starts", "work", "longest", "merge", "wall s", "peak GB")
    print(f"{'':<32}{''.join(f'{head:>9}' for head in heads)}")
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        small = run(here, "small", conditions=few, cells=cells, genes=genes, numbers=(1, 4), whole=True)
        wide = run(here, "10 x conditions", conditions=10 * few, cells=cells, genes=genes, numbers=(1, 2, 4))
        deep = run(here, "10 x cells", conditions=few, cells=10 * cells, genes=genes, numbers=(1, 4))
    if tiny:
        print("\ntiny datasets: no bound is judged, and the figures below say nothing")
    kept = tiny or judge(small, wide, deep)
    on_paper(small, wide, deep)
    sys.exit(not kept)


if __name__ == "__main__":
    main()
