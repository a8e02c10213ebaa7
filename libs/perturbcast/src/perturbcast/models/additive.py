"""Adds the deltas of the single perturbations: the baseline to beat on combinations.

A single measured in the same context is used as it is, else its mean over train contexts. A single that
train does not hold counts as the mean single effect, and the prediction says so. (Ahlmann-Eltze, Huber and
Anders 2025, "additive".)

Variance, summed over targets: the sampling error of a single of the same context; the spread of one perturbation's
effect between contexts for a mean over others; the spread of singles for one that is missing; and once for the sum, how
far train combinations lie from theirs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Self

import numpy as np

from perturbcast.models.interface import Response, TrainingSet
from perturbcast.models.spread import context_variance, effect_variance, sampling_variance
from perturbcast.schema import Condition

__all__ = ["Config", "Model"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """No parameters."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Model:
    """Single-perturbation deltas of train.

    Attributes:
        pairs: [perturbation, context] of the S train singles.
        delta: [S, gene].
        error: [S, gene] sampling variance of each.
        missing: [gene] delta that an unmeasured single counts as: the mean over train singles, or over all
            train conditions where train holds no single.
        missing_variance: [gene] its variance.
        between_contexts: [gene] variance of a single's effect over contexts.
        interaction: [gene] variance of train combinations around the sum of their singles.
    """

    pairs: list[list[str]]
    delta: np.ndarray
    error: np.ndarray
    missing: np.ndarray
    missing_variance: np.ndarray
    between_contexts: np.ndarray
    interaction: np.ndarray

    @classmethod
    def fit(cls, train: TrainingSet, config: Config, *, generator: np.random.Generator) -> Self:
        """Keep the singles; estimate interaction from train combinations, or the sampling error without any."""
        effects = train.effects
        combination = np.array([c.is_combination for c in effects.conditions])
        singles = effects.select(~combination)
        known = singles if len(singles.conditions) else effects
        mean = known.delta.mean(axis=0)
        spread = effect_variance(known.delta - mean, degrees=len(known.delta) - 1)
        names = np.array([c.perturbation for c in known.conditions])
        model = cls(
            pairs=[[c.perturbation, c.context] for c in singles.conditions],
            delta=singles.delta,
            error=singles.error,
            missing=mean,
            missing_variance=spread,
            between_contexts=context_variance(names, known.delta, otherwise=spread),
            interaction=sampling_variance(effects.error),
        )
        pairs = effects.select(combination)
        if len(pairs.conditions) < 2:
            return model
        residual = pairs.delta - model.predict(pairs.conditions, control=pairs.control).delta
        return dataclasses.replace(model, interaction=effect_variance(residual, degrees=len(residual)))

    def predict(self, conditions: Sequence[Condition], *, control: np.ndarray) -> Response:
        """Sum over the targets of each condition."""
        rows = {tuple(pair): i for i, pair in enumerate(self.pairs)}
        names = np.array([pair[0] for pair in self.pairs], dtype=object)
        delta, variance = np.zeros_like(control, dtype=np.float64), np.tile(self.interaction, (len(conditions), 1))
        notes: list[tuple[str, ...]] = []
        for i, condition in enumerate(conditions):
            said: list[str] = []
            for target in condition.targets:
                row = rows.get((target, condition.context))
                same = np.array([row]) if row is not None else np.flatnonzero(names == target)
                if len(same) == 0:
                    delta[i] += self.missing
                    variance[i] += self.missing_variance
                    said.append(f"{target} was not measured alone: the mean single effect stands in")
                    continue
                delta[i] += self.delta[same].mean(axis=0)
                if row is not None:
                    variance[i] += self.error[row]
                else:
                    variance[i] += self.between_contexts * (1 + 1 / len(same))
                    said.append(f"{target}: mean over {len(same)} train contexts")
            notes.append(tuple(said))
        return Response(delta=delta, variance=variance, notes=tuple(notes))
