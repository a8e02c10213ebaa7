"""Borrows from the most similar perturbations of train: what pathway mates, graph neighbours or like genes did.

For each target of a condition, its own measured delta where train holds the single (same context if measured there,
else the mean over contexts); otherwise the mean delta of the k train singles whose features have the largest positive
cosine with its own, of the same context where train holds any there. A combination is the sum over its targets. A
target without features, or without a similar one, counts as the mean single effect (of its context, where train holds
any there), and the prediction says so.

Variance: the spread of train singles around what is borrowed for each when its own perturbation is left out; of a
measured single its sampling error, of one measured in other contexts the spread of effects between contexts; summed
over targets.

Axes: S train singles, N named targets, G genes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Self

import numpy as np

from perturbcast.features import FeatureChoice, gather
from perturbcast.models.interface import Response, TrainingSet
from perturbcast.models.spread import context_variance, effect_variance, sampling_variance
from perturbcast.schema import Condition, dosed

__all__ = ["Config", "Model"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(FeatureChoice):
    """Parameters, beside the choice of target features of ``FeatureChoice``.

    Attributes:
        k: train perturbations that a new one borrows from, count.
    """

    k: int = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.k < 1:
            raise ValueError(f"Nearest borrows from at least one perturbation; k is {self.k}. Give 1 or more.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Model:
    """Train singles, and features of targets.

    Attributes:
        k: perturbations to borrow from.
        pairs: [perturbation, context] of the S singles; of all train conditions where train holds no single.
        delta: [S, gene].
        error: [S, gene] sampling variance of each.
        named: N targets with features.
        features: [N, f] of length 1.
        mean: [gene] mean single effect.
        mean_variance: [gene] of singles around it; a target of which nothing is known has the larger of the two.
        between_contexts: [gene] of a single's effect over contexts.
        borrowed_variance: [gene] of singles around what would be borrowed for them.
        sampling: [gene] typical sampling variance.
    """

    k: int
    pairs: list[list[str]]
    delta: np.ndarray
    error: np.ndarray
    named: list[str]
    features: np.ndarray
    mean: np.ndarray
    mean_variance: np.ndarray
    between_contexts: np.ndarray
    borrowed_variance: np.ndarray
    sampling: np.ndarray

    @classmethod
    def fit(cls, train: TrainingSet, config: Config, *, generator: np.random.Generator) -> Self:
        """Keep singles and features; ``generator`` is not drawn from.

        Raises:
            ValueError: the graph was not given, or a file is not what it should be.
        """
        single = np.array([not condition.is_combination for condition in train.effects.conditions])
        known = train.effects.select(single) if single.any() else train.effects
        features = gather(config, effects=train.effects, cells=train.cells, graphs=train.graphs)
        length = np.sqrt((features.vectors**2).sum(axis=1))
        there = np.flatnonzero(length > 0)
        mean = known.delta.mean(axis=0)
        spread = effect_variance(known.delta - mean, degrees=len(known.delta) - 1)
        perturbations = np.array([condition.perturbation for condition in known.conditions])
        model = cls(
            k=config.k,
            pairs=[[condition.perturbation, condition.context] for condition in known.conditions],
            delta=known.delta,
            error=known.error,
            named=[features.names[i] for i in there],
            features=features.vectors[there] / length[there, None],
            mean=mean,
            mean_variance=spread,
            between_contexts=context_variance(perturbations, known.delta, otherwise=spread),
            borrowed_variance=np.zeros(len(mean)),
            sampling=sampling_variance(train.effects.error),
        )
        residual = []
        for row, (perturbation, context) in enumerate(model.pairs):
            rows = model._similar(perturbation, context)
            if len(rows):
                residual.append(known.delta[row] - known.delta[rows].mean(axis=0))
        spread = effect_variance(np.array(residual), degrees=len(residual)) if residual else model.mean_variance
        return dataclasses.replace(model, borrowed_variance=spread)

    def predict(self, conditions: Sequence[Condition], *, control: np.ndarray) -> Response:
        """Sum over the targets of each condition."""
        names = np.array([pair[0] for pair in self.pairs], dtype=object)
        contexts = np.array([pair[1] for pair in self.pairs], dtype=object)
        place = {tuple(pair): i for i, pair in enumerate(self.pairs)}
        delta = np.zeros_like(control, dtype=np.float64)
        variance = np.tile(self.sampling, (len(conditions), 1))
        notes: list[tuple[str, ...]] = []
        for i, condition in enumerate(conditions):
            said: list[str] = []
            for target in condition.targets:
                own = place.get((target, condition.context))
                same = np.array([own]) if own is not None else np.flatnonzero(names == target)
                similar = same if len(same) else self._similar(target, condition.context)
                if len(similar) == 0:
                    here = np.flatnonzero(contexts == condition.context)
                    delta[i] += self.delta[here].mean(axis=0) if len(here) else self.mean
                    variance[i] += np.maximum(self.mean_variance, self.borrowed_variance)
                    said.append(f"no feature found for {target}, or none like it: the mean single effect stands in")
                    continue
                delta[i] += self.delta[similar].mean(axis=0)
                if own is not None:
                    variance[i] += self.error[own]
                elif len(same):
                    variance[i] += self.between_contexts * (1 + 1 / len(same))
                    said.append(f"{target}: mean over {len(same)} train contexts")
                else:
                    variance[i] += self.borrowed_variance
                    said.append(f"{target}: mean of {', '.join(dict.fromkeys(names[similar]))}")
            notes.append(tuple(said))
        return Response(delta=delta, variance=variance, notes=tuple(notes))

    def _similar(self, target: str, context: str) -> np.ndarray:
        """Rows of the k train perturbations most similar to ``target``, itself left out."""
        place = {name: i for i, name in enumerate(self.named)}
        of_label = {label: place.get(dosed(label)[0]) for label in (target, *(pair[0] for pair in self.pairs))}
        if of_label[target] is None:
            return np.zeros(0, dtype=np.int64)
        others = sorted({pair[0] for pair in self.pairs if pair[0] != target and of_label[pair[0]] is not None})
        here = {pair[0] for pair in self.pairs if pair[1] == context}
        if here & set(others):
            others = [name for name in others if name in here]
        likeness = np.array([self.features[of_label[target]] @ self.features[of_label[name]] for name in others])
        best = [others[i] for i in np.argsort(-likeness, kind="stable")[: self.k] if likeness[i] > 1e-9]
        chosen = []
        for name in best:
            rows = [i for i, pair in enumerate(self.pairs) if pair[0] == name]
            chosen += [i for i in rows if self.pairs[i][1] == context] or rows
        return np.array(chosen, dtype=np.int64)
