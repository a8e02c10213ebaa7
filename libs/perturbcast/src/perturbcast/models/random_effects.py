"""Learns how much of an effect belongs to its target, its context and both, then borrows from train accordingly.

The delta of a condition is a sum of random effects: of any target, of any target in this context or in contexts with
similar controls, of this target, of this target here or in similar contexts; plus what is left and the known sampling
error. A combination is the sum over its targets. With the size w_k of each effect, the covariance of conditions i and j
is K_ij = sum over k of w_k B_k,ij,

| effect | B_ij |
|---|---|
| of any target | n_i n_j, the numbers of targets |
| of any target in a context | n_i n_j [c_i = c_j] |
| of any target in similar contexts | n_i n_j r_ij |
| of a target | t_ij, the number of targets that i and j share |
| of a target in a context | t_ij [c_i = c_j] |
| of a target in similar contexts | t_ij r_ij |
| of any target, in proportion to the control profile (if asked for) | n_i n_j u_i . u_j |

r_ij = exp(-d_ij / 2), d the mean squared difference of control profiles over its median between train contexts; u the
control profile minus its mean over train conditions. The
prediction is the posterior mean K_*(K + t I + s E)^-1 Y, E the sampling variance of each train condition. The sizes w,
t and s are those that predict train conditions best while they hide from each what will be new at test (see
``cross_fitting``): the mean over conditions of the root mean squared error, descended by its exact gradient (L-BFGS-B),
with a weak pull to where it started. What the data do not repeat is shrunk to nothing, so that the model falls back to
no change where train has no more to say. The variance is the spread of those hidden conditions around what was
predicted for them.

Axes: P train conditions, K effects, G genes.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Self

import numpy as np

from perturbcast.models.cross_fitting import hidden_groups
from perturbcast.models.interface import Response, TrainingSet
from perturbcast.models.spread import effect_variance, sampling_variance
from perturbcast.schema import Condition

__all__ = ["Config", "Model"]

STARTS = (1.0, -1.0, -3.0)  # log sizes, from strong signal to little; the best end is kept
NOISE = (-1.0, 0.0)  # log of what is left over, and of the multiple of the sampling variance
BOUND = (-8.0, 4.0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Parameters.

    Attributes:
        pull: of log sizes to their start, per squared unit; the error is in units of the typical effect.
        groups: parts that train is hidden in, at most.
        conditions: evenly chosen train conditions that sizes are learned from, at most; all are borrowed from.
        steps: of the descent, at most.
        profile: whether effects may follow the control profile in proportion, beyond the contexts that train holds.
    """

    pull: float = 0.003
    groups: int = 40
    conditions: int = 160
    steps: int = 60
    profile: bool = False

    def __post_init__(self) -> None:
        if self.pull < 0 or min(self.groups, self.conditions) < 2 or self.steps < 1:
            raise ValueError(
                f"Random effects need pull >= 0, groups and conditions >= 2 and steps >= 1; got {self.pull}, "
                f"{self.groups}, {self.conditions} and {self.steps}."
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Model:
    """Learned sizes, and train conditions weighted by them.

    Attributes:
        pairs: [perturbation, context] of the P train conditions.
        contexts: names of train contexts.
        profiles: [context, gene] mean control profile of each.
        distance: typical mean squared difference between two of them.
        centre: [gene] mean control profile of train conditions; empty where effects do not follow it.
        scale: [K] mean of the diagonal of each B over train conditions.
        size: [K] learned w.
        noise: [2] learned t and s.
        answer: [P, gene] (K + tI + sE)^-1 Y.
        variance: [gene] of train conditions around what is predicted for them when they are hidden.
    """

    pairs: list[list[str]]
    contexts: list[str]
    profiles: np.ndarray
    distance: float
    centre: np.ndarray
    scale: np.ndarray
    size: np.ndarray
    noise: np.ndarray
    answer: np.ndarray
    variance: np.ndarray

    @classmethod
    def fit(cls, train: TrainingSet, config: Config, *, generator: np.random.Generator) -> Self:
        """Learn the sizes, then solve once; ``generator`` is not drawn from.

        Raises:
            ValueError: there are no train conditions.
        """
        effects = train.effects
        conditions, n = effects.conditions, len(effects.conditions)
        if n == 0:
            raise ValueError("Random effects are fitted on train conditions; there are none. Give a split with some.")
        of_context = np.array([condition.context for condition in conditions])
        contexts = sorted(set(of_context.tolist()))
        profiles = np.array([effects.control[of_context == name].mean(axis=0) for name in contexts])
        apart = _squared(profiles, profiles)[~np.eye(len(contexts), dtype=bool)]
        blank = cls(
            pairs=[[c.perturbation, c.context] for c in conditions],
            contexts=contexts,
            profiles=profiles,
            distance=float(np.median(apart)) if apart.size and np.median(apart) > 0 else 1.0,
            centre=effects.control.mean(axis=0) if config.profile and len(contexts) > 1 else np.zeros(0),
            scale=np.ones(1),
            size=np.ones(1),
            noise=np.ones(2),
            answer=np.zeros((n, effects.delta.shape[1])),
            variance=np.zeros(effects.delta.shape[1]),
        )
        blocks = blank.blocks(conditions, blank.train_profiles)
        scale = np.maximum([np.diag(block).mean() for block in blocks], 1e-12)
        unit = max(float((effects.delta**2).mean()), 1e-12)
        learner = _Sizes(
            blocks=blocks / scale[:, None, None],
            gram=effects.delta @ effects.delta.T / (unit * effects.delta.shape[1]),
            error=effects.error.mean(axis=1) / unit,
            groups=hidden_groups(conditions, train.ood_axes, most=config.groups),
            pull=config.pull,
        )
        few = np.unique(np.linspace(0, n - 1, min(n, config.conditions)).round().astype(np.int64))
        size, noise = learner.of(few, conditions, train.ood_axes, config).learned(steps=config.steps)
        covariance = np.tensordot(size, learner.blocks, axes=1)
        within = covariance + np.diag(noise[0] + noise[1] * learner.error)
        residual = effects.delta.copy()
        for rows, seen in learner.groups:
            at = np.flatnonzero(seen)
            weight = np.linalg.solve(within[np.ix_(at, at)], covariance[np.ix_(at, rows)])
            residual[rows] -= weight.T @ effects.delta[at]
        return dataclasses.replace(
            blank,
            scale=scale,
            size=size,
            noise=noise,
            answer=np.linalg.solve(within, effects.delta),
            variance=effect_variance(residual, degrees=n) + sampling_variance(effects.error),
        )

    def predict(self, conditions: Sequence[Condition], *, control: np.ndarray) -> Response:
        """The posterior mean of each condition; rows do not depend on each other."""
        covariance = np.tensordot(self.size / self.scale, self.blocks(conditions, control), axes=1)
        return Response(
            delta=covariance @ self.answer,
            variance=np.tile(self.variance, (len(conditions), 1)),
            notes=self.notes(conditions),
        )

    def notes(self, conditions: Sequence[Condition]) -> tuple[tuple[str, ...], ...]:
        """What stands in for targets that train does not hold, per condition."""
        return tuple(
            tuple(
                f"{name} is not in train: the effect of any target stands in"
                for name in condition.targets
                if name not in self._known
            )
            for condition in conditions
        )

    @functools.cached_property
    def _train(self) -> list[Condition]:
        """Train conditions; made once, because a server asks for a few others many times."""
        return [Condition(*pair) for pair in self.pairs]

    @functools.cached_property
    def _known(self) -> set[str]:
        return {target for condition in self._train for target in condition.targets}

    @property
    def train_profiles(self) -> np.ndarray:
        """Control profile [P, gene] of the context of each train condition."""
        return self.profiles[[self.contexts.index(context) for _, context in self.pairs]]

    def blocks(self, conditions: Sequence[Condition], profiles: np.ndarray) -> np.ndarray:
        """B [K, asked, P], not scaled, for conditions with control profiles [asked, gene]."""
        train = self._train
        names = sorted(self._known | {target for condition in conditions for target in condition.targets})
        place = {name: i for i, name in enumerate(names)}
        hot = [np.zeros((len(group), len(names))) for group in (conditions, train)]
        for rows, group in zip(hot, (conditions, train), strict=True):
            for row, condition in zip(rows, group, strict=True):
                row[[place[target] for target in condition.targets]] = 1.0
        shared = hot[0] @ hot[1].T
        number = np.outer(hot[0].sum(axis=1), hot[1].sum(axis=1))
        contexts = [np.array([c.context for c in group], dtype=object) for group in (conditions, train)]
        same = (contexts[0][:, None] == contexts[1][None, :]).astype(np.float64)
        of_train = np.array([self.contexts.index(condition.context) for condition in train])
        alike = np.exp(-_squared(profiles, self.profiles)[:, of_train] / (2 * self.distance))
        made = [number, number * same, number * alike, shared, shared * same, shared * alike]
        if len(self.centre):
            made.append(number * ((profiles - self.centre) @ (self.profiles - self.centre).T)[:, of_train])
        return np.stack(made)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Sizes:
    """What sizes are learned from.

    Attributes:
        blocks: B [K, P, P], mean diagonal 1.
        gram: [P, P] products of train deltas, mean over genes, in units of the mean squared delta.
        error: [P] sampling variance, likewise.
        groups: (rows, mask of what is visible to them).
        pull: see ``Config``.
    """

    blocks: np.ndarray
    gram: np.ndarray
    error: np.ndarray
    groups: list[tuple[np.ndarray, np.ndarray]]
    pull: float

    def of(self, few: np.ndarray, conditions: Sequence[Condition], axes: Sequence[str], config: Config) -> _Sizes:
        """The same for some train conditions."""
        return dataclasses.replace(
            self,
            blocks=self.blocks[:, few][:, :, few],
            gram=self.gram[np.ix_(few, few)],
            error=self.error[few],
            groups=hidden_groups([conditions[i] for i in few], axes, most=config.groups),
        )

    def learned(self, *, steps: int) -> tuple[np.ndarray, np.ndarray]:
        """Sizes [K] and noise [2] of the smallest loss over all starts."""
        from scipy.optimize import minimize  # a quarter of a second to import, and only a fit needs it

        ends = []
        for start in STARTS:
            origin = np.array([*[start] * len(self.blocks), *NOISE])
            ends.append(
                minimize(
                    self.loss,
                    origin,
                    args=(origin,),
                    jac=True,
                    method="L-BFGS-B",
                    bounds=[BOUND] * len(origin),
                    options={"maxiter": steps},
                )
            )
        best = min(ends, key=lambda end: float(end.fun))
        return np.exp(best.x[:-2]), np.exp(best.x[-2:])

    def loss(self, logs: np.ndarray, origin: np.ndarray) -> tuple[float, np.ndarray]:
        """Mean root mean squared error of hidden conditions plus the pull, and its gradient in the logs."""
        size, (left, multiple) = np.exp(logs[:-2]), np.exp(logs[-2:])
        covariance = np.tensordot(size, self.blocks, axes=1)
        value, gradient = 0.0, np.zeros_like(logs)
        for rows, seen in self.groups:
            at = np.flatnonzero(seen)
            square, across = np.ix_(at, at), np.ix_(at, rows)
            inverse = np.linalg.inv(covariance[square] + np.diag(left + multiple * self.error[at]))
            weight = inverse @ covariance[across]
            spread = self.gram[square] @ weight
            mean_square = self.gram[rows, rows] + (weight * (spread - 2 * self.gram[across])).sum(axis=0)
            root = np.sqrt(np.maximum(mean_square, 1e-12))
            value += root.sum()
            towards = inverse @ ((spread - self.gram[across]) / root)  # d loss / d K[at, rows]
            within = -towards @ weight.T  # d loss / d (K + N)[at, at]
            for k, block in enumerate(self.blocks):
                gradient[k] += size[k] * ((towards * block[across]).sum() + (within * block[square]).sum())
            gradient[-2] += left * np.trace(within)
            gradient[-1] += multiple * (np.diag(within) * self.error[at]).sum()
        away = logs - origin
        n = len(self.gram)
        return value / n + self.pull * float(away @ away), gradient / n + 2 * self.pull * away


def _squared(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Mean squared difference [left, right] of profiles over genes."""
    products = (left**2).sum(axis=1)[:, None] + (right**2).sum(axis=1)[None, :] - 2 * left @ right.T
    return np.asarray(np.maximum(products, 0.0) / left.shape[1])
