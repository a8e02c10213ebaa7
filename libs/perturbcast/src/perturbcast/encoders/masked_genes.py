"""Masked genes: the genes that were hidden from the encoder are given back from those that were not.

A share of a cell's genes is set to its mean; the loss is the mean squared error over these genes alone, about 1 for a
network that knows nothing. It can not be met by copying: what is learned is how genes hang together.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from perturbcast.encoders.pretraining import Pretraining

if TYPE_CHECKING:
    import torch

    from perturbcast.nn.reconstruction import Reconstruction

__all__ = ["Config", "build"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(Pretraining):
    """Parameters, beside those of ``Pretraining``.

    Attributes:
        masked: share of genes that are hidden, between 0 and 1.
    """

    masked: float = 0.3

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.masked < 1:
            raise ValueError(
                f"Masked genes are some and not all: masked lies between 0 and 1; got {self.masked}. 0.3 is usual."
            )


def build(config: Config, *, genes: int) -> Reconstruction:
    """The pretext task over ``genes`` standardised genes."""
    import torch

    from perturbcast.nn.reconstruction import Reconstruction

    def corrupt(x_BE: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        masked_BE = (torch.rand_like(x_BE) < config.masked).to(x_BE.dtype)
        return x_BE * (1 - masked_BE), masked_BE

    return Reconstruction(corrupt, genes=genes, hidden=config.hidden, width=config.width, dropout=config.dropout)
