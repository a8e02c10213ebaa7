"""``random_effects``, learned apart for strong and weak programmes of genes, where outlying conditions count less.

Two things that ``random_effects`` takes to be alike are not:

- Programmes. Train deltas Y [P, G] are split by their principal axes over genes, Y = sum over bands b of U_b U_b' Y,
  U_b the left singular vectors of axes 1-2, 3-8, 9-32 and the rest (``first``, ``ratio``, ``bands``). Each band has
  sizes of its own: the few programmes that carry most of an effect are borrowed readily, the many that carry noise are
  not.
- Conditions. What is left over has variance t d_i, d_i in proportion to the squared distance of condition i from what
  the others say of it when it is hidden. A few perturbations are far stronger than most; of a plain mean they take more
  than they tell about a new one, and a score that averages distances feels it.

The prediction is sum over b of K_b* (K_b + t_b D + s_b E_b)^-1 U_b U_b' Y, linear in train deltas, with the covariances
K of ``random_effects`` and E_b the sampling variance along the band's axes. Sizes start where ``random_effects`` ends
and minimise what it minimises (the root mean squared error of train conditions that are hidden as test conditions will
be, axes taken from the visible ones) by exact gradient, with a pull to the start that weakens with the number of
conditions.

Axes: P train conditions, B bands, K effects, G genes.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from perturbcast import catalog
from perturbcast.models.cross_fitting import hidden_groups
from perturbcast.models.interface import Response, TrainingSet
from perturbcast.models.spread import effect_variance, sampling_variance
from perturbcast.schema import Condition
from perturbcast.stores import Effects

__all__ = ["Config", "Model"]

BOUND = (-8.0, 4.0)  # of log sizes
FEW = 40  # conditions up to which the pull is whole; beyond, it weakens with the square of their number
ALIKE = 10.0  # pseudo-conditions of the typical distance: three conditions cannot say which of them is an outlier


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Parameters.

    Attributes:
        bands: of principal axes, count; 1 for one set of sizes.
        first: axes in the first band, count.
        ratio: last axis of a band over the last of the band before.
        pull: of log sizes to their start, per squared unit, with 40 conditions or fewer; four times as many have a
            sixteenth of it.
        groups: parts that train is hidden in, at most.
        conditions: evenly chosen train conditions that sizes are learned from, at most; all are borrowed from.
        steps: of the descent, at most.
        profile: whether effects may follow the control profile in proportion, beyond the contexts that train holds.
    """

    bands: int = 4
    first: int = 2
    ratio: int = 4
    pull: float = 0.003
    groups: int = 40
    conditions: int = 160
    steps: int = 60
    profile: bool = False

    def __post_init__(self) -> None:
        if min(self.bands, self.first, self.steps) < 1 or min(self.ratio, self.groups, self.conditions) < 2:
            raise ValueError(
                f"Spectral effects need bands, first and steps >= 1, ratio, groups and conditions >= 2; got "
                f"{self.bands}, {self.first}, {self.steps}, {self.ratio}, {self.groups} and {self.conditions}."
            )
        if self.pull < 0:
            raise ValueError(f"A pull is at least 0; got {self.pull}. 0 leaves sizes to the data alone.")

    @property
    def edges(self) -> list[int]:
        """Last axis of each band but the last."""
        return [self.first * self.ratio**k for k in range(self.bands - 1)]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Model:
    """Learned sizes, and what they make of train conditions.

    Attributes:
        base: fields of the fitted ``random_effects`` that say what conditions share: pairs, contexts, distance.
        profiles: [context, gene] mean control profile of each train context.
        centre: [gene] mean control profile of train conditions; empty where effects do not follow it.
        scale: [K] mean of the diagonal of each covariance over train conditions.
        size: [B, K] learned sizes; ``noise`` [B, 2] learned t and s.
        outlying: [P] d, mean 1.
        weight: [B, P, P] (K_b + t_b D + s_b E_b)^-1 U_b U_b'.
        delta: [P, gene] train deltas.
        variance: [gene] of train conditions around what is predicted for them when they are hidden.
    """

    base: dict[str, Any]
    profiles: np.ndarray
    centre: np.ndarray
    scale: np.ndarray
    size: np.ndarray
    noise: np.ndarray
    outlying: np.ndarray
    weight: np.ndarray
    delta: np.ndarray
    variance: np.ndarray

    @classmethod
    def fit(cls, train: TrainingSet, config: Config, *, generator: np.random.Generator) -> Self:
        """Learn sizes as ``random_effects`` does, then apart for each band; ``generator`` is not drawn from.

        Raises:
            ValueError: there are no train conditions.
        """
        effects, axes = train.effects, train.ood_axes
        conditions, n = effects.conditions, len(effects.conditions)
        few = np.unique(np.linspace(0, n - 1, min(n, config.conditions)).round().astype(np.int64))
        pull = config.pull * min(1.0, FEW / max(len(few), 1)) ** 2
        shared = {name: getattr(config, name) for name in ("groups", "conditions", "steps", "profile")}
        module = catalog.load("models", "random_effects")
        start = module.Model.fit(train, module.Config(pull=pull, **shared), generator=generator)
        blocks = start.blocks(conditions, start.train_profiles) / start.scale[:, None, None]
        unit = max(float((effects.delta**2).mean()), 1e-12)
        gram = effects.delta @ effects.delta.T / (unit * effects.delta.shape[1])
        groups = hidden_groups(conditions, axes, most=config.groups)
        plain = _Sizes(
            blocks=blocks,
            gram=gram,
            error=effects.error.mean(axis=1)[None] / unit,
            outlying=np.ones(n),
            groups=groups,
            edges=[],
            pull=pull,
        )
        one = np.log(np.concatenate([start.size, start.noise]))
        whole = dataclasses.replace(
            plain,
            error=_error_along(effects, gram, config.edges, unit=unit),
            outlying=_outlying(plain.mean_squares(one[None])),
            edges=config.edges,
        )
        logs = whole.of(few, [conditions[i] for i in few], axes, most=config.groups).learned(one, steps=config.steps)
        residual = effects.delta.copy()
        for rows, seen in groups:
            at = np.flatnonzero(seen)
            residual[rows] -= whole.weights(logs, at, rows).T @ effects.delta[at]
        return cls(
            base={"pairs": start.pairs, "contexts": start.contexts, "distance": start.distance},
            profiles=start.profiles,
            centre=start.centre,
            scale=start.scale,
            size=np.exp(logs[:, :-2]),
            noise=np.exp(logs[:, -2:]),
            outlying=whole.outlying,
            weight=whole.solved(logs),
            delta=effects.delta,
            variance=effect_variance(residual, degrees=n) + sampling_variance(effects.error),
        )

    def predict(self, conditions: Sequence[Condition], *, control: np.ndarray) -> Response:
        """The posterior mean of each condition; rows do not depend on each other."""
        blocks = self._shares.blocks(conditions, control) / self.scale[:, None, None]
        of_train = np.zeros((len(conditions), len(self.delta)))
        for size, weight in zip(self.size, self.weight, strict=True):
            of_train += np.tensordot(size, blocks, axes=1) @ weight
        return Response(
            delta=of_train @ self.delta,
            variance=np.tile(self.variance, (len(conditions), 1)),
            notes=self._shares.notes(conditions),
        )

    @functools.cached_property
    def _shares(self) -> Any:
        """A ``random_effects`` that knows what conditions share; it predicts nothing."""
        nothing = np.zeros(0)
        return catalog.load("models", "random_effects").Model(
            **self.base,
            profiles=self.profiles,
            centre=self.centre,
            scale=self.scale,
            size=nothing,
            noise=nothing,
            answer=nothing,
            variance=nothing,
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Sizes:
    """What sizes are learned from; logs [B, K + 2] are those of sizes, t and s.

    Attributes:
        blocks: [K, P, P] what conditions share, mean diagonal 1.
        gram: [P, P] products of train deltas, mean over genes, in units of the mean squared delta.
        error: [B, P] sampling variance in units of the mean squared delta along the band.
        outlying: [P] d.
        groups: (rows, mask of what is visible to them).
        edges: last axis of each band but the last.
        pull: to the start.
    """

    blocks: np.ndarray
    gram: np.ndarray
    error: np.ndarray
    outlying: np.ndarray
    groups: list[tuple[np.ndarray, np.ndarray]]
    edges: list[int]
    pull: float

    def of(self, few: np.ndarray, conditions: Sequence[Condition], axes: Sequence[str], *, most: int) -> _Sizes:
        """The same for some train conditions."""
        return dataclasses.replace(
            self,
            blocks=self.blocks[:, few][:, :, few],
            gram=self.gram[np.ix_(few, few)],
            error=self.error[:, few],
            outlying=self.outlying[few],
            groups=hidden_groups(conditions, axes, most=most),
        )

    def learned(self, start: np.ndarray, *, steps: int) -> np.ndarray:
        """Logs [B, K + 2] of the smallest loss that is found from ``start`` [K + 2]."""
        from scipy.optimize import minimize  # a quarter of a second to import, and only a fit needs it

        origin = np.tile(start, len(self.error))
        parts = [_projections(self.gram[np.ix_(seen, seen)], self.edges) for _, seen in self.groups]
        end = minimize(
            self.loss,
            origin,
            args=(origin, parts),
            jac=True,
            method="L-BFGS-B",
            bounds=[BOUND] * len(origin),
            options={"maxiter": steps},
        )
        return np.asarray(end.x.reshape(len(self.error), -1))

    def loss(self, flat: np.ndarray, origin: np.ndarray, parts: list[np.ndarray]) -> tuple[float, np.ndarray]:
        """Mean root mean squared error of hidden conditions plus the pull, and its gradient; ``parts`` per group."""
        logs = flat.reshape(len(self.error), -1)
        value, gradient = 0.0, np.zeros_like(logs)
        covariance, noise = self._covariance(logs), self._noise(logs)
        for (rows, seen), bands in zip(self.groups, parts, strict=True):
            at = np.flatnonzero(seen)
            square, across = np.ix_(at, at), np.ix_(at, rows)
            inverse = np.linalg.inv(covariance[:, at][:, :, at] + _diagonal(noise[:, at]))
            weight = inverse @ covariance[:, at][:, :, rows]
            target = bands @ self.gram[across]
            spread = bands @ (self.gram[square] @ weight)
            mean_square = self.gram[rows, rows] + (weight * (spread - 2 * target)).sum(axis=(0, 1))
            root = np.sqrt(np.maximum(mean_square, 1e-12))
            value += root.sum()
            towards = inverse @ ((spread - target) / root)  # d loss / d K[at, rows]
            within = -towards @ weight.swapaxes(1, 2)  # d loss / d (K + N)[at, at]
            alone = np.diagonal(within, axis1=1, axis2=2)
            gradient[:, :-2] += np.tensordot(towards, self.blocks[:, at][:, :, rows], axes=((1, 2), (1, 2)))
            gradient[:, :-2] += np.tensordot(within, self.blocks[:, at][:, :, at], axes=((1, 2), (1, 2)))
            gradient[:, -2] += alone @ self.outlying[at]
            gradient[:, -1] += (alone * self.error[:, at]).sum(axis=1)
        away, n = flat - origin, len(self.gram)
        by_log = np.exp(logs) * gradient / n
        return value / n + self.pull * float(away @ away), by_log.ravel() + 2 * self.pull * away

    def weights(self, logs: np.ndarray, at: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """[at, rows]: the share of each visible condition in the prediction of each hidden one."""
        covariance = self._covariance(logs)
        within = covariance[:, at][:, :, at] + _diagonal(self._noise(logs)[:, at])
        bands = _projections(self.gram[np.ix_(at, at)], self.edges)
        return np.asarray((bands @ np.linalg.solve(within, covariance[:, at][:, :, rows])).sum(axis=0))

    def mean_squares(self, logs: np.ndarray) -> np.ndarray:
        """[P] mean squared error of each condition when it is hidden."""
        found = np.zeros(len(self.gram))
        for rows, seen in self.groups:
            at = np.flatnonzero(seen)
            weight = self.weights(logs, at, rows)
            products = self.gram[np.ix_(at, at)] @ weight - 2 * self.gram[np.ix_(at, rows)]
            found[rows] = self.gram[rows, rows] + (weight * products).sum(axis=0)
        return np.maximum(found, 1e-12)

    def solved(self, logs: np.ndarray) -> np.ndarray:
        """[B, P, P]: what each band makes of train deltas."""
        within = self._covariance(logs) + _diagonal(self._noise(logs))
        return np.linalg.solve(within, _projections(self.gram, self.edges))

    def _covariance(self, logs: np.ndarray) -> np.ndarray:
        """K_b [B, P, P]."""
        return np.asarray(np.tensordot(np.exp(logs[:, :-2]), self.blocks, axes=1))

    def _noise(self, logs: np.ndarray) -> np.ndarray:
        """t_b d + s_b E_b [B, P]."""
        return np.asarray(np.exp(logs[:, -2:-1]) * self.outlying + np.exp(logs[:, -1:]) * self.error)


def _outlying(square: np.ndarray) -> np.ndarray:
    """d [P], mean 1, from the squared distances [P] of hidden conditions."""
    n = len(square)
    return np.asarray((n * square / square.mean() + ALIKE) / (n + ALIKE))


def _axes(gram: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Squared singular values and left singular vectors [P, rank] of deltas with these products, largest first."""
    values, vectors = np.linalg.eigh(gram)
    kept = np.flatnonzero(values > 1e-9 * max(values[-1], 1e-12))[::-1]
    return values[kept], vectors[:, kept]


def _projections(gram: np.ndarray, edges: Sequence[int]) -> np.ndarray:
    """U_b U_b' [B, P, P]; zero for a band beyond the rank."""
    _, vectors = _axes(gram)
    bounds = [0, *edges, max(vectors.shape[1], *edges, 0)]
    return np.stack([vectors[:, a:b] @ vectors[:, a:b].T for a, b in itertools.pairwise(bounds)])


def _diagonal(values: np.ndarray) -> np.ndarray:
    """[B, P] on the diagonals of [B, P, P]."""
    return np.asarray(values[:, :, None] * np.eye(values.shape[1]))


def _error_along(effects: Effects, gram: np.ndarray, edges: Sequence[int], *, unit: float) -> np.ndarray:
    """[B, P] sampling variance along each band, in units of the mean squared delta along it; the last has the rest."""
    n, genes = effects.delta.shape
    values, vectors = _axes(gram)
    most = min(edges[-1] if edges else 0, len(values))
    directions = (vectors[:, :most].T @ effects.delta) / np.sqrt(values[:most] * unit * genes)[:, None]
    along = effects.error @ (directions**2).T / (unit * genes)  # [P, axis]
    bounds = [0, *(min(edge, most) for edge in edges)]
    error = [along[:, a:b].sum(axis=1) for a, b in itertools.pairwise(bounds)]
    square = [values[a:b].sum() / n for a, b in itertools.pairwise(bounds)]
    error.append(np.maximum(effects.error.sum(axis=1) / (unit * genes) - sum(error), 0.0))
    square.append(1 - sum(square))
    return np.stack(error) / np.maximum(square, 1e-6)[:, None]
