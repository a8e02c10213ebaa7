"""Denoising: every gene of a cell is given back from a copy with noise in it (Vincent et al. 2008).

The copy has Gaussian noise added, in units of each gene's sd, and a share of its genes set to their mean. The loss is
the mean squared error over all genes, about 1 for a network that knows nothing. It learns what holds of a whole
cell, also which of its values to believe; where the noise is weak it may learn to copy.
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
        noise: sd of the noise, in sd of a gene.
        dropped: share of genes that are set to their mean, 0 to 1.
    """

    noise: float = 0.5
    dropped: float = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.noise < 0 or not 0 <= self.dropped < 1 or self.noise == self.dropped == 0:
            raise ValueError(
                f"Denoising needs noise >= 0 and dropped from 0 to below 1, not both 0; got {self.noise} and "
                f"{self.dropped}. A copy without noise teaches to copy."
            )


def build(config: Config, *, genes: int) -> Reconstruction:
    """The pretext task over ``genes`` standardised genes."""
    import torch

    from perturbcast.nn.reconstruction import Reconstruction

    def corrupt(x_BE: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        kept_BE = (torch.rand_like(x_BE) >= config.dropped).to(x_BE.dtype)
        return (x_BE + config.noise * torch.randn_like(x_BE)) * kept_BE, torch.ones_like(x_BE)

    return Reconstruction(corrupt, genes=genes, hidden=config.hidden, width=config.width, dropout=config.dropout)
