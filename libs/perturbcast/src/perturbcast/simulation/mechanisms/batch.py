"""The observational samples from which a mechanism fixes its scales."""

from __future__ import annotations

import dataclasses

import numpy as np

__all__ = ["Batch"]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """Samples of one node's inputs.

    Attributes:
        parents: [parent, sample] in sd units.
        noise: [sample] the node's own noise, unit variance.
    """

    parents: np.ndarray
    noise: np.ndarray
