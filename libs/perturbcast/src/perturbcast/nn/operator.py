"""Operators: from a perturbation p, a context c and a state s to one number per gene, of low rank per gene.

| kind | signal of gene g |
|---|---|
| ``additive`` | <W_p p + W_s s + W_c c, z_g>: no interplay of perturbation and context |
| ``bases`` | <sum over k of alpha_k(c) B_k p, z_g>: the contextual operator |
| ``fused`` | the same with p' = MLP[p, c, s] in place of p |

Axes: B rows, G genes, d width, K bases.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

from perturbcast.nn.adapters import Adapter
from perturbcast.nn.adapters import Kind as AdapterKind

__all__ = ["Kind", "Operator"]

Kind = Literal["additive", "bases", "fused"]


class Operator(nn.Module):
    """Signal per gene [B, G] from row vectors and gene embeddings.

    Args:
        kind: see the table above.
        width: d of p, s and the gene embedding.
        context: width of the context vector.
        bases: K.
        adapter: how the hidden vector bends to the context.
        dropout: share of activations dropped while training.
    """

    def __init__(
        self, kind: Kind, *, width: int, context: int, bases: int, adapter: AdapterKind, dropout: float
    ) -> None:
        super().__init__()
        self.kind = kind
        self.adapter = Adapter(adapter, width=width, context=context)
        self.dropout = nn.Dropout(dropout)
        if kind == "additive":
            self.of_p = nn.Linear(width, width)
            self.of_s = nn.Linear(width, width, bias=False)
            self.of_c = nn.Linear(context, width, bias=False)
            return
        if kind == "fused":
            self.fuse = nn.Sequential(nn.Linear(2 * width + context, width), nn.GELU(), nn.Linear(width, width))
        self.mixture = nn.Linear(context, bases)
        self.bases_Kdd = nn.Parameter(torch.randn(bases, width, width) / width**0.5)

    def forward(
        self, p_Bd: torch.Tensor, *, s_Bd: torch.Tensor, context_Bc: torch.Tensor, z_Gd: torch.Tensor
    ) -> torch.Tensor:
        """Signal [B, G]."""
        if self.kind == "additive":
            hidden_Bd = self.of_p(self.adapter(p_Bd, context_Bc)) + self.of_s(s_Bd) + self.of_c(context_Bc)
        else:
            if self.kind == "fused":
                p_Bd = p_Bd + self.fuse(torch.cat([p_Bd, s_Bd, context_Bc], dim=1))
            alpha_BK = torch.softmax(self.mixture(context_Bc), dim=1)
            mixed_Bdd = torch.einsum("bk,kij->bij", alpha_BK, self.bases_Kdd)
            hidden_Bd = torch.einsum("bij,bj->bi", mixed_Bdd, self.adapter(p_Bd, context_Bc))
        return self.dropout(hidden_Bd) @ z_Gd.T
