"""The mean perturbed train profile, whatever the perturbation: the reference of Systema-style scores.

Its delta is that profile minus the control of the context asked about, so across contexts it also carries
the difference between the contexts' baselines. (Systema, Vinas Torne et al.; Ahlmann-Eltze et al. 2025.)
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Self

import numpy as np

from perturbcast.models.interface import Response, TrainingSet
from perturbcast.models.spread import effect_variance, sampling_variance
from perturbcast.schema import Condition

__all__ = ["Config", "Model"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """No parameters."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Model:
    """Mean profile [gene] and the variance [gene] of train profiles around it."""

    profile: np.ndarray
    variance: np.ndarray

    @classmethod
    def fit(cls, train: TrainingSet, config: Config, *, generator: np.random.Generator) -> Self:
        """Average the perturbed means of train conditions, one vote each."""
        profiles = train.effects.mean
        mean = profiles.mean(axis=0)
        spread = effect_variance(profiles - mean, degrees=len(profiles) - 1)
        return cls(profile=mean, variance=spread * (1 + 1 / len(profiles)) + sampling_variance(train.effects.error))

    def predict(self, conditions: Sequence[Condition], *, control: np.ndarray) -> Response:
        """The mean profile minus each condition's control mean."""
        return Response(
            delta=self.profile - control,
            variance=np.tile(self.variance, (len(conditions), 1)),
            notes=((),) * len(conditions),
        )
