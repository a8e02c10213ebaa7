"""Encoders of the state a cell was in before it was perturbed: a vector from the control profile.

| kind | reads |
|---|---|
| ``none`` | nothing |
| ``mlp`` | the whole profile |
| ``transformer`` | genes as tokens, the highly variable ones of train controls |
| ``pretrained`` | the genes of an encoder that was pretrained on unperturbed cells |

Axes: B rows, G genes, T tokens, d width.
"""

from __future__ import annotations

from typing import Literal, Self

import torch
from torch import nn

from perturbcast.nn.panel import Panel

__all__ = ["Kind", "MlpState", "PretrainedState", "TransformerState", "two_layers"]

Kind = Literal["none", "mlp", "transformer", "pretrained"]


def two_layers(genes: int, *, hidden: int, width: int, dropout: float) -> nn.Sequential:
    """Vectors [B, width] of standardised rows [B, genes]."""
    return nn.Sequential(
        nn.Linear(genes, hidden), nn.LayerNorm(hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, width)
    )


class MlpState(nn.Module):
    """Two layers over the standardised control profile [B, G]."""

    def __init__(self, *, genes: int, width: int, dropout: float) -> None:
        super().__init__()
        self.layers = two_layers(genes, hidden=width, width=width, dropout=dropout)

    def forward(self, profile_BG: torch.Tensor, z_Gd: torch.Tensor) -> torch.Tensor:
        """State [B, d]."""
        return self.layers(profile_BG)


class TransformerState(nn.Module):
    """One self-attention layer over gene tokens, then attention pooling.

    A token is the gene's embedding plus the embedding of its value, so that two genes of one value differ.

    Args:
        tokens: [T] columns of the genes that are read.
        width: d.
        heads: attention heads; divides d.
        dropout: share of activations dropped while training.
    """

    def __init__(self, tokens: torch.Tensor, *, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.tokens: torch.Tensor
        self.register_buffer("tokens", tokens.to(torch.int64))
        self.of_value = nn.Linear(1, width)
        self.of_gene = nn.Linear(width, width)
        self.attend = nn.MultiheadAttention(width, heads, dropout=dropout, batch_first=True)
        self.norm_in = nn.LayerNorm(width)
        self.norm_out = nn.LayerNorm(width)
        self.feed = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.pool = nn.Linear(width, 1)

    def forward(self, profile_BG: torch.Tensor, z_Gd: torch.Tensor) -> torch.Tensor:
        """State [B, d]."""
        value_BT1 = profile_BG[:, self.tokens, None]
        token_BTd = self.of_value(value_BT1) + self.of_gene(z_Gd[self.tokens])
        normed_BTd = self.norm_in(token_BTd)
        token_BTd = token_BTd + self.attend(normed_BTd, normed_BTd, normed_BTd, need_weights=False)[0]
        token_BTd = token_BTd + self.feed(self.norm_out(token_BTd))
        return (torch.softmax(self.pool(token_BTd), dim=1) * token_BTd).sum(dim=1)


class PretrainedState(nn.Module):
    """A pretrained encoder of the control profile, as it is or trained further, and a trained map to the state.

    Args:
        panel: puts control profiles [B, G], log1p, on the encoder's genes [B, E].
        encoder: maps these to vectors [B, e].
        encoded: e.
        width: d.
        tuned: train the encoder further; else its weights stay, and its dropout is off.
    """

    def __init__(self, panel: Panel, encoder: nn.Module, *, encoded: int, width: int, tuned: bool) -> None:
        super().__init__()
        self.panel, self.encoder, self.tuned = panel, encoder.requires_grad_(tuned), tuned
        self.of_encoded = nn.Sequential(nn.LayerNorm(encoded), nn.Linear(encoded, width))

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        self.encoder.train(mode and self.tuned)
        return self

    def forward(self, control_BG: torch.Tensor, z_Gd: torch.Tensor) -> torch.Tensor:
        """State [B, d]."""
        return self.of_encoded(self.encoder(self.panel(control_BG)))
