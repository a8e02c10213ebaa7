"""Expression of any gene list, put on the genes and the scale that an encoder was pretrained on.

x' = log1p(10 000 c_g / sum over the encoder's genes of c), c = expm1(x): the same cell gives the same values whether
its library was counted over a panel or over all genes. Then each gene is centred, divided by its sd over the
pretraining cells, and clipped. A gene that the data lacks counts as its mean.

Axes: B rows, G genes of the data, E genes of the encoder.
"""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["CLIP", "Panel", "on_its_own_counts"]

TARGET_SUM = 10_000.0
CLIP = 10.0  # sd; one count of a gene that hardly any cell has must not outweigh all others


def on_its_own_counts(x_BE: torch.Tensor, present_E: torch.Tensor) -> torch.Tensor:
    """log1p of counts per 10 000 over the genes that are present; absent ones are 0."""
    counts_BE = torch.expm1(x_BE) * present_E
    return torch.log1p(counts_BE * (TARGET_SUM / counts_BE.sum(dim=1, keepdim=True).clamp_min(1e-12)))


class Panel(nn.Module):
    """Standardised values [B, E] of log1p rows [B, G].

    Args:
        columns: [E] column of each gene in the data; -1 where the data has no such gene.
        centre: [E] mean over pretraining cells.
        scale: [E] sd over pretraining cells.
    """

    def __init__(self, columns: torch.Tensor, *, centre: torch.Tensor, scale: torch.Tensor) -> None:
        super().__init__()
        self.columns: torch.Tensor
        self.present: torch.Tensor
        self.centre: torch.Tensor
        self.scale: torch.Tensor
        self.register_buffer("columns", columns.to(torch.int64).clamp_min(0))
        self.register_buffer("present", (columns >= 0).to(centre.dtype))
        self.register_buffer("centre", centre.clone())
        self.register_buffer("scale", scale.clone())

    def forward(self, x_BG: torch.Tensor) -> torch.Tensor:
        """Standardised values [B, E]."""
        x_BE = on_its_own_counts(x_BG[:, self.columns], self.present)
        return ((x_BE - self.centre) / self.scale).clamp(-CLIP, CLIP) * self.present
