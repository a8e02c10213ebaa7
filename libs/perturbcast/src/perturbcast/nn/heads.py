"""What comes out: a mean and a variance per gene, and the loss of both on effects of known sampling error.

The measured delta of a condition is its true delta plus sampling error of variance e (known). A prediction of mean
m and variance v is scored by the Gaussian likelihood of N(m, v + e). Its gradient for the mean is divided by v + e,
so that genes the network calls noisy are hardly learned; beta-NLL multiplies each term by (v + e)^beta, held
constant (Seitzer et al. 2022, arXiv 2203.09168): 0 is the likelihood, 1 gives the mean the gradient of squared error.

Axes: B rows, G genes.
"""

from __future__ import annotations

import torch
from torch.nn.functional import softplus

__all__ = ["FLOOR", "beta_nll", "positive"]

FLOOR = 1e-4  # of a variance, in units of the mean squared train effect


def positive(raw: torch.Tensor) -> torch.Tensor:
    """softplus + floor: a variance from any real number."""
    return softplus(raw) + FLOOR


def beta_nll(
    mean_BG: torch.Tensor, variance_BG: torch.Tensor, *, target_BG: torch.Tensor, error_BG: torch.Tensor, beta: float
) -> torch.Tensor:
    """Loss per row [B]: mean over genes of (v + e)^beta [log(v + e) + (y - m)^2 / (v + e)] / 2."""
    total_BG = variance_BG + error_BG
    loss_BG = 0.5 * (total_BG.log() + (target_BG - mean_BG) ** 2 / total_BG)
    return (loss_BG * total_BG.detach() ** beta).mean(dim=1)
