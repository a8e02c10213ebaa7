"""Pretrains an encoder of cells: variable genes, pools beside cells, a pretext task, held-out cells to stop by.

The cells come in as they were read: what they may be is decided where they are read. Axes: n cells, E genes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import scipy.sparse as sp
import torch

from perturbcast import catalog
from perturbcast.encoders import Encoder, Pretraining
from perturbcast.encoders.encoder import marks, studies
from perturbcast.nn import descent
from perturbcast.nn.panel import Panel, on_its_own_counts
from perturbcast.schema import PerturbationData, content_hash
from perturbcast.stores.pseudobulk import mean_and_variance

__all__ = ["METRIC", "pretrain"]

METRIC = "held_out_loss"
LARGEST_POOL = 64  # cells
MIN_CELLS = 10
ROWS_AT_ONCE = 1024


def pretrain(
    cells: PerturbationData,
    *,
    objective: str,
    config: Pretraining,
    seed: int,
    learner: Callable[[descent.Task], None] | None = None,
) -> Encoder:
    """An encoder of ``cells``, all of which it may see.

    Args:
        cells: unperturbed cells, sorted by barcode.
        objective: module in ``encoders/``.
        config: its ``Config``.
        seed: decides genes' weights, order, corruption and which cells are held out.
        learner: what trains the network; None for the plain loop in this process.

    Raises:
        ValueError: there are too few cells, or the objective's encoder keeps what it knows outside its parameters.
    """
    n = len(cells.obs)
    if n < MIN_CELLS:
        raise ValueError(
            f"Pretraining needs at least {MIN_CELLS} cells, some of them held out; {cells.dataset!r} gave {n}. "
            "Give more control cells."
        )
    generator = np.random.default_rng(seed)
    variance = mean_and_variance(cells.x)[1]
    columns = np.sort(np.argsort(-variance, kind="stable")[: config.variable_genes])
    order = generator.permutation(n)
    n_held = min(max(1, round(config.held_out * n)), n - 2)
    held, fitted = np.sort(order[:n_held]), np.sort(order[n_held:])
    x = sp.csr_matrix(cells.x[:, columns])
    context = cells.obs["context"].astype(str).to_numpy()
    pools = _pools(context[fitted], round(config.pooled * len(fitted)), generator=generator)
    rows = torch.from_numpy(np.concatenate([x[fitted].toarray(), (pools @ x[fitted]).toarray()]).astype(np.float32))
    everywhere = torch.ones(len(columns))
    values = on_its_own_counts(rows[: len(fitted)], everywhere)
    centre, scale = values.mean(dim=0), values.std(dim=0)
    scale = torch.where(scale > 1e-6, scale, torch.ones_like(scale))
    panel = Panel(torch.arange(len(columns)), centre=centre, scale=scale)
    checked = panel(torch.from_numpy(x[held].toarray().astype(np.float32)))

    draw = int(generator.integers(2**31))
    with torch.random.fork_rng():
        torch.manual_seed(draw)
        task = catalog.load("encoders", objective).build(config, genes=len(columns))
    if any(True for _ in task.encoder.buffers()):
        raise ValueError(
            f"An encoder keeps what it knows in its parameters; that of {objective!r} has buffers, which would be "
            "lost. Use layers without running statistics."
        )
    (learner or descent.learn)(
        descent.Task(
            network=task,
            rows={"cells": panel(rows)},
            loss=lambda network, batch: network(batch["cells"]).mean(),
            score=_score(checked, seed=draw),
            metric=METRIC,
            settings=descent.Settings(
                **{field.name: getattr(config, field.name) for field in dataclasses.fields(descent.Settings)}
            ),
            seed=draw,
            config={"objective": objective, **dataclasses.asdict(config)},
        )
    )
    return Encoder(
        objective=objective,
        parameters=dataclasses.asdict(config),
        genes=tuple(cells.genes[i] for i in columns),
        centre=centre.numpy(),
        scale=scale.numpy(),
        weights={name: value.detach().cpu().numpy() for name, value in task.encoder.named_parameters()},
        cells=marks(map(str, cells.obs.index), cells.meta),
        provenance={
            "dataset": cells.dataset,
            "studies": studies(cells.meta),
            "scale": str(cells.meta["scale"]),
            "n_cells": n,
            "n_held_out": n_held,
            "contexts": {name: int((context == name).sum()) for name in sorted(set(context))},
            "cells_sha256": content_hash(cells.x, cells.genes, cells.obs),
            "seed": seed,
        },
    )


def _pools(context: np.ndarray, count: int, *, generator: np.random.Generator) -> sp.csr_matrix:
    """Averages [pool, cell]: each of 2 to 64 cells of one context, contexts in turn."""
    members = [np.flatnonzero(context == name) for name in sorted(set(context))]
    members = [group for group in members if len(group) > 1]
    chosen = []
    for pool in range(count if members else 0):
        group = members[pool % len(members)]
        chosen.append(
            generator.choice(group, size=int(generator.integers(2, min(LARGEST_POOL, len(group)) + 1)), replace=False)
        )
    rows = np.repeat(np.arange(len(chosen)), [len(group) for group in chosen])
    share = np.concatenate([np.full(len(group), 1 / len(group)) for group in chosen]) if chosen else np.zeros(0)
    columns = np.concatenate(chosen) if chosen else np.zeros(0, dtype=np.int64)
    return sp.csr_matrix((share, (rows, columns)), shape=(len(chosen), len(context)))


def _score(cells: torch.Tensor, *, seed: int) -> Callable[[torch.nn.Module], tuple[float, float]]:
    """Mean loss over held-out cells under one and the same corruption at every look."""

    def score(network: torch.nn.Module) -> tuple[float, float]:
        device, training = next(network.parameters()).device, network.training
        network.eval()
        with torch.no_grad(), torch.random.fork_rng():
            torch.manual_seed(seed)
            losses = [network(part.to(device)).float().cpu() for part in cells.split(ROWS_AT_ONCE)]
        network.train(training)
        value = float(torch.cat(losses).mean())
        return value, value

    return score
