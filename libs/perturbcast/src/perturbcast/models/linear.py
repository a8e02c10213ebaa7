"""Bilinear ridge on gene embeddings: predicts a target that was never perturbed from where it sits among genes.

Y = G W P' + b with Y the train deltas [gene, condition], G the gene embedding [gene, k] (principal components
of train profiles), P the perturbation embedding [condition, k] (the embedding rows of the target genes,
summed over a combination), b the mean train delta. W has a closed form:
(G'G + aI)^-1 G'(Y - b) P (P'P + aI)^-1. (Ahlmann-Eltze, Huber and Anders 2025, equation of the linear model.)
A target that is not a measured gene has no embedding; the prediction is then b, and says so.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Self

import numpy as np

from perturbcast.features import TargetFeatures
from perturbcast.features.expression import of_profiles
from perturbcast.models.interface import Response, TrainingSet
from perturbcast.models.spread import effect_variance, sampling_variance
from perturbcast.schema import Condition

__all__ = ["Config", "Model"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Parameters.

    Attributes:
        components: principal components of the gene embedding, count; fewer where train has fewer conditions.
        ridge: penalty on W; a gene embedding has a mean squared length of 1.
    """

    components: int = 10
    ridge: float = 0.1

    def __post_init__(self) -> None:
        if self.components < 1 or self.ridge <= 0:
            raise ValueError(
                f"The linear model needs components >= 1 and ridge > 0; got {self.components} and {self.ridge}."
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Model:
    """Fitted weights.

    Attributes:
        genes: names of the G genes.
        embedding: [gene, k].
        weight: [k, k].
        offset: [gene] mean train delta.
        variance: [gene] of train effects around the fit, plus sampling error.
        offset_variance: [gene] of train effects around ``offset``, plus sampling error.
    """

    genes: list[str]
    embedding: np.ndarray
    weight: np.ndarray
    offset: np.ndarray
    variance: np.ndarray
    offset_variance: np.ndarray

    @classmethod
    def fit(cls, train: TrainingSet, config: Config, *, generator: np.random.Generator) -> Self:
        """Closed form; ``generator`` is not drawn from."""
        effects = train.effects
        offset = effects.delta.mean(axis=0)
        features = of_profiles(effects, components=config.components)
        embedding = features.vectors
        genes = list(effects.genes)
        targets, known = features.of([c.names for c in effects.conditions])
        usable = np.flatnonzero([len(missing) == 0 for missing in known])
        k = embedding.shape[1]
        left = embedding.T @ embedding + config.ridge * np.eye(k)
        right = targets[usable].T @ targets[usable] + config.ridge * np.eye(k)
        middle = embedding.T @ (effects.delta[usable] - offset).T @ targets[usable]
        weight = np.linalg.solve(left, np.linalg.solve(right, middle.T).T)
        fitted = offset + targets @ weight.T @ embedding.T
        around_offset = effect_variance(effects.delta - offset, degrees=len(effects.delta) - 1)
        sampling = sampling_variance(effects.error)
        # k degrees of freedom go into W along the perturbation axis
        spread = effect_variance(effects.delta - fitted, degrees=max(len(effects.delta) - 1 - min(k, len(usable)), 1))
        return cls(
            genes=genes,
            embedding=embedding,
            weight=weight,
            offset=offset,
            variance=np.minimum(spread, around_offset) + sampling,
            offset_variance=around_offset + sampling,
        )

    @functools.cached_property
    def _features(self) -> TargetFeatures:
        return TargetFeatures(names=tuple(self.genes), vectors=self.embedding)

    def predict(self, conditions: Sequence[Condition], *, control: np.ndarray) -> Response:
        """Offset plus the bilinear term of the targets."""
        targets, missing = self._features.of([c.names for c in conditions])
        known = np.array([len(names) == 0 for names in missing])[:, None]
        return Response(
            delta=self.offset + targets @ self.weight.T @ self.embedding.T,
            variance=np.where(known, self.variance, self.offset_variance),
            notes=tuple(map(_notes, conditions, missing)),
        )


def _notes(condition: Condition, missing: Sequence[str]) -> tuple[str, ...]:
    unknown = [f"{name} is not a measured gene: it adds nothing to the mean train effect" for name in missing]
    dosed = [label for label, dose in zip(condition.targets, condition.doses, strict=True) if dose is not None]
    return (*unknown, *(f"the dose of {label} is no input: every dose is answered alike" for label in dosed))
