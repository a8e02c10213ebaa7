"""The mean train delta: of the same perturbation and context, else of the perturbation, else of all.

With a context held out, the mean of the same perturbation over train contexts is a strong baseline; with a
perturbation held out it predicts one response for all. It says in a note which mean it used.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal, Self

import numpy as np

from perturbcast.models.interface import Response, TrainingSet
from perturbcast.models.spread import context_variance, effect_variance, sampling_variance
from perturbcast.schema import Condition

__all__ = ["Config", "Model"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Parameters.

    Attributes:
        level: the finest mean to use: ``pair`` (perturbation and context), ``perturbation``, ``global``.
            Where it was not measured, the next coarser one answers.
    """

    level: Literal["pair", "perturbation", "global"] = "pair"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Model:
    """Train deltas and their spreads.

    Attributes:
        level: finest mean used.
        pairs: [perturbation, context] of the P train conditions.
        delta: [P, gene].
        error: [P, gene] sampling variance of each.
        between_contexts: [gene] variance of one perturbation's effect over contexts.
        between_perturbations: [gene] variance of effects over all train conditions.
        sampling: [gene] typical sampling variance.
    """

    level: str
    pairs: list[list[str]]
    delta: np.ndarray
    error: np.ndarray
    between_contexts: np.ndarray
    between_perturbations: np.ndarray
    sampling: np.ndarray

    @classmethod
    def fit(cls, train: TrainingSet, config: Config, *, generator: np.random.Generator) -> Self:
        """Keep the deltas; estimate how they spread within and between perturbations."""
        effects = train.effects
        names = np.array([c.perturbation for c in effects.conditions])
        overall = effect_variance(effects.delta - effects.delta.mean(axis=0), degrees=len(names) - 1)
        return cls(
            level=config.level,
            pairs=[[c.perturbation, c.context] for c in effects.conditions],
            delta=effects.delta,
            error=effects.error,
            between_contexts=context_variance(names, effects.delta, otherwise=overall),
            between_perturbations=overall,
            sampling=sampling_variance(effects.error),
        )

    def predict(self, conditions: Sequence[Condition], *, control: np.ndarray) -> Response:
        """The finest mean that train holds for each condition."""
        names = np.array([pair[0] for pair in self.pairs])
        rows = {tuple(pair): i for i, pair in enumerate(self.pairs)}
        delta, variance = np.empty_like(control, dtype=np.float64), np.empty_like(control, dtype=np.float64)
        notes: list[tuple[str, ...]] = []
        for i, condition in enumerate(conditions):
            row = rows.get((condition.perturbation, condition.context))
            same = np.flatnonzero(names == condition.perturbation)
            if self.level == "pair" and row is not None:
                delta[i], variance[i] = self.delta[row], self.error[row] + self.sampling
                notes.append(())
            elif self.level != "global" and len(same):
                delta[i] = self.delta[same].mean(axis=0)
                variance[i] = self.between_contexts * (1 + 1 / len(same)) + self.sampling
                notes.append((f"mean of {condition.perturbation} over {len(same)} train contexts",))
            else:
                delta[i] = self.delta.mean(axis=0)
                variance[i] = self.between_perturbations * (1 + 1 / len(names)) + self.sampling
                notes.append((f"mean of all {len(names)} train conditions",))
        return Response(delta=delta, variance=variance, notes=tuple(notes))
