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

__all__ = ["N_FEATURES", "Described", "Describer", "describe_train", "hidden_groups", "visible"]

N_FEATURES = 11
MOST_GROUPS = 64  # a screen of hundreds of perturbations is not described by hundreds of fits of the base


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
        axes: what will be new in the conditions asked about; a base that learns from hidden conditions reads it.
    """

    over: str
    scale: float
    level: float
    spread: float
    signs: dict[str, float]
    doses: dict[str, float] = dataclasses.field(default_factory=dict)
    axes: tuple[str, ...] = ()

    def sign(self, context: str) -> float:
        """Sign of the perturbations of a context, also of one that train does not hold."""
        return self.signs.get(context, -1.0 if sum(self.signs.values()) < 0 else 1.0)

    def base(self, among: Effects) -> Any:
        """The base fitted on the visible effects; None without one."""
        if not self.over:
            return None
        module: Any = catalog.load("models", self.over)
        return module.Model.fit(
            TrainingSet(effects=among, ood_axes=self.axes), module.Config(), generator=np.random.default_rng(0)
        )

    def __call__(
        self, asked: Sequence[Condition], control: np.ndarray, *, among: Effects, fitted: Any = None
    ) -> Described:
        """Describe conditions.

        Args:
            asked: the conditions.
            control: [condition, gene] their control means.
            among: the visible effects.
            fitted: ``base(among)``, where it is there already.
        """
        n, genes = control.shape
        base, deviation = np.zeros((n, genes)), np.zeros((n, genes))
        notes: tuple[tuple[str, ...], ...] = ((),) * n
        if self.over:
            response = (fitted or self.base(among)).predict(asked, control=control)
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


def hidden_groups(
    train: Sequence[Condition], axes: Sequence[str], *, most: int | None = None
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Rows of train that may be described together, and the mask [train] of what is visible to them.

    With more than ``most`` groups, several are dealt together and hide each other too, unless nothing would stay
    visible.
    """
    masks = [visible(condition, train, axes) for condition in train]
    groups: dict[bytes, list[int]] = {}
    for i, mask in enumerate(masks):
        groups.setdefault(mask.tobytes(), []).append(i)
    alone = list(groups.values())
    if most is not None and len(alone) > most:
        dealt = [sorted(row for group in alone[k::most] for row in group) for k in range(most)]
        together = [(np.array(rows), np.logical_and.reduce([masks[i] for i in rows])) for rows in dealt]
        if all(mask.any() for _, mask in together):
            return together
    return [(np.array(rows), masks[rows[0]]) for rows in alone]


def describe_train(describer: Describer, effects: Effects, *, axes: Sequence[str]) -> Described:
    """Every train condition described without what is hidden from it."""
    n, genes = effects.delta.shape
    base, features = np.zeros((n, genes)), np.zeros((n, genes, N_FEATURES), dtype=np.float32)
    notes: list[tuple[str, ...]] = [()] * n
    for rows, mask in hidden_groups(effects.conditions, axes, most=MOST_GROUPS):
        part = describer([effects.conditions[i] for i in rows], effects.control[rows], among=effects.select(mask))
        base[rows], features[rows] = part.base, part.features
        for i, said in zip(rows, part.notes, strict=True):
            notes[i] = said
    return Described(base=base, features=features, notes=tuple(notes))
