"""Every part of a simulation draws from a stream of its own, so that changing one leaves the others.

A stream is a ``SeedSequence`` with the user's seed and the path of the part: drawing more cells does not move
the graph, and a fourth context does not move the first three.
"""

from __future__ import annotations

import enum

import numpy as np

__all__ = ["Part", "stream"]


class Part(enum.IntEnum):
    """First element of the path; never renumber one, or seeds mean other data."""

    GRAPH = 0
    WORLD = 1
    TARGETS = 2
    STRENGTH = 3
    COMBINATIONS = 4
    SYSTEMATIC = 5
    UNPREDICTABLE = 6
    BATCHES = 7
    CELLS = 8
    TRUTH = 9
    LABELS = 10
    TRAINING = 11
    VALIDATION = 12
    TEST = 13


def stream(seed: int, part: Part, *path: int) -> np.random.SeedSequence:
    """The stream of one part under ``seed``."""
    return np.random.SeedSequence(seed, spawn_key=(int(part), *path))
