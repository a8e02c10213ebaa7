"""The network of ``cgio``: a perturbation travels along gene graphs, a context bends it, each gene decodes its own.

z_g = W [1, features of g] (+ nothing per gene that is free, so that a gene which was never perturbed has a trained
vector); h0_g = z_g m_g; propagation per graph; mixture over graphs by the context; p = degree-normalised sum of the
signals (and rows of seen ids, where asked for); operator -> one number per gene; a head that all genes share reads
that number, the gene's own signal and its measured features, and gives mean and variance. With ``context="levels"``
it also reads how far the perturbed genes' own control levels lie from those of train contexts: a regulator that is
hardly there has little to lose, and the few axes of a profile do not say which gene that is.

Axes: B rows, G genes, d width, c context width, F features per row and gene, I ids, M graphs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import nn

from perturbcast.nn import adapters, gates, operator, state
from perturbcast.nn.heads import positive
from perturbcast.nn.propagation import Propagation, in_degree_normalised

__all__ = ["Intervention", "Shape", "perturbed_level"]

HIDDEN = 16
HEADS = 2


def perturbed_level(profile_BG: torch.Tensor, dose_BG: torch.Tensor) -> torch.Tensor:
    """Mean [B, 1] of the standardised control levels of the perturbed genes of a row; 0 without any."""
    perturbed_BG = (dose_BG != 0).to(profile_BG.dtype)
    return (perturbed_BG * profile_BG).sum(dim=1, keepdim=True) / perturbed_BG.sum(dim=1, keepdim=True).clamp_min(1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shape:
    """What the network consists of.

    Attributes:
        genes: G.
        ids: I perturbation ids that train holds; 0 for features alone.
        contexts: contexts that train holds, for ``context="id"``.
        features: F.
        context: how the context is known: ``none``, ``id`` (a trained row each), ``features`` (axes of the control
            profile) or ``levels`` (these, and the control level of what is perturbed).
        width: d, also of the context vector.
    """

    genes: int
    ids: int
    contexts: int
    features: int
    context: Literal["none", "id", "features", "levels"]
    width: int
    rounds: int
    gate: gates.Kind
    state: state.Kind
    operator: operator.Kind
    bases: int
    adapter: adapters.Kind
    dropout: float


class Intervention(nn.Module):
    """Mean and variance of the delta of each row, in units of the typical train effect.

    Args:
        shape: what it consists of.
        gene_features: [G, k] fixed features of genes.
        profile_axes: [a, G] axes that a standardised control profile is projected on for the context.
        graphs: (edges [2, E], weight [E]) each.
        tokens: [T] genes that a transformer reads.
        pretrained: the state's encoder, for ``state="pretrained"``.
    """

    def __init__(
        self,
        shape: Shape,
        *,
        gene_features: torch.Tensor,
        profile_axes: torch.Tensor,
        graphs: Sequence[tuple[torch.Tensor, torch.Tensor]],
        tokens: torch.Tensor,
        pretrained: state.PretrainedState | None = None,
    ) -> None:
        super().__init__()
        self.shape = shape
        d, G = shape.width, shape.genes
        self.gene_features: torch.Tensor
        self.profile_axes: torch.Tensor
        constant = torch.ones(G, 1, dtype=gene_features.dtype)
        self.register_buffer("gene_features", torch.cat([constant, gene_features], dim=1))
        self.register_buffer("profile_axes", profile_axes)
        self.of_gene = nn.Linear(self.gene_features.shape[1], d, bias=False)
        if shape.ids:
            self.of_id = nn.Parameter(torch.randn(shape.ids, d) / d**0.5)
        if shape.context in ("features", "levels"):
            self.of_profile = nn.Sequential(nn.Linear(len(profile_axes), d), nn.Tanh())
        elif shape.context == "id":
            self.of_context = nn.Parameter(torch.randn(shape.contexts, d) / d**0.5)
        if shape.state == "mlp":
            self.encode: nn.Module = state.MlpState(genes=G, width=d, dropout=shape.dropout)
        elif shape.state == "transformer":
            self.encode = state.TransformerState(tokens, width=d, heads=HEADS, dropout=shape.dropout)
        elif pretrained is not None:
            self.encode = pretrained
        self.graphs = nn.ModuleList(
            Propagation(
                edges,
                in_degree_normalised(edges, weight, genes=G),
                genes=G,
                width=d,
                context=d,
                gate=shape.gate,
                rounds=shape.rounds,
            )
            for edges, weight in graphs
        )
        if graphs:
            self.choose = nn.Linear(d, len(graphs))
        self.pooled = nn.Linear(d, d, bias=False)
        self.operate = operator.Operator(
            shape.operator, width=d, context=d, bases=shape.bases, adapter=shape.adapter, dropout=shape.dropout
        )
        self.signal = nn.Linear(d, 4, bias=False)
        self.own = nn.Linear(d, 4, bias=False)
        read = 1 + 4 + 4 + shape.features + (shape.context == "levels")
        self.head = nn.Sequential(nn.Linear(read, HIDDEN), nn.GELU())
        self.mean = nn.Linear(HIDDEN + 1 + 4 + shape.features, 1)
        self.spread = nn.Linear(HIDDEN, 1)
        for layer in (self.mean, self.spread):  # starts as the base that it corrects
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, row: Mapping[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and variance [B, G].

        Args:
            row: ``dose`` [B, G] signed dose of each gene; ``profile`` [B, G] standardised control profile;
                ``features`` [B, G, F]; ``base`` [B, G] what the mean is added to; with ids ``ids`` [B, I] counts;
                with context ids ``contexts`` [B, C] one-hot, a row of 1/C where it is unknown; with a pretrained state
                ``control`` [B, G] log1p control profile.
        """
        dose_BG, profile_BG, features_BGF = row["dose"], row["profile"], row["features"]
        z_Gd = self.of_gene(self.gene_features)
        context_Bd = self.context(row)
        signal_BGd = self.propagate(dose_BG[..., None] * z_Gd, z_Gd=z_Gd, context_Bd=context_Bd)
        reached_B1 = (signal_BGd != 0).any(dim=2).sum(dim=1, keepdim=True).to(z_Gd.dtype)
        p_Bd = self.pooled(signal_BGd.sum(dim=1) / reached_B1.clamp_min(1).sqrt())
        if self.shape.ids:
            p_Bd = p_Bd + row["ids"] @ self.of_id
        level_BG = row["control"] if self.shape.state == "pretrained" else profile_BG
        s_Bd = torch.zeros_like(p_Bd) if self.shape.state == "none" else self.encode(level_BG, z_Gd)
        operated_BG = self.operate(p_Bd, s_Bd=s_Bd, context_Bc=context_Bd, z_Gd=z_Gd)
        own_BG4 = self.own(z_Gd).expand(len(dose_BG), -1, -1)
        linear = torch.cat([operated_BG[..., None], self.signal(signal_BGd), features_BGF], dim=2)
        read = [linear, own_BG4]
        if self.shape.context == "levels":
            read.append(perturbed_level(profile_BG, dose_BG)[:, None, :].expand(-1, self.shape.genes, -1))
        hidden = self.head(torch.cat(read, dim=2))
        mean_BG = self.mean(torch.cat([hidden, linear], dim=2)).squeeze(-1)
        return row["base"] + mean_BG, positive(self.spread(hidden).squeeze(-1))

    def context(self, row: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Context vectors [B, d]."""
        if self.shape.context in ("features", "levels"):
            return self.of_profile(torch.tanh(row["profile"] @ self.profile_axes.T))
        if self.shape.context == "id":
            return row["contexts"] @ self.of_context
        return row["profile"].new_zeros(len(row["profile"]), self.shape.width)

    def propagate(self, h_BGd: torch.Tensor, *, z_Gd: torch.Tensor, context_Bd: torch.Tensor) -> torch.Tensor:
        """Signals [B, G, d], mixed over graphs; the input itself without a graph."""
        if len(self.graphs) == 0:
            return h_BGd
        share_BM = torch.softmax(self.choose(context_Bd), dim=1)
        signal_BGd = torch.zeros_like(h_BGd)
        for m, graph in enumerate(self.graphs):
            signal_BGd = signal_BGd + share_BM[:, m, None, None] * graph(h_BGd, z_Gd=z_Gd, context_Bc=context_Bd)
        return signal_BGd
