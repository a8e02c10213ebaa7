"""Ridge regression from what is perturbed, and where, to the delta: the plain learner that others have to beat.

Inputs of a condition, each block of mean squared length 1 over train: which train targets it perturbs (one-hot, signed
by kind), the features of its targets (see Config), and the principal components of its control profile. Inputs and
deltas are centred on train, so a condition of which nothing is known gets the mean train delta, and the prediction says
so. A target that train does not hold has no one-hot input; no row of it was ever fitted.

W = (X'X + aI)^-1 X'(Y - b), solved over conditions. The variance is the spread of train deltas around what the
regression predicts for each when it is left out: e_i / (1 - h_ii).

Axes: P train conditions, F inputs, G genes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Self

import numpy as np

from perturbcast.features import TargetFeatures, encode, gather, kind_signs
from perturbcast.models.interface import Response, TrainingSet
from perturbcast.models.spread import effect_variance
from perturbcast.schema import Condition

__all__ = ["Config", "Model"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Parameters.

    Attributes:
        ridge: penalty on W; each input block has a mean squared length of 1.
        components: features of each computed source and of the control profile, count.
        expression: whether targets that are measured genes have features from expression of train controls.
        gene_sets: a ``.gmt`` file; targets have features from their memberships.
        embedding: a file of embeddings by target name (``.npz``, ``.csv``, ``.parquet``).
        graph: name of a given graph; targets have features from their position in it.
    """

    ridge: float = 1.0
    components: int = 10
    expression: bool = True
    gene_sets: str = ""
    embedding: str = ""
    graph: str = ""

    def __post_init__(self) -> None:
        if self.components < 1 or self.ridge <= 0:
            raise ValueError(f"Ridge needs components >= 1 and ridge > 0; got {self.components} and {self.ridge}.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Model:
    """Fitted weights.

    Attributes:
        targets: T single targets of train, in the order of their one-hot inputs.
        named: N targets with features.
        features: [N, f].
        signs: context -> sign of its perturbations.
        profile_axes: [gene, c] directions in which control profiles of train contexts differ.
        profile_mean: [gene] mean control profile of train conditions.
        centre: [F] mean inputs of train.
        scale: [F] what inputs are divided by.
        weight: [F, gene].
        offset: [gene] mean train delta.
        variance: [gene] of train deltas around what is predicted for them when they are left out.
        offset_variance: [gene] of train deltas around the mean of the others.
    """

    targets: list[str]
    named: list[str]
    features: np.ndarray
    signs: dict[str, float]
    profile_axes: np.ndarray
    profile_mean: np.ndarray
    centre: np.ndarray
    scale: np.ndarray
    weight: np.ndarray
    offset: np.ndarray
    variance: np.ndarray
    offset_variance: np.ndarray

    @classmethod
    def fit(cls, train: TrainingSet, config: Config, *, generator: np.random.Generator) -> Self:
        """Closed form; ``generator`` is not drawn from.

        Raises:
            ValueError: the graph was not given, or a file is not what it should be.
        """
        effects = train.effects
        features = gather(
            effects=effects,
            cells=train.cells,
            graphs=train.graphs,
            components=config.components,
            expression=config.expression,
            gene_sets=config.gene_sets,
            embedding=config.embedding,
            graph=config.graph,
        )
        n, genes = effects.delta.shape
        spread = np.linalg.svd(effects.control - effects.control.mean(axis=0), full_matrices=False)
        kept = int(min(config.components, (spread[1] > 1e-9 * max(spread[1][0], 1e-12)).sum()))
        blank = cls(
            targets=sorted({target for condition in effects.conditions for target in condition.targets}),
            named=list(features.names),
            features=features.values,
            signs=kind_signs(train.cells),
            profile_axes=spread[2][:kept].T,
            profile_mean=effects.control.mean(axis=0),
            centre=np.zeros(0),
            scale=np.zeros(0),
            weight=np.zeros((0, genes)),
            offset=effects.delta.mean(axis=0),
            variance=np.zeros(genes),
            offset_variance=effect_variance(effects.delta - effects.delta.mean(axis=0), degrees=n - 1),
        )
        blocks = blank._inputs(effects.conditions, effects.control)
        centre = np.concatenate([block.mean(axis=0) for block in blocks])
        size = [np.sqrt(((block - block.mean(axis=0)) ** 2).sum(axis=1).mean()) for block in blocks]
        scale = np.concatenate(
            [np.full(block.shape[1], s if s > 1e-9 else np.inf) for block, s in zip(blocks, size, strict=True)]
        )
        x = (np.concatenate(blocks, axis=1) - centre) / scale
        kernel = x @ x.T
        solved = np.linalg.solve(kernel + config.ridge * np.eye(n), np.eye(n))
        weight = x.T @ (solved @ (effects.delta - blank.offset))
        influence = np.diag(kernel @ solved) + 1 / n  # the mean is fitted too
        residual = (effects.delta - blank.offset - x @ weight) / np.maximum(1 - influence, 1 / n)[:, None]
        return dataclasses.replace(
            blank, centre=centre, scale=scale, weight=weight, variance=effect_variance(residual, degrees=n)
        )

    def predict(self, conditions: Sequence[Condition], *, control: np.ndarray) -> Response:
        """Mean delta plus what the inputs say."""
        x = (np.concatenate(self._inputs(conditions, control), axis=1) - self.centre) / self.scale
        hot, featured = len(self.targets), len(self.targets) + self.features.shape[1]
        informative = bool(np.isfinite(self.scale[hot:featured]).any())  # else train targets do not differ in features
        seen, named = set(self.targets), set(self.named) if informative else set()
        of = [condition.targets for condition in conditions]
        x[:, :hot] *= np.array([[any(name in seen for name in names)] for names in of])
        x[:, hot:featured] *= np.array([[any(name in named for name in names)] for names in of])
        unknown = [[name for name in names if name not in seen and name not in named] for names in of]
        known = np.array([not names for names in unknown])[:, None]
        return Response(
            delta=self.offset + x @ self.weight,
            variance=np.where(known, self.variance, np.maximum(self.variance, self.offset_variance)),
            notes=tuple(
                tuple(f"no feature found for {name}: it adds nothing to the mean train effect" for name in names)
                for names in unknown
            ),
        )

    def _inputs(self, conditions: Sequence[Condition], control: np.ndarray) -> list[np.ndarray]:
        """Blocks [condition, inputs]: one-hot targets, target features, control profile."""
        one_hot = TargetFeatures(names=tuple(self.targets), values=np.eye(len(self.targets)))
        hot, _ = encode(conditions, one_hot, self.signs)
        known, _ = encode(conditions, TargetFeatures(names=tuple(self.named), values=self.features), self.signs)
        return [hot, known, (control - self.profile_mean) @ self.profile_axes]
