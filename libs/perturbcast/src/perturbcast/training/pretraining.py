"""Pretrains an encoder of cells: variable genes, pools beside cells, a pretext task, held-out cells to stop by.

The cells stay where they are, in memory or on disk, and give the same encoder from either. What they may be is decided
where they are opened. Axes: n cells, E genes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np
import scipy.sparse as sp
import torch

from perturbcast import catalog
from perturbcast.encoders import Encoder, Pretraining
from perturbcast.encoders.encoder import marks, studies
from perturbcast.encoders.pretraining import MOST_HELD_OUT
from perturbcast.nn import descent
from perturbcast.nn.panel import Panel
from perturbcast.nn.reconstruction import Share
from perturbcast.schema import PerturbationData
from perturbcast.stores.cell_file import CellFile
from perturbcast.training.pretext_batches import Pools, PretextBatches
from perturbcast.training.unperturbed_cells import RUN, standard, survey

__all__ = ["METRIC", "pretrain"]

METRIC = "held_out_loss"
MIN_CELLS = 10
ROWS_AT_ONCE = 1024


def pretrain(
    cells: PerturbationData | CellFile,
    *,
    objective: str,
    config: Pretraining,
    seed: int,
    workers: int = 0,
    learner: Callable[[descent.Task], None] | None = None,
) -> Encoder:
    """An encoder of ``cells``, all of which it may see.

    Args:
        cells: unperturbed cells.
        objective: module in ``encoders/``.
        config: its ``Config``.
        seed: decides genes' weights, order, corruption and which cells are held out.
        workers: processes that read cells of a file ahead; they change nothing about the result.
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
    found = survey(cells)
    columns = np.sort(np.argsort(-found.variance, kind="stable")[: config.variable_genes])
    order = generator.permutation(n)
    n_held = min(max(1, round(config.held_out * n)), n - 2, MOST_HELD_OUT)
    held, fitted = np.sort(order[:n_held]), np.sort(order[n_held:])
    context = cells.obs["context"].astype(str).to_numpy()
    pooled = Pools.rows(context, fitted, generator=generator)
    panel = standard(cells, columns, fitted=fitted)
    checked = _standardised(cells.rows(held)[:, columns], panel)

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
            rows=PretextBatches(
                cells=cells,
                fitted=fitted,
                genes=[cells.genes[i] for i in columns],
                panel=panel,
                pools=Pools.of(cells.rows(pooled)[:, columns], context[pooled], share=config.pooled, seed=draw),
                sha256=found.sha256,
                workers=workers,
            ),
            loss=_loss(seed=draw),
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
        centre=panel.centre.numpy(),
        scale=panel.scale.numpy(),
        weights={name: value.detach().cpu().numpy() for name, value in task.encoder.named_parameters()},
        cells=marks(map(str, cells.obs.index), cells.meta),
        provenance={
            "dataset": cells.dataset,
            "studies": studies(cells.meta),
            "scale": str(cells.meta["scale"]),
            "n_cells": n,
            "n_held_out": n_held,
            "contexts": {name: int((context == name).sum()) for name in sorted(set(context))},
            "cells_sha256": found.sha256,
            "seed": seed,
        },
    )


def _standardised(x: sp.csr_matrix, panel: Panel) -> torch.Tensor:
    """Standardised values [n, E] of cells, some at a time: on the way each takes several times its memory."""
    values = torch.empty(x.shape)
    for first in range(0, x.shape[0], RUN):
        part = x[first : first + RUN].toarray().astype(np.float32, copy=False)
        values[first : first + RUN] = panel(torch.from_numpy(part))
    return values


def _loss(*, seed: int) -> Callable[[torch.nn.Module, Mapping[str, torch.Tensor]], torch.Tensor]:
    """Mean loss over a batch; its mean over processes where several share it."""

    def loss(network: torch.nn.Module, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        if "place" not in batch:
            mean: torch.Tensor = network(batch["cells"]).mean()
            return mean
        whole, step, rank, ranks = (int(batch[name]) for name in ("whole", "step", "rank", "ranks"))
        share = Share(place_B=batch["place"], rows=whole, seed=seed, step=step, rank=rank)
        total: torch.Tensor = network(batch["cells"], share).sum()
        return total * (ranks / whole)  # shares may differ by one mean of cells

    return loss


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
