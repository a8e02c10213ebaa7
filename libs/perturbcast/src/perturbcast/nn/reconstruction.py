"""Pretext tasks that give a corrupted cell back: an encoder that is kept, and a decoder that is thrown away.

A pretext task is a module with a part ``encoder`` that maps standardised cells [B, E] to vectors [B, d]; called with
cells it gives the loss of each. What the encoder knows is in its parameters, so that these alone are kept. Where
several processes share a batch, it is called with their cells and a ``Share``, so that what is hidden of a cell does
not depend on how many they are.

Axes: B cells, E genes, d width.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch
from torch import nn

from perturbcast.nn.descent import seed_step
from perturbcast.nn.state import two_layers

__all__ = ["Corruption", "Reconstruction", "Share"]

# cells [B, E] -> what the encoder is given, and the weight of each value in the loss
Corruption = Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Share:
    """What one of several processes holds of a batch.

    Attributes:
        place_B: row of the whole batch that each cell is.
        rows: of the whole batch.
        seed, step: decide the draws for the whole batch.
        rank: this process.
    """

    place_B: torch.Tensor
    rows: int
    seed: int
    step: int
    rank: int

    def corrupted(self, corrupt: Corruption, x_BE: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What one process would make of these cells: draws for the whole batch, of which these rows are kept."""
        whole = x_BE.new_zeros(self.rows, x_BE.shape[1])
        whole[self.place_B] = x_BE
        seed_step(self.seed, self.step)
        given, weight = corrupt(whole)
        seed_step(self.seed, self.step, rank=self.rank + 1)  # dropout differs between processes, and from this
        return given[self.place_B], weight[self.place_B]


class Reconstruction(nn.Module):
    """Loss per cell [B]: weighted mean squared error of the cell given back from its corrupted copy.

    Args:
        corrupt: draws what is hidden; torch's seed decides.
        genes: E.
        hidden: width of the hidden layers.
        width: d.
        dropout: share of activations dropped while training.
    """

    def __init__(self, corrupt: Corruption, *, genes: int, hidden: int, width: int, dropout: float) -> None:
        super().__init__()
        self.corrupt = corrupt
        self.encoder = two_layers(genes, hidden=hidden, width=width, dropout=dropout)
        self.decoder = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, genes))

    def forward(self, x_BE: torch.Tensor, share: Share | None = None) -> torch.Tensor:
        """Loss per cell [B]."""
        given_BE, weight_BE = self.corrupt(x_BE) if share is None else share.corrupted(self.corrupt, x_BE)
        error_BE = (self.decoder(self.encoder(given_BE)) - x_BE).square()
        return (weight_BE * error_BE).sum(dim=1) / weight_BE.sum(dim=1).clamp_min(1e-12)
