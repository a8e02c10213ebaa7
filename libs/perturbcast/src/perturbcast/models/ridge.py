"""Ridge regression from what is perturbed, and where, to the delta: the plain learner that others have to beat.

A condition is the sum over its targets of b + W'(x - centre), b the mean effect of a target. The input x of a target
has four blocks: which train target it is (one-hot, signed by kind), its features (see Config; signed by kind), which
train target in which context (one-hot), and the principal components of the context's control profile. The first three
are scaled by the strength of the dose (``features/doses``), where labels state one. Each block has a mean squared
length of 1 over train conditions, the third that of Config. What train does not hold has no one-hot input, a target
without features no features: only what is known is added to b, no row was left unfitted, and a target of which nothing
is known is named in the prediction.

W = (X'X + aI)^-1 X'(Y - nb), n the number of targets, solved over conditions. The variance is the spread of train
deltas around what the regression predicts for each when it is left out: e_i / (1 - h_ii).

Axes: P train conditions, F inputs, G genes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Self

import numpy as np

from perturbcast.features import FeatureChoice, TargetFeatures, encode, gather, kind_signs, reference_doses, strengths
from perturbcast.models.interface import Response, TrainingSet
from perturbcast.models.spread import effect_variance
from perturbcast.schema import Condition

__all__ = ["Config", "Model"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(FeatureChoice):
    """Parameters, beside the choice of target features of ``FeatureChoice``.

    Attributes:
        ridge: penalty on W; an input block has a mean squared length of 1.
        interaction: length of the block of targets in their contexts, beside 1 of the others: how readily the effect
            of a target differs between contexts; 0 for not at all.
        components: features of each computed source and of the control profile, count.
    """

    ridge: float = 0.3
    interaction: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.ridge <= 0 or self.interaction < 0:
            raise ValueError(
                f"Ridge needs ridge > 0 and interaction >= 0; got {self.ridge} and {self.interaction}. 0.3 and 1 are "
                "the defaults."
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Model:
    """Fitted weights.

    Attributes:
        targets: T single targets of train, in the order of their one-hot inputs.
        pairs: target in context, those of train, in the order of their one-hot inputs.
        named: N targets with features.
        features: [N, f].
        signs: context -> sign of its perturbations.
        doses: target -> reference dose, of train; empty where labels state none.
        profile_axes: [gene, c] directions in which control profiles of train contexts differ.
        profile_mean: [gene] mean control profile of train conditions.
        centre: [F] inputs of the average target of train.
        scale: [F] what inputs are divided by.
        weight: [F, gene].
        offset: [gene] mean effect of a target.
        variance: [gene] of train deltas around what is predicted for them when they are left out.
        offset_variance: [gene] of train deltas around the sum of mean effects.
    """

    targets: list[str]
    pairs: list[str]
    named: list[str]
    features: np.ndarray
    signs: dict[str, float]
    doses: dict[str, float]
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
        features = gather(config, effects=effects, cells=train.cells, graphs=train.graphs)
        n, genes = effects.delta.shape
        number = np.array([len(condition.targets) for condition in effects.conditions], dtype=np.float64)
        offset = number @ effects.delta / (number @ number)
        plain = effects.delta - number[:, None] * offset
        directions = np.linalg.svd(effects.control - effects.control.mean(axis=0), full_matrices=False)
        kept = int(min(config.components, (directions[1] > 1e-9 * max(directions[1][0], 1e-12)).sum()))
        blank = cls(
            targets=sorted({name for condition in effects.conditions for name in condition.names}),
            pairs=sorted({str(Condition(name, c.context)) for c in effects.conditions for name in c.names}),
            named=list(features.names),
            features=features.vectors,
            signs=kind_signs(train.cells),
            doses=reference_doses(effects.conditions),
            profile_axes=directions[2][:kept].T,
            profile_mean=effects.control.mean(axis=0),
            centre=np.zeros(0),
            scale=np.zeros(0),
            weight=np.zeros((0, genes)),
            offset=offset,
            variance=np.zeros(genes),
            offset_variance=effect_variance(plain, degrees=n - 1),
        )
        centres, sizes = [], []
        lengths = (1.0, 1.0, config.interaction, 1.0)
        blocks = blank._blocks(effects.conditions, effects.control)
        for (rows, known), length in zip(blocks, lengths, strict=True):
            centre = rows.sum(axis=0) / max(known.sum(), 1)
            size = np.sqrt(((rows - known[:, None] * centre) ** 2).sum(axis=1).mean())
            centres.append(centre)
            varies = size > 1e-9 and length > 0  # what never varies says nothing
            sizes.append(np.full(len(centre), size / length if varies else np.inf))
        model = dataclasses.replace(blank, centre=np.concatenate(centres), scale=np.concatenate(sizes))
        x = model._inputs(effects.conditions, effects.control)
        kernel = x @ x.T
        solved = np.linalg.inv(kernel + config.ridge * np.eye(n))
        weight = x.T @ (solved @ plain)
        influence = np.diag(kernel @ solved) + number**2 / (number @ number)  # the offset is fitted too
        residual = (plain - x @ weight) / np.maximum(1 - influence, 1 / n)[:, None]
        return dataclasses.replace(model, weight=weight, variance=effect_variance(residual, degrees=n))

    def predict(self, conditions: Sequence[Condition], *, control: np.ndarray) -> Response:
        """Per target the mean effect and what its inputs say, summed."""
        hot = len(self.targets)
        informative = np.isfinite(self.scale[hot : hot + self.features.shape[1]]).any()  # train targets differ in them
        known = {*self.targets, *(self.named if informative else ())}
        unknown = [[name for name in condition.names if name not in known] for condition in conditions]
        number = np.array([[len(condition.targets)] for condition in conditions])
        doubtful = np.array([[len(names) > 0] for names in unknown])
        return Response(
            delta=number * self.offset + self._inputs(conditions, control) @ self.weight,
            variance=np.where(doubtful, np.maximum(self.variance, self.offset_variance), self.variance),
            notes=tuple(
                tuple(f"no feature found for {name}: the mean effect of a target stands in" for name in names)
                for names in unknown
            ),
        )

    def _inputs(self, conditions: Sequence[Condition], control: np.ndarray) -> np.ndarray:
        """Inputs [condition, F]: the sum over targets of what each says beyond the average target of train."""
        blocks = self._blocks(conditions, control)
        sums = np.concatenate([rows for rows, _ in blocks], axis=1)
        counts = np.concatenate([np.tile(known[:, None], rows.shape[1]) for rows, known in blocks], axis=1)
        return np.asarray((sums - counts * self.centre) / self.scale)

    def _blocks(self, conditions: Sequence[Condition], control: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """Each block's sums over targets [condition, inputs], and how many targets of a condition it knows."""
        number = np.array([len(condition.targets) for condition in conditions])
        blocks = []
        for names, table in ((self.targets, np.eye(len(self.targets))), (self.named, self.features)):
            rows, missing = encode(
                conditions, TargetFeatures(names=tuple(names), vectors=table), self.signs, self.doses
            )
            blocks.append((rows, number - np.array([len(absent) for absent in missing], dtype=np.int64)))
        here = [[str(Condition(name, condition.context)) for name in condition.names] for condition in conditions]
        hit = [strengths(condition, self.doses) for condition in conditions]
        rows, missing = TargetFeatures(names=tuple(self.pairs), vectors=np.eye(len(self.pairs))).of(here, hit)
        blocks.append((rows, number - np.array([len(absent) for absent in missing], dtype=np.int64)))
        return [*blocks, (number[:, None] * ((control - self.profile_mean) @ self.profile_axes), number)]
