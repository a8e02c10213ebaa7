"""Gates on edges: how much of a graph's edge a model keeps, learned.

| kind | gate of edge s -> t |
|---|---|
| ``none`` | 1 |
| ``scalar`` | sigmoid(a), one per graph |
| ``node`` | sigmoid(g_s) sigmoid(g_t) |
| ``lowrank`` | sigmoid(u_s . v_t), rank 16 |
| ``mlp`` | sigmoid(MLP[z_s, z_t, c]), one per row of the batch |

Axes: B rows, G genes, d width, E edges.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

__all__ = ["KINDS", "Gate", "Kind", "blocks"]

Kind = Literal["none", "scalar", "node", "lowrank", "mlp"]
KINDS: tuple[Kind, ...] = ("none", "scalar", "node", "lowrank", "mlp")
RANK = 16
VALUES_AT_ONCE = 2**22  # of a block of edges: 16 MB in float32
SMALL = 0.1  # sd of u and v: with both at 0 the gradient of u . v is 0 and the gate would never train


def blocks(edges: int, *, values: int) -> list[slice]:
    """Blocks of edges, each of ``values`` values per edge, with at most ``VALUES_AT_ONCE`` together."""
    size = max(1, VALUES_AT_ONCE // max(values, 1))
    return [slice(start, start + size) for start in range(0, edges, size)]


class Gate(nn.Module):
    """One gate per edge, between 0 and 1.

    Args:
        kind: see the table above.
        genes: G.
        width: d of the gene embedding.
        context: width of the context vector; only ``mlp`` reads it.
    """

    def __init__(self, kind: Kind, *, genes: int, width: int, context: int) -> None:
        super().__init__()
        self.kind = kind
        if kind == "scalar":
            self.level = nn.Parameter(torch.zeros(()))
        elif kind == "node":
            self.node_G = nn.Parameter(torch.zeros(genes))
        elif kind == "lowrank":
            self.source_Gr = nn.Parameter(SMALL * torch.randn(genes, RANK))
            self.target_Gr = nn.Parameter(SMALL * torch.randn(genes, RANK))
        elif kind == "mlp":
            self.source = nn.Linear(width, width)
            self.target = nn.Linear(width, width, bias=False)
            self.of_context = nn.Linear(context, width, bias=False)
            self.out = nn.Linear(width, 1)

    def forward(
        self, source_E: torch.Tensor, target_E: torch.Tensor, *, z_Gd: torch.Tensor, context_Bc: torch.Tensor
    ) -> torch.Tensor:
        """Gates [E], or [B, E] where they depend on the context."""
        if self.kind == "scalar":
            return torch.sigmoid(self.level).expand(len(source_E))
        if self.kind == "node":
            return torch.sigmoid(self.node_G[source_E]) * torch.sigmoid(self.node_G[target_E])
        if self.kind == "lowrank":
            return torch.sigmoid((self.source_Gr[source_E] * self.target_Gr[target_E]).sum(dim=1))
        if self.kind == "mlp":
            of_source_Gd, of_target_Gd, of_context_Bd = (
                self.source(z_Gd),
                self.target(z_Gd),
                self.of_context(context_Bc),
            )
            parts = [
                checkpoint(  # hidden values of a block of edges are made again for the gradient
                    self._opened,
                    of_source_Gd,
                    of_target_Gd,
                    of_context_Bd,
                    source_E[part],
                    target_E[part],
                    use_reentrant=False,
                    preserve_rng_state=False,
                )
                for part in blocks(len(source_E), values=of_context_Bd.numel())
            ]
            return torch.cat(parts, dim=1) if parts else z_Gd.new_ones(len(context_Bc), 0)
        return z_Gd.new_ones(len(source_E))

    def _opened(
        self,
        of_source_Gd: torch.Tensor,
        of_target_Gd: torch.Tensor,
        of_context_Bd: torch.Tensor,
        source_e: torch.Tensor,
        target_e: torch.Tensor,
    ) -> torch.Tensor:
        """Gates [B, e] of a block of edges."""
        edge_ed = of_source_Gd[source_e] + of_target_Gd[target_e]
        return torch.sigmoid(self.out(torch.tanh(edge_ed + of_context_Bd[:, None, :]))).squeeze(-1)
