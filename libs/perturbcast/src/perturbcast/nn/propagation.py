"""Sparse propagation along the edges of one gene graph.

h'_t = act(W h_t + sum over edges s -> t of w_st gate_st U h_s) + h_t

Edges are an index [2, E] and weights [E], buffers that move and are saved with the module. Work is O(B E d) and memory
O(B G d + E), or O(B G d + B E) with gates of each row: what an edge carries exists for a block of edges at a time and
is made again for the gradient. Nothing of size G x G exists. W, U and act map 0 to 0, so that a gene that no perturbed
gene reaches keeps a signal of exactly 0.

Axes: B rows, G genes, d width, E edges.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import nn

from perturbcast.nn.gates import Gate, Kind, blocks

__all__ = ["Propagation", "arrived", "in_degree_normalised"]

CLOSED = 1e-6  # a graph whose gated weights all lie below this says nothing


def in_degree_normalised(edges: torch.Tensor, weight: torch.Tensor, *, genes: int) -> torch.Tensor:
    """Weights [E] over the square root of the summed absolute weights into each target; 0 stays 0."""
    into_G = torch.zeros(genes, dtype=weight.dtype).index_add_(0, edges[1], weight.abs())
    return weight / into_G[edges[1]].clamp_min(1e-12).sqrt()


class _Arrived(torch.autograd.Function):
    """Sum over the edges into each gene of gate times message, without all messages at once."""

    @staticmethod
    def forward(
        ctx: Any, message_BGd: torch.Tensor, gated: torch.Tensor, source_E: torch.Tensor, target_E: torch.Tensor
    ) -> torch.Tensor:
        ctx.save_for_backward(message_BGd, gated, source_E, target_E)
        return _summed(message_BGd, gated, source_E, target_E)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        message_BGd, gated, source_E, target_E = ctx.saved_tensors
        (into_BGd,) = grads
        of_message = _summed(into_BGd, gated, target_E, source_E) if ctx.needs_input_grad[0] else None
        of_gate = None
        if ctx.needs_input_grad[1]:
            of_gate = torch.empty_like(gated)
            for part in blocks(len(source_E), values=message_BGd.shape[0] * message_BGd.shape[2]):
                product = (into_BGd[:, target_E[part]] * message_BGd[:, source_E[part]]).sum(dim=2)
                of_gate[..., part] = product if gated.ndim == 2 else product.sum(dim=0)
        return of_message, of_gate, None, None


def _summed(h_BGd: torch.Tensor, gated: torch.Tensor, source_E: torch.Tensor, target_E: torch.Tensor) -> torch.Tensor:
    found_BGd = torch.zeros_like(h_BGd)
    for part in blocks(len(source_E), values=h_BGd.shape[0] * h_BGd.shape[2]):
        gate = gated[..., part, None]
        found_BGd.index_add_(1, target_E[part], gate * h_BGd[:, source_E[part]])
    return found_BGd


def arrived(
    message_BGd: torch.Tensor, gated: torch.Tensor, *, source_E: torch.Tensor, target_E: torch.Tensor
) -> torch.Tensor:
    """Sum [B, G, d] over the edges into each gene of its gate ([E], or [B, E]) times the source's message."""
    return cast("torch.Tensor", _Arrived.apply(message_BGd, gated, source_E, target_E))


class Propagation(nn.Module):
    """Rounds of propagation over one graph.

    Args:
        edges: [2, E] int64, source row and target row of genes.
        weight: [E] signed weights.
        genes: G.
        width: d.
        context: width of the context vector.
        gate: kind of the gate.
        rounds: how far a perturbation travels, in edges.

    Raises:
        ValueError: an edge names a gene beyond G, or edges and weights differ in number.
    """

    def __init__(
        self,
        edges: torch.Tensor,
        weight: torch.Tensor,
        *,
        genes: int,
        width: int,
        context: int,
        gate: Kind = "none",
        rounds: int = 2,
    ) -> None:
        super().__init__()
        if edges.ndim != 2 or edges.shape != (2, len(weight)):
            raise ValueError(
                f"A graph is an index [2, E] and weights [E]; got {tuple(edges.shape)} and {len(weight)} weights."
            )
        if edges.numel() and (int(edges.min()) < 0 or int(edges.max()) >= genes):
            raise ValueError(
                f"Edges join genes 0 to {genes - 1}; one names {int(edges.max())} or {int(edges.min())}. "
                "The graph was made for other genes: build it on this dataset's genes."
            )
        self.edges: torch.Tensor
        self.weight: torch.Tensor
        self.register_buffer("edges", edges.to(torch.int64))
        self.register_buffer("weight", weight.clone())
        self.gate = Gate(gate, genes=genes, width=width, context=context)
        self.own = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in range(rounds))
        self.across = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in range(rounds))

    def forward(self, h_BGd: torch.Tensor, *, z_Gd: torch.Tensor, context_Bc: torch.Tensor) -> torch.Tensor:
        """Signals after all rounds [B, G, d]; the input itself where every gated weight is closed."""
        source_E, target_E = self.edges
        gated = self.weight * self.gate(source_E, target_E, z_Gd=z_Gd, context_Bc=context_Bc)
        if gated.numel() == 0 or bool((gated.abs() < CLOSED).all()):
            return h_BGd
        for own, across in zip(self.own, self.across, strict=True):
            arrived_BGd = arrived(across(h_BGd), gated, source_E=source_E, target_E=target_E)
            h_BGd = torch.tanh(own(h_BGd) + arrived_BGd) + h_BGd
        return h_BGd
