"""Adapters for a shift of context: a layer that bends to the context vector.

| kind | hidden vector x of a row becomes |
|---|---|
| ``none`` | x |
| ``film`` | x (1 + scale(c)) + shift(c) |
| ``lowrank`` | x + A (s(c) * (B x)), rank 4 |
| ``experts`` | x + sum over experts e of softmax(c)_e MLP_e(x) |

Each starts as the identity, so that switching one on changes nothing until it is trained.

Axes: B rows, d width, r rank.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

__all__ = ["Adapter", "Kind"]

Kind = Literal["none", "film", "lowrank", "experts"]
RANK = 4
EXPERTS = 3


class Adapter(nn.Module):
    """Adapts hidden vectors to the context of their row."""

    def __init__(self, kind: Kind, *, width: int, context: int) -> None:
        super().__init__()
        self.kind = kind
        if kind == "film":
            self.scale = _zeroed(nn.Linear(context, width))
            self.shift = _zeroed(nn.Linear(context, width))
        elif kind == "lowrank":
            self.down = nn.Linear(width, RANK, bias=False)
            self.up = _zeroed(nn.Linear(RANK, width, bias=False))
            self.of_context = nn.Linear(context, RANK)
        elif kind == "experts":
            self.choose = nn.Linear(context, EXPERTS)
            self.hidden = nn.ModuleList(nn.Linear(width, width) for _ in range(EXPERTS))
            self.out = nn.ModuleList(_zeroed(nn.Linear(width, width)) for _ in range(EXPERTS))

    def forward(self, x_Bd: torch.Tensor, context_Bc: torch.Tensor) -> torch.Tensor:
        """Adapted hidden vectors [B, d]."""
        if self.kind == "film":
            return x_Bd * (1 + self.scale(context_Bc)) + self.shift(context_Bc)
        if self.kind == "lowrank":
            return x_Bd + self.up(self.of_context(context_Bc) * self.down(x_Bd))
        if self.kind == "experts":
            share_Be = torch.softmax(self.choose(context_Bc), dim=1)
            answers = [out(torch.tanh(hidden(x_Bd))) for hidden, out in zip(self.hidden, self.out, strict=True)]
            return x_Bd + (share_Be[:, None, :] * torch.stack(answers, dim=2)).sum(dim=2)
        return x_Bd


def _zeroed(layer: nn.Linear) -> nn.Linear:
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
