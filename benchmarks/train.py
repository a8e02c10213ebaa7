# ruff: noqa: E402  (thread counts are set before numpy is imported)
"""What training costs beside a plain loop, and reading cells from disk beside AnnLoader and scDataset.

    python benchmarks/train.py            # all: about ten minutes on one core
    python benchmarks/train.py --small    # a tenth of the cells and of the steps

Training: ``cgio`` under Lightning, as 'perturbcast train' runs it, against a bare PyTorch loop of the same network,
batches and optimiser; the bound is 0.8 of its rows per CPU second. Reading: 200 000 cells x 4 000 genes with 8 %
non-zero values in a file as 'perturbcast import' writes it, batches of 64 perturbed cells as dense tensors, each cell
with a control of its context; the bound is 3 times scDataset, given blocks and window as large as ours, which is its
faster setting; its own manual's setting and AnnLoader (cells alone) are shown too. scDataset is not among our
dependencies: 'pip install --no-deps scdataset==0.3.0' brings it, and without it its rows are left out by name.
Each row runs in a process of its own with one thread. CPU seconds count, so that others on the machine do not.

Where there is a CUDA card: step time, memory and share of the card's own peak (a large matrix product) in bf16.
"""

from __future__ import annotations

import argparse
import copy
import importlib.util
import multiprocessing
import os
import resource
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")  # here and in every child

import numpy as np
import pandas as pd
import scipy.sparse as sp

from perturbcast.schema import Condition, PerturbationData, content_hash

SHARE_OF_BARE, TIMES_SCDATASET = 0.8, 3.0
GENES, NONZERO, BATCH = 4000, 0.08, 64
BLOCK, WINDOW = 128, 8192


def peak_mb() -> float:
    """Peak memory of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def in_child(work: Callable[..., Any], *args: Any) -> Any:
    """What ``work`` returns in a fresh process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(work, args)


def make_task(genes: int, steps: int) -> Any:
    """The task that ``cgio`` sets its learner: 200 conditions in 4 contexts, with a state encoder."""
    import torch

    from perturbcast.models import TrainingSet, cgio
    from perturbcast.stores import Effects

    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    names = tuple(f"G{i}" for i in range(genes))
    conditions = tuple(Condition(f"G{i}", f"c{j}") for j in range(4) for i in range(50))
    control = np.repeat(rng.random((4, genes)), 50, axis=0)
    effects = Effects(
        conditions=conditions,
        genes=names,
        delta=rng.normal(0, 0.2, (200, genes)),
        control=control,
        error=np.full((200, genes), 0.01),
        n_cells=np.full(200, 50),
        matching=("context",) * 200,
    )
    tasks: list[Any] = []
    config = cgio.Config(state="mlp", operator="fused", steps=steps, batch=16)
    train = TrainingSet(effects=effects, ood_axes=("context",), learner=tasks.append)
    cgio.Model.fit(train, config, generator=np.random.default_rng(0))
    return tasks[0]


