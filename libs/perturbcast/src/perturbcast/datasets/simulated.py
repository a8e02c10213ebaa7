"""A small simulated screen with its truth: what runs where no measured data can be reached, and the oracle's home.

60 genes under Hill regulation by hub regulators, four contexts with baselines and some regulations of their own,
20 knock-downs and 6 pairs of them in every context. Its licence is that of Perturbcast; it has no accession.
"""

from __future__ import annotations

import dataclasses

import scipy.sparse as sp

from perturbcast.schema import PerturbationData
from perturbcast.simulation import ScreenConfig, simulate

__all__ = ["Config", "build"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(ScreenConfig):
    """Every parameter of ``ScreenConfig``, at the demo's size.

    Attributes:
        library_size: median counts per cell; low enough that cells have zeros.
    """

    library_size: float = 1500.0


def build(config: Config, *, workers: int = 1) -> tuple[PerturbationData, sp.csr_matrix]:
    """The dataset with its truth, and raw counts [cell, gene].

    Args:
        config: what to simulate.
        workers: threads; the bytes are the same for any number.

    Raises:
        UsageError: what was asked for cannot be.
    """
    return simulate(config, workers=workers)
