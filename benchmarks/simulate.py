"""How fast tasks and datasets are simulated, beside what others need.

    python benchmarks/simulate.py            # all: about three minutes on 2 cores
    python benchmarks/simulate.py --quick    # small sizes, to see that it runs

Tasks: d = 20, n = 500 observational samples, one core, against 5 ms (square) and 150 ms (exact Gaussian process)
published elsewhere. Gene expression: the peer runs here, the same network integrated by Euler-Maruyama as SERGIO
does (chemical Langevin equation, dt = 0.01, 10 decay times), vectorised over cells. Dataset: 50 000 cells x 2 000
genes x 200 perturbations in 2 contexts, with truth, on all cores, in a process of its own for its peak memory;
the bounds are one minute and 4 GB.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import sys
import time

import numpy as np

from perturbcast.simulation import ScreenConfig, TaskFamily, draw_task, families, gene_expression, simulate
from perturbcast.simulation.families import graph_family

PUBLISHED_MS = {"square": 5.0, "gpcde, exact": 150.0}
MINUTE, GIGABYTES = 60.0, 4.0


def tasks(repeats: int) -> None:
    """Tasks per second per family on one core."""
    named = {name: TaskFamily(mechanism=name, nodes=20, observations=500) for name in families()}
    named["gpcde, exact"] = TaskFamily(
        mechanism="gpcde", mechanism_parameters={"exact": True}, nodes=20, observations=500
    )
    print(f"{'family':<18}{'tasks/s':>9}{'ms':>8}{'elsewhere ms':>14}{'ratio':>8}")
    for name, family in named.items():
        draw_task(family, np.random.SeedSequence(0))
        start = time.perf_counter()
        for seed in range(repeats):
            draw_task(family, np.random.SeedSequence(seed))
        ms = (time.perf_counter() - start) / repeats * 1e3
        beside = f"{PUBLISHED_MS[name]:14.0f}{PUBLISHED_MS[name] / ms:8.1f}" if name in PUBLISHED_MS else ""
        print(f"{name:<18}{1e3 / ms:9.0f}{ms:8.1f}{beside}")


def integrate(world: gene_expression.GeneExpression, cells: int, generator: np.random.Generator) -> np.ndarray:
    """Molecules [gene, cell] after integrating the chemical Langevin equation to its steady state."""
    config, network = world.config, world.networks[0]
    signed, floor = network.signed(), network.floor()[:, None]
    x = np.tile(world.half[:, None], (1, cells)).astype(np.float32)
    dt = np.float32(0.01)
    for _ in range(int(10 / config.decay / dt)):
        ratio = (x / world.half[:, None].astype(np.float32)) ** 2
        production = floor + signed @ (ratio / (1 + ratio))
        first, second = (generator.standard_normal(x.shape, dtype=np.float32) for _ in range(2))
        spread = np.sqrt(production) * first + np.sqrt(config.decay * x) * second
        x = np.maximum(x + (production - config.decay * x) * dt + config.noise * np.sqrt(dt) * spread, 0)
    return x


def steady_states(genes: int, cells: int) -> None:
    """Steady states against integration, with how far their means are apart."""
    module = graph_family("scale_free_transposed")
    graph = module.sample(module.Config(), n_nodes=genes, generator=np.random.default_rng(0))
    world = gene_expression.build(graph, gene_expression.Config(), n_contexts=1, seed=np.random.SeedSequence(0))
    world.latent(0, world.noise(8, np.random.default_rng(0)))
    start = time.perf_counter()
    ours = world.latent(0, world.noise(cells, np.random.default_rng(1)))
    between = time.perf_counter()
    theirs = integrate(world, cells, np.random.default_rng(2))
    peer = time.perf_counter() - between
    apart = np.median(abs(ours.mean(axis=1) / theirs.mean(axis=1) - 1))
    print(
        f"\ngene expression, {genes} genes x {cells} cells: {(between - start) * 1e3:.1f} ms, integrated {peer:.2f} s, "
        f"ratio {peer / (between - start):.0f}, means {apart:.1%} apart in the median"
    )


def dataset(config: ScreenConfig, workers: int) -> None:
    """Time and peak memory of one dataset with truth, in this process."""
    start = time.perf_counter()
    data, counts = simulate(config, workers=workers)
    took, peak = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"\ndataset of {data.x.shape[0]} cells x {data.x.shape[1]} genes x {config.perturbations} perturbations x "
        f"{config.contexts} contexts: {took:.1f} s (bound {MINUTE:.0f}), peak {peak:.2f} GB (bound {GIGABYTES:.0f}), "
        f"{workers} workers, {counts.nnz / np.prod(counts.shape):.0%} of the counts not zero"
    )
    if took > MINUTE or peak > GIGABYTES:
        sys.exit(f"over the bound of {MINUTE:.0f} s or {GIGABYTES:.0f} GB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes")
    quick = parser.parse_args().quick
    tasks(3 if quick else 50)
    steady_states(60, 200 if quick else 2000)
    config = ScreenConfig(
        nodes=200 if quick else 2000,
        contexts=2,
        perturbations=20 if quick else 200,
        combinations=0,
        cells=2000 if quick else 50_000,
        truth_draws=1024,
    )
    child = multiprocessing.get_context("spawn").Process(
        target=dataset, args=(config, len(os.sched_getaffinity(0))), name="dataset"
    )
    child.start()
    child.join()
    sys.exit(child.exitcode)


if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"
    main()
