"""The oracle of a simulated dataset: predicts the stored true delta of every condition.

It stands in each report as what a perfect model of the mean would score; it learns nothing, and exists only
where ``uns["truth"]`` does.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Self

import numpy as np

from perturbcast.errors import UnanswerableError
from perturbcast.models.interface import Response, TrainingSet
from perturbcast.models.spread import sampling_variance
from perturbcast.schema import Condition

__all__ = ["Config", "Model"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """No parameters."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Model:
    """Stored truth.

    Attributes:
        contexts: C context names.
        perturbations: P canonical labels.
        delta: [context, perturbation, gene] true deltas in the units of X.
        error: [context, perturbation, gene] variance of ``delta``.
        sampling: [gene] typical sampling variance of a measured delta.
    """

    contexts: list[str]
    perturbations: list[str]
    delta: np.ndarray
    error: np.ndarray
    sampling: np.ndarray

    @classmethod
    def fit(cls, train: TrainingSet, config: Config, *, generator: np.random.Generator) -> Self:
        """Keep the stored truth, its genes in the order of the data.

        Raises:
            ValueError: the dataset has no stored truth, or it lacks genes of the data.
        """
        if train.truth is None:
            raise ValueError(
                "Model 'truth' predicts the stored truth of a simulated dataset; this dataset has none "
                "(uns['truth']). Leave the model out for measured data, or use dataset 'simulated'."
            )
        column = {str(gene): i for i, gene in enumerate(train.truth["genes"])}
        absent = [gene for gene in train.effects.genes if gene not in column]
        if absent:
            raise ValueError(
                f"The stored truth covers the genes of its dataset; {len(absent)} are missing, first {absent[0]!r}. "
                "Simulate the dataset again."
            )
        genes = [column[gene] for gene in train.effects.genes]
        return cls(
            contexts=[str(name) for name in train.truth["contexts"]],
            perturbations=[str(name) for name in train.truth["perturbations"]],
            delta=np.asarray(train.truth["delta"], dtype=np.float64)[..., genes],
            error=np.asarray(train.truth["delta_se"], dtype=np.float64)[..., genes] ** 2,
            sampling=sampling_variance(train.effects.error),
        )

    def predict(self, conditions: Sequence[Condition], *, control: np.ndarray) -> Response:
        """The true delta; its variance is that of a measured delta around the truth.

        Raises:
            UnanswerableError: a condition was not simulated.
        """
        row = {name: i for i, name in enumerate(self.contexts)}
        column = {name: i for i, name in enumerate(self.perturbations)}
        absent = [c for c in conditions if c.context not in row or c.perturbation not in column]
        if absent:
            raise UnanswerableError(
                f"Model 'truth' knows the conditions that were simulated; {str(absent[0])!r} was not. "
                "Ask for a simulated condition, or another model."
            )
        where = ([row[c.context] for c in conditions], [column[c.perturbation] for c in conditions])
        return Response(
            delta=self.delta[where],
            variance=np.maximum(self.error[where] + self.sampling, 1e-6),
            notes=((),) * len(conditions),
        )
