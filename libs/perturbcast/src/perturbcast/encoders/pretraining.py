"""What every way of pretraining is told: the size of the encoder, the cells it sees, and how to descend."""

from __future__ import annotations

import dataclasses

__all__ = ["MOST_HELD_OUT", "Pretraining"]

MOST_HELD_OUT = 8192  # cells: their mean loss is known to a hundredth of its spread, and they fit in memory


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pretraining:
    """Parameters that all objectives share.

    Attributes:
        width: length of a cell's vector.
        hidden: width of the hidden layers.
        variable_genes: genes that the encoder reads, count: the most variable of the cells; all where there are fewer.
        pooled: means of 2 to 64 cells of one context that are added to the cells of a step, as a share of their
            number: a profile that a model asks about is such a mean.
        held_out: share of the cells that is never fitted and decides when to stop, 0 to 1; at most 8192 cells.
        dropout: share of activations dropped while training, 0 to 1.
        steps: optimiser steps at most.
        batch: cells per step over all processes.
        learning_rate: at its peak.
        weight_decay: of AdamW.
        clip: largest norm of a gradient.
        warmup: share of the steps until the peak, 0 to 1.
        every: steps between looks at the held-out cells.
        patience: looks without improvement before it stops.
    """

    width: int = 32
    hidden: int = 128
    variable_genes: int = 2000
    pooled: float = 0.25
    held_out: float = 0.1
    dropout: float = 0.1
    steps: int = 2000
    batch: int = 128
    learning_rate: float = 0.001
    weight_decay: float = 0.01
    clip: float = 1.0
    warmup: float = 0.05
    every: int = 50
    patience: int = 10

    def __post_init__(self) -> None:
        positive = ("width", "hidden", "variable_genes", "steps", "batch", "learning_rate", "clip", "every", "patience")
        bad = [f"{name} = {getattr(self, name)}" for name in positive if getattr(self, name) <= 0]
        bad += [f"{n} = {getattr(self, n)}" for n in ("pooled", "weight_decay") if getattr(self, n) < 0]
        bad += [f"{n} = {getattr(self, n)}" for n in ("dropout", "warmup") if not 0 <= getattr(self, n) <= 1]
        bad += [] if 0 < self.held_out < 1 else [f"held_out = {self.held_out}"]
        if bad:
            raise ValueError(
                f"Pretraining needs positive counts and rates, and shares from 0 to 1; got {', '.join(bad)}. "
                "See 'Pretraining' in perturbcast/encoders/pretraining.py."
            )
