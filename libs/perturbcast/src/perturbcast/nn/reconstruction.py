"""Pretext tasks that give a corrupted cell back: an encoder that is kept, and a decoder that is thrown away.

A pretext task is a module with a part ``encoder`` that maps standardised cells [B, E] to vectors [B, d]; called with
cells it gives the loss of each. What the encoder knows is in its parameters, so that these alone are kept.

Axes: B cells, E genes, d width.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from perturbcast.nn.state import two_layers

__all__ = ["Corruption", "Reconstruction"]

# cells [B, E] -> what the encoder is given, and the weight of each value in the loss
Corruption = Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]


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

    def forward(self, x_BE: torch.Tensor) -> torch.Tensor:
        """Loss per cell [B]."""
        given_BE, weight_BE = self.corrupt(x_BE)
        error_BE = (self.decoder(self.encoder(given_BE)) - x_BE).square()
        return (weight_BE * error_BE).sum(dim=1) / weight_BE.sum(dim=1).clamp_min(1e-12)
