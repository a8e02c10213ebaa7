"""Predicts no change: the floor under every other model.

Nothing may score below it unnoticed. Its variance is the mean squared train effect per gene.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Self

import numpy as np

from perturbcast.models.interface import Response, TrainingSet
from perturbcast.models.spread import effect_variance
from perturbcast.schema import Condition

__all__ = ["Config", "Model"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """No parameters."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Model:
    """Fitted floor; ``variance`` [gene], squared units of X."""

    variance: np.ndarray

    @classmethod
    def fit(cls, train: TrainingSet, config: Config, *, generator: np.random.Generator) -> Self:
        """Keep how far train effects lie from zero."""
        delta = train.effects.delta
        return cls(variance=effect_variance(delta, degrees=len(delta)))

    def predict(self, conditions: Sequence[Condition], *, control: np.ndarray) -> Response:
        """Zero for every condition."""
        return Response(
            delta=np.zeros_like(control, dtype=np.float64),
            variance=np.tile(self.variance, (len(conditions), 1)),
            notes=((),) * len(conditions),
        )
