"""What a train condition looks like to a model that has not seen it: features from the other train conditions.

A base model repeats a train condition without error, so that nothing would be left over for a model of its residual
to learn. Here each train condition is described as it would be at test: the conditions that share with it what will
be new are hidden, the base is fitted on the rest. Which ones are hidden follows from what the split holds out:

| new at test | hidden from a train condition |
|---|---|
| ``context`` | every condition of its context |
| ``perturbation`` | every condition that shares a target with it |
| ``combination``, nothing | every condition of its own label |

Where nothing would stay visible, the next weaker rule holds. Axes: C conditions, G genes, F features.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from perturbcast import catalog
from perturbcast.features import strengths
from perturbcast.models.interface import TrainingSet
from perturbcast.schema import Condition
from perturbcast.stores import Effects

__all__ = ["N_FEATURES", "Described", "Describer", "describe_train", "visible"]

N_FEATURES = 11


@dataclasses.dataclass(frozen=True, kw_only=True)
class Described:
    """Conditions as a model sees them.

    Attributes:
        base: [condition, gene] prediction of the base, in units of ``scale``; 0 without one.
        features: [condition, gene, F] float32.
        notes: per condition, what the base says about itself.
    """

    base: np.ndarray
    features: np.ndarray
    notes: tuple[tuple[str, ...], ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Describer:
    """Describes conditions from visible train effects.

    Attributes:
        over: name of the base model; empty for none.
        scale: root mean squared train effect, the unit of deltas.
        level: mean control expression, and ``spread`` its sd over genes.
        signs: context -> sign of its perturbations (-1 repressed, 1 activated); a context not named has that of most.
        doses: target -> reference dose, of train; empty where labels state none.
    """

    over: str
    scale: float
    level: float
    spread: float
    signs: dict[str, float]
    doses: dict[str, float] = dataclasses.field(default_factory=dict)

    def sign(self, context: str) -> float:
        """Sign of the perturbations of a context, also of one that train does not hold."""
        return self.signs.get(context, -1.0 if sum(self.signs.values()) < 0 else 1.0)

    def __call__(self, asked: Sequence[Condition], control: np.ndarray, *, among: Effects) -> Described:
        """Describe conditions with control means [condition, gene], given the visible effects."""
        n, genes = control.shape
        base, deviation = np.zeros((n, genes)), np.zeros((n, genes))
        notes: tuple[tuple[str, ...], ...] = ((),) * n
        if self.over:
            module: Any = catalog.load("models", self.over)
            fitted = module.Model.fit(TrainingSet(effects=among), module.Config(), generator=np.random.default_rng(0))
            response = fitted.predict(asked, control=control)
            base, deviation, notes = response.delta, np.sqrt(response.variance), response.notes
        features = np.zeros((n, genes, N_FEATURES), dtype=np.float32)
        features[..., 0] = base / self.scale
        features[..., 1] = deviation / self.scale
        features[..., 2] = (control - self.level) / self.spread
        features[..., 3] = (control - among.control.mean(axis=0)) / self.spread
        features[..., 4] = among.delta.mean(axis=0) / self.scale
        features[..., 5] = among.delta.std(axis=0) / self.scale
        features[..., 6:10] = self._coverage(asked, among.conditions)[:, None, :]
        place = {gene: i for i, gene in enumerate(among.genes)}
        for i, condition in enumerate(asked):
            for name, strength in zip(condition.names, strengths(condition, self.doses), strict=True):
                if name in place:
                    features[i, place[name], 10] = self.sign(condition.context) * strength
        return Described(base=base / self.scale, features=features, notes=notes)

    def _coverage(self, asked: Sequence[Condition], seen: Sequence[Condition]) -> np.ndarray:
        """[condition, 4]: shares of targets seen alone here and only elsewhere; targets beyond one; sign agreement."""
        alone: dict[str, set[str]] = {}
        for condition in seen:
            if not condition.is_combination:
                alone.setdefault(condition.perturbation, set()).add(condition.context)
        rows = np.zeros((len(asked), 4))
        for i, condition in enumerate(asked):
            sign = self.sign(condition.context)
            for target in condition.targets:
                contexts = alone.get(target, set())
                share = 1 / len(condition.targets)
                if condition.context in contexts:
                    rows[i, 0] += share
                    rows[i, 3] += share
                elif contexts:
                    rows[i, 1] += share
                    rows[i, 3] += share * np.mean([sign * self.sign(name) for name in sorted(contexts)])
            rows[i, 2] = len(condition.targets) - 1
        return rows


def visible(condition: Condition, train: Sequence[Condition], axes: Sequence[str]) -> np.ndarray:
    """Mask [train] of what ``condition`` may be described from; see the table of this module."""
    own = np.array([c != condition for c in train])
    masks = []
    if "context" in axes:
        masks.append(np.array([c.context != condition.context for c in train]))
    if "perturbation" in axes:
        masks.append(np.array([not set(c.names) & set(condition.names) for c in train]))
    if "combination" in axes:
        masks.append(np.array([c.perturbation != condition.perturbation for c in train]))
    for mask in (np.logical_and.reduce([own, *masks]), *masks, own):
        if mask.any():
            return mask
    return np.ones(len(train), dtype=bool)


def describe_train(describer: Describer, effects: Effects, *, axes: Sequence[str]) -> Described:
    """Every train condition described without what is hidden from it."""
    groups: dict[bytes, list[int]] = {}
    masks = [visible(condition, effects.conditions, axes) for condition in effects.conditions]
    for i, mask in enumerate(masks):
        groups.setdefault(mask.tobytes(), []).append(i)
    n, genes = effects.delta.shape
    base, features = np.zeros((n, genes)), np.zeros((n, genes, N_FEATURES), dtype=np.float32)
    notes: list[tuple[str, ...]] = [()] * n
    for rows in groups.values():
        part = describer(
            [effects.conditions[i] for i in rows], effects.control[rows], among=effects.select(masks[rows[0]])
        )
        base[rows], features[rows] = part.base, part.features
        for i, said in zip(rows, part.notes, strict=True):
            notes[i] = said
    return Described(base=base, features=features, notes=tuple(notes))