def train_bare(task: Any) -> None:
    """The same batches, loss, clipping, optimiser and schedule, and nothing else."""
    import torch

    from perturbcast.nn.stream import rows_of_step

    settings = task.settings
    adam = torch.optim.AdamW(task.network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(adam, settings.steps)
    task.network.train()
    for step in range(settings.steps):
        at = rows_of_step(step, seed=task.seed, rows=task.rows.count, size=settings.batch)
        loss = task.loss(task.network, task.rows.build(at))
        adam.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(task.network.parameters(), settings.clip)
        adam.step()
        schedule.step()


def train(how: str, genes: int, steps: int) -> tuple[float, float]:
    """Rows per CPU second of training, and peak memory in MB."""
    from perturbcast.training.lightning import Learner  # imported for both: libraries are no part of the loop

    task = make_task(genes, steps)
    with tempfile.TemporaryDirectory() as folder:
        start = time.process_time()
        if how == "bare":
            train_bare(task)
        else:
            Learner(folder=Path(folder))(task)
        took = time.process_time() - start
    return steps * task.settings.batch / took, peak_mb()


def make_file(path: Path, cells: int) -> float:
    """Write the dataset of the reading part, drawn by ten thousand cells at a time; its size in MB."""
    from perturbcast.stores import h5ad

    rng = np.random.default_rng(0)
    parts = []
    for first in range(0, cells, 10_000):
        counts = rng.binomial(GENES, NONZERO, min(10_000, cells - first))
        start = np.concatenate([[0], np.cumsum(counts)])
        indices = np.concatenate([np.sort(rng.choice(GENES, n, replace=False)) for n in counts]).astype(np.int32)
        molecules = rng.geometric(0.5, len(indices)).astype(np.float64)
        depth = np.repeat(np.add.reduceat(molecules, start[:-1]), counts)
        values = np.log1p(molecules * 1e4 / depth).astype(np.float32)
        parts.append(sp.csr_matrix((values, indices, start), shape=(len(counts), GENES)))
    x = sp.csr_matrix(sp.vstack(parts, format="csr"))
    del parts
    # 4 contexts of 100 groups each, a tenth of them controls, cells of a group together as studies have them
    group = np.arange(cells) * 400 // cells
    perturbation = np.array([f"G{i % 100}" if i % 100 >= 10 else "control" for i in range(400)])[group]
    obs = pd.DataFrame(
        {
            "perturbation": perturbation,
            "context": np.array(list("abcd"))[group // 100],
            "is_control": perturbation == "control",
        },
        index=[f"cell{i}" for i in range(cells)],
    )
    genes = tuple(f"G{i}" for i in range(GENES))
    meta = {
        "dataset": "benchmark",
        "scale": "log1p(counts per 10 000)",
        "unit": "cell",
        "content_hash": content_hash(x, genes, obs),
    }
    h5ad.write(PerturbationData(x=x, genes=genes, obs=obs, meta=meta), path)
    return path.stat().st_size / 2**20


def rows_per_second(batches: Iterable[Any], rows: int) -> float:
    """Perturbed cells per CPU second, from the first batch to the one that completes ``rows``."""
    seen, start = 0, time.process_time()
    for x in batches:
        seen += len(x)
        if seen >= rows:
            break
    return seen / (time.process_time() - start)


def read_ours(path: Path, rows: int, *, matched: bool, on_disk: bool) -> tuple[float, float]:
    """Our reader."""
    import torch

    from perturbcast.stores import CellFile, h5ad
    from perturbcast.stores.cell_reader import CellReader, part_rows
    from perturbcast.training.cell_loader import CellLoader

    torch.set_num_threads(1)
    cells = CellFile.open(path, check=False) if on_disk else h5ad.read(path)
    perturbed, controls = part_rows(cells, list(cells.obs.index))
    options: dict[str, Any] = {"rows": perturbed, "batch": BATCH, "seed": 0, "block": BLOCK, "window": WINDOW}
    if matched:
        options["controls"] = controls
    CellReader(cells, **options).batch(0)  # compiles
    loader = CellLoader(CellReader(cells, steps=-(-rows // BATCH), **options))
    return rows_per_second((batch["x"] for batch in loader), rows), peak_mb()


def read_scdataset(path: Path, rows: int, *, matched: bool, block: int, fetch: int) -> tuple[float, float]:
    """scDataset over the same file, as its manual has it; controls are drawn and read where it fetches cells."""
    import anndata
    import torch
    from scdataset import BlockShuffling, scDataset

    torch.set_num_threads(1)
    adata = anndata.read_h5ad(path, backed="r")
    is_control = adata.obs["is_control"].to_numpy()
    context = adata.obs["context"].astype(str).to_numpy()
    pools = {name: np.flatnonzero(is_control & (context == name)) for name in np.unique(context)}
    rng = np.random.default_rng(0)

    def fetched(adata: Any, index: np.ndarray) -> Any:
        if not matched:
            return (adata[index].X,)
        controls = np.empty_like(index)
        for name, pool in pools.items():
            here = context[index] == name
            controls[here] = rng.choice(pool, here.sum())
        unique, place = np.unique(controls, return_inverse=True)
        return adata[index].X, adata[unique].X, place

    def cut(found: Any, index: np.ndarray) -> torch.Tensor:
        if matched:
            torch.from_numpy(found[1][found[2][index]].toarray())
        return torch.from_numpy(found[0][index].toarray())

    batches = scDataset(
        adata,
        BlockShuffling(block_size=block, indices=np.flatnonzero(~is_control)),
        batch_size=BATCH,
        fetch_factor=fetch,
        fetch_callback=fetched,
        batch_callback=cut,
        seed=0,
    )
    return rows_per_second(batches, rows), peak_mb()


def read_annloader(path: Path, rows: int) -> tuple[float, float]:
    """AnnLoader over the same file; it has no notion of matched controls."""
    import anndata
    import torch
    from anndata.experimental import AnnLoader

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    adata = anndata.read_h5ad(path, backed="r")
    loader = AnnLoader(adata, batch_size=BATCH, shuffle=True)
    return rows_per_second((batch.X for batch in loader), rows), peak_mb()


def on_card(device: str, genes: int, steps: int) -> None:
    """Step time, memory and share of the measured peak of bf16 training on ``device``."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    task = make_task(genes, 1)
    network = copy.deepcopy(task.network).to(device)
    rows = {name: tensor[:BATCH].to(device) for name, tensor in task.rows.items()}
    adam = torch.optim.AdamW(network.parameters(), lr=1e-3)

    def step() -> None:
        with torch.autocast(device_type=device, dtype=torch.bfloat16):
            loss = task.loss(network, rows)
        adam.zero_grad()
        loss.backward()
        adam.step()

    def seconds(work: Callable[[], Any], repeats: int) -> float:
        wait = torch.cuda.synchronize if device == "cuda" else lambda: None
        work()
        wait()
        start = time.perf_counter()
        for _ in range(repeats):
            work()
        wait()
        return (time.perf_counter() - start) / repeats

    side = 8192 if device == "cuda" else 512
    a = torch.ones((side, side), dtype=torch.bfloat16, device=device)
    reachable = 2 * side**3 / seconds(lambda: a @ a, steps)
    with FlopCounterMode(display=False) as counter:
        step()
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    each = seconds(step, steps)
    memory = torch.cuda.max_memory_allocated() / 2**20 if device == "cuda" else peak_mb()
    share = counter.get_total_flops() / each / reachable
    print(
        f"bf16 on {device}: {each * 1e3:.2f} ms a step of {BATCH} rows x {genes} genes, {memory:.0f} MB, "
        f"{share:.1%} of the {reachable / 1e12:.1f} TFLOP/s of a matrix product"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="a tenth of the cells and of the steps")
    small = parser.parse_args().small
    cells, genes, steps = (20_000, 500, 30) if small else (200_000, 2000, 300)
    missed = []

    print(f"training cgio, {genes} genes, batches of 16 rows, {steps} steps")
    print(f"{'':<34}{'rows per CPU s':>16}{'peak MB':>10}")
    results = {}
    for how in ("bare", "Lightning"):
        results[how] = in_child(train, how, genes, steps)
        print(f"{how:<34}{results[how][0]:16.1f}{results[how][1]:10.0f}", flush=True)
    ratio = results["Lightning"][0] / results["bare"][0]
    memory = results["Lightning"][1] / results["bare"][1]
    print(
        f"Lightning against the bare loop: {ratio:.2f} of its rows (bound {SHARE_OF_BARE}), {memory:.2f} of its memory"
    )
    if ratio < SHARE_OF_BARE and not small:
        missed.append("rows of Lightning against the bare loop")

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "benchmark.h5ad"
        size = in_child(make_file, path, cells)
        print(f"\nreading {cells} cells x {GENES} genes, {NONZERO:.0%} not zero, {size:.0f} MB on disk")
        print(f"{'':<34}{'rows per CPU s':>16}{'peak MB':>10}")
        perturbed = cells * 9 // 10
        window = {"block": BLOCK, "fetch": WINDOW // BATCH}
        jobs: dict[str, tuple[Callable[..., Any], int, dict[str, Any]]] = {
            "ours, controls matched": (read_ours, perturbed, {"matched": True, "on_disk": True}),
            "ours, cells alone": (read_ours, perturbed, {"matched": False, "on_disk": True}),
            "ours, in memory, matched": (read_ours, perturbed, {"matched": True, "on_disk": False}),
            "AnnLoader, cells alone": (read_annloader, 640, {}),
        }
        if importlib.util.find_spec("scdataset"):
            few = min(perturbed, 4 * WINDOW)
            jobs["scDataset, controls matched"] = (read_scdataset, few, {"matched": True, **window})
            jobs["scDataset, cells alone"] = (read_scdataset, few, {"matched": False, **window})
            manual = {"matched": True, "block": 16, "fetch": 16}
            jobs["scDataset, matched, its manual's"] = (read_scdataset, 4096, manual)
        else:
            print("scDataset is left out: it is not installed ('pip install --no-deps scdataset==0.3.0')")
        for name, (work, rows, options) in jobs.items():
            results[name] = in_child(_named, work, path, rows, options)
            print(f"{name:<34}{results[name][0]:16.0f}{results[name][1]:10.0f}", flush=True)
    for ours, theirs, bound in (
        ("ours, controls matched", "scDataset, controls matched", TIMES_SCDATASET),
        ("ours, controls matched", "scDataset, matched, its manual's", TIMES_SCDATASET),
        ("ours, cells alone", "scDataset, cells alone", None),
        ("ours, cells alone", "AnnLoader, cells alone", None),
    ):
        if theirs in results:
            ratio = results[ours][0] / results[theirs][0]
            print(f"{ours} / {theirs}: {ratio:.1f}{f' (bound {bound:g})' if bound else ''}")
            if bound and ratio < bound and not small:
                missed.append(f"{ours} against {theirs}")

    import torch

    print()
    if torch.cuda.is_available():
        in_child(on_card, "cuda", genes, steps)
    else:
        print("bf16 on a card is left out: torch sees no CUDA device here")
    if missed:
        sys.exit(f"under the bound: {'; '.join(missed)}")


def _named(work: Callable[..., Any], path: Path, rows: int, options: dict[str, Any]) -> Any:
    return work(path, rows, **options)


if __name__ == "__main__":
    main()
