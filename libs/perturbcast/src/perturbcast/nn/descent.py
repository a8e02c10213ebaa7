"""Descent: what is minimised, how fast, when it stops; and the plain loop that does it in one process.

``training/`` runs the same task under Lightning, with devices, processes, checkpoints and resume; both give the same
weights to the last bit on one CPU process, which a test holds.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from perturbcast.nn.stream import Source

__all__ = ["Best", "Settings", "Task", "check_finite", "learn", "optimiser", "rate", "seed_step"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """How to descend.

    Attributes:
        steps: optimiser steps at most.
        batch: rows per step over all processes; fewer where train holds fewer.
        learning_rate: at its peak, after ``warmup`` of the steps (share), then a cosine to 0.
        weight_decay: of AdamW.
        clip: largest norm of a gradient.
        every: steps between looks at validation.
        patience: looks without improvement before it stops.
    """

    steps: int
    batch: int
    learning_rate: float
    weight_decay: float
    clip: float = 1.0
    warmup: float = 0.1
    every: int = 20
    patience: int = 5


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
    """A network and what it is fitted to.

    Attributes:
        network: the module that is trained in place.
        rows: what it is fitted to, in memory or not.
        loss: mean loss of a batch of ``rows``, given the network (a wrapper of it under DDP).
        score: the validation metric turned so that smaller is better, and its value as the metric says it;
            None where train is all there is. Early stopping cannot be set against it.
        metric: name of the validation metric.
        settings: how to descend.
        seed: decides order and dropout; the weights were drawn before.
        config: what a checkpoint has to agree with.
    """

    network: nn.Module
    rows: Source
    loss: Callable[[nn.Module, Mapping[str, torch.Tensor]], torch.Tensor]
    score: Callable[[nn.Module], tuple[float, float]] | None
    metric: str
    settings: Settings
    seed: int
    config: Mapping[str, Any]


def rate(step: int, settings: Settings) -> float:
    """Share of the peak learning rate at ``step`` (0-based): linear warm-up, then a cosine to 0."""
    warm = max(1, round(settings.warmup * settings.steps))
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, settings.steps - warm)))


def optimiser(
    network: nn.Module, settings: Settings
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LambdaLR]:
    """AdamW and its schedule."""
    adam = torch.optim.AdamW(network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    return adam, torch.optim.lr_scheduler.LambdaLR(adam, lambda step: rate(step, settings))


def seed_step(seed: int, step: int, *, rank: int = 0) -> None:
    """Seed dropout for one step: every draw is a function of seed, step and rank, so that any step can be resumed."""
    drawn = int(np.random.SeedSequence([seed, step, rank]).generate_state(1, np.uint64)[0] >> 1)
    if torch.accelerator.is_available():
        torch.manual_seed(drawn)
    else:  # the same without the stack traces that torch keeps for cards that may yet come: a tenth of a small step
        torch.default_generator.manual_seed(drawn)


def check_finite(loss: torch.Tensor, step: int) -> None:
    """Refuse to go on from a loss that is not a number.

    Raises:
        ValueError: the loss is NaN or infinite.
    """
    if not bool(torch.isfinite(loss)):
        raise ValueError(
            f"A loss is finite; that of step {step} is {loss.item()}. Lower learning_rate or clip, or look for values "
            "of X that are far from log1p counts."
        )


class Best:
    """The best weights so far by validation, and how long ago that was."""

    def __init__(self, patience: int) -> None:
        self.patience = patience
        self.loss = math.inf
        self.step = -1
        self.stale = 0
        self.weights: dict[str, torch.Tensor] = {}

    def look(self, loss: float, step: int, network: nn.Module) -> None:
        """Keep the weights if ``loss`` is smaller than all before."""
        if loss < self.loss:
            self.loss, self.step, self.stale = loss, step, 0
            self.weights = {name: value.detach().clone().cpu() for name, value in network.state_dict().items()}
        else:
            self.stale += 1

    @property
    def is_over(self) -> bool:
        return self.stale >= self.patience

    def restore(self, network: nn.Module) -> None:
        """Give the network its best weights; nothing where validation was never looked at."""
        if self.weights:
            network.load_state_dict(self.weights, strict=True)

    def state_dict(self) -> dict[str, Any]:
        return {"loss": self.loss, "step": self.step, "stale": self.stale, "weights": self.weights}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.loss, self.step, self.stale = float(state["loss"]), int(state["step"]), int(state["stale"])
        self.weights = dict(state["weights"])


def learn(task: Task) -> None:
    """Train the network in place, in this process, and leave it with its best weights."""
    settings = task.settings
    optimizer, schedule = optimiser(task.network, settings)
    best = Best(settings.patience)
    task.network.train()
    if task.score is not None:
        best.look(task.score(task.network)[0], 0, task.network)
    with torch.random.fork_rng():
        batches = task.rows.stream(seed=task.seed, size=settings.batch, steps=settings.steps)
        for step, batch in enumerate(batches, start=1):
            seed_step(task.seed, step)
            loss = task.loss(task.network, batch)
            check_finite(loss, step)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(task.network.parameters(), settings.clip)
            optimizer.step()
            schedule.step()
            if task.score is not None and step % settings.every == 0:
                best.look(task.score(task.network)[0], step, task.network)
                if best.is_over:
                    break
    best.restore(task.network)
    task.network.eval()
