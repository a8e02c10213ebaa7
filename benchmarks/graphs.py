"""Time and memory of gene graphs: 20,000 genes and 2 million edges, where a [gene, gene] array would take 1.6 GB.

    python benchmarks/graphs.py            # about two minutes on one core
    python benchmarks/graphs.py --quick    # small sizes, to see that it runs

Each size runs in a process of its own for its peak memory. Co-expression keeps the k best of every gene, so its time is
that of all pairs; what a model repeats is linear in edges: propagation of [gene, 64] features, and a step of ``cgio``'s
gated layer (16 rows, width 16, two rounds, with its gradient). The bounds are 2 GB, and at most 1.5 times the time per
edge at the largest size against the smallest.
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
ROWS, WIDTH = 16, 16  # of a step of cgio


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
    del data, h
    learned = step(graph)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    queue.put((graph.n_edges, built, filed, min(times), learned, peak))


def step(graph: graphs.GeneGraph) -> float:
    """CPU seconds of one step of the layer that a network learns with."""
    import torch

    from perturbcast.nn.propagation import Propagation

    torch.set_num_threads(1)
    torch.manual_seed(0)
    edges, weight = torch.from_numpy(graph.edge_index), torch.from_numpy(graph.weight)
    layer = Propagation(edges, weight, genes=len(graph.genes), width=WIDTH, context=WIDTH, gate="lowrank")
    h, z, c = torch.randn(ROWS, len(graph.genes), WIDTH), torch.randn(len(graph.genes), WIDTH), torch.randn(ROWS, WIDTH)
    start = time.process_time()
    layer(h.requires_grad_(), z_Gd=z, context_Bc=c).square().mean().backward()
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes")
    quick = parser.parse_args().quick
    genes, cells = (1000, 200) if quick else (20_000, 1000)
    spawn = multiprocessing.get_context("spawn")
    print(f"{'edges':>9}{'build s':>9}{'files s':>9}{'propagate ms':>14}{'ns an edge':>12}{'step s':>8}{'peak GB':>9}")
    rows = []
    for k in (25, 50, 100):
        queue = spawn.Queue()
        child = spawn.Process(target=measure, args=(genes, cells, k, queue))
        child.start()
        edges, built, filed, spread, learned, peak = queue.get()
        child.join()
        rows.append((spread / edges, learned / edges, peak))
        each = spread / edges * 1e9
        print(f"{edges:9d}{built:9.1f}{filed:9.2f}{spread * 1e3:14.1f}{each:12.1f}{learned:8.1f}{peak:9.2f}")
    ratio = max(rows[-1][i] / rows[0][i] for i in (0, 1))
    print(f"time per edge, largest against smallest: {ratio:.2f}")
    if max(peak for *_, peak in rows) > GIGABYTES or (ratio > SLOWER_PER_EDGE and not quick):
        sys.exit(f"over the bound of {GIGABYTES:g} GB or {SLOWER_PER_EDGE:g} times the time per edge")


if __name__ == "__main__":
    main()
