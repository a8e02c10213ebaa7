"""Time and memory of gene graphs: 20,000 genes and 2 million edges, where a [gene, gene] array would take 1.6 GB.

    python benchmarks/graphs.py            # about two minutes on one core
    python benchmarks/graphs.py --quick    # small sizes, to see that it runs

Each size runs in a process of its own for its peak memory. Co-expression keeps the k best of every gene, so its time is
that of all pairs; what a model repeats, propagation of [gene, 64] features, is linear in edges. The bounds are 2 GB,
and at most 1.5 times the time per edge at the largest size against the smallest.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import pandas as pd
import scipy.sparse as sp

from perturbcast import graphs
from perturbcast.graphs import coexpression
from perturbcast.schema import PerturbationData

GIGABYTES, SLOWER_PER_EDGE = 2.0, 1.5


def controls(genes: int, cells: int) -> PerturbationData:
    """Control cells with 8 % non-zero values."""
    rng = np.random.default_rng(0)
    held = rng.random((cells, genes), dtype=np.float32) < 0.08
    x = sp.csr_matrix(np.where(held, rng.random((cells, genes), dtype=np.float32), 0))
    obs = pd.DataFrame(
        {"perturbation": "control", "is_control": True, "context": "a"}, index=[f"c{i}" for i in range(cells)]
    )
    meta = {"dataset": "random", "content_hash": "0"}
    return PerturbationData(x=x, genes=tuple(f"G{i}" for i in range(genes)), obs=obs, meta=meta)


def measure(genes: int, cells: int, k: int, queue: Any) -> None:
    """CPU seconds to build, write and read, and propagate, with the peak memory of this process."""
    data = controls(genes, cells)
    start = time.process_time()
    graph = coexpression.build(data, coexpression.Config(k=k, min_correlation=0.0))
    built = time.process_time() - start
    with tempfile.TemporaryDirectory() as folder:
        start = time.process_time()
        graphs.save(graph, Path(folder) / "g")
        graph = graphs.load(Path(folder) / "g")
        filed = time.process_time() - start
    h = np.random.default_rng(1).random((genes, 64), dtype=np.float32)
    graph.propagate(h)
    times = []
    for _ in range(9):
        start = time.process_time()  # others on the machine do not count
        graph.propagate(h)
        times.append(time.process_time() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    queue.put((graph.n_edges, built, filed, min(times), peak))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes")
    quick = parser.parse_args().quick
    genes, cells = (1000, 200) if quick else (20_000, 1000)
    spawn = multiprocessing.get_context("spawn")
    print(f"{'edges':>9}{'build s':>9}{'files s':>9}{'propagate ms':>14}{'ns per edge':>13}{'peak GB':>9}")
    rows = []
    for k in (25, 50, 100):
        queue = spawn.Queue()
        child = spawn.Process(target=measure, args=(genes, cells, k, queue))
        child.start()
        edges, built, filed, step, peak = queue.get()
        child.join()
        rows.append((step / edges, peak))
        print(f"{edges:9d}{built:9.1f}{filed:9.2f}{step * 1e3:14.1f}{step / edges * 1e9:13.1f}{peak:9.2f}")
    ratio = rows[-1][0] / rows[0][0]
    print(f"time per edge, largest against smallest: {ratio:.2f}")
    if max(peak for _, peak in rows) > GIGABYTES or (ratio > SLOWER_PER_EDGE and not quick):
        sys.exit(f"over the bound of {GIGABYTES:g} GB or {SLOWER_PER_EDGE:g} times the time per edge")


if __name__ == "__main__":
    main()
