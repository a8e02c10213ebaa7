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
import functools
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from perturbcast import catalog
from perturbcast.features import strengths
from perturbcast.models.interface import ResponseModel, TrainingSet
from perturbcast.schema import Condition
from perturbcast.stores import Effects

__all__ = [
    "N_FEATURES",
    "Among",
    "Described",
    "Describer",
    "Descriptions",
    "describe_train",
    "hidden_groups",
    "visible",
]

N_FEATURES = 11
MOST_GROUPS = 64  # a screen of hundreds of perturbations is not described by hundreds of fits of the base


@dataclasses.dataclass(frozen=True, kw_only=True)
class Described:
    """Conditions as a model sees them.

    Attributes:
        base: [condition, gene] float32, prediction of the base, in units of ``scale``; 0 without one.
        features: [condition, gene, F] float32.
        notes: per condition, what the base says about itself.
    """

    base: np.ndarray
    features: np.ndarray
    notes: tuple[tuple[str, ...], ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Descriptions:
    """Conditions that are described when they are asked for, by row number.

    Of the features of a gene only those of the base are held, two of them; the others take less to make than to keep.

    Attributes:
        conditions: C conditions, with their control means ``control`` [C, gene].
        base: [C, gene] float32, in units of ``scale``, and the sd ``deviation`` that it states; None without a base.
        coverage: [C, 4], see ``Among``.
        levels: [group, 3, gene] mean control, mean and sd of the effects that a group's rows are described from.
        group: [C] which of these groups a row is of.
        notes: per condition, what the base says about itself.
    """

    describer: Describer
    genes: tuple[str, ...]
    conditions: Sequence[Condition]
    control: np.ndarray
    base: np.ndarray | None
    deviation: np.ndarray | None
    coverage: np.ndarray
    levels: np.ndarray
    group: np.ndarray
    notes: tuple[tuple[str, ...], ...]

    def __call__(self, rows: np.ndarray) -> Described:
        """Describe the conditions at ``rows`` [n]."""
        control, level, spread = self.control[rows], self.describer.level, self.describer.spread
        mean_control, mean_delta, sd_delta = (self.levels[self.group[rows], k] for k in range(3))
        features = np.zeros((*control.shape, N_FEATURES), dtype=np.float32)
        if self.base is not None and self.deviation is not None:
            features[..., 0] = self.base[rows]
            features[..., 1] = self.deviation[rows]
        features[..., 2] = (control - level) / spread
        features[..., 3] = (control - mean_control) / spread
        features[..., 4] = mean_delta
        features[..., 5] = sd_delta
        features[..., 6:10] = self.coverage[rows][:, None, :]
        asked = [self.conditions[row] for row in rows]
        for i, condition in enumerate(asked):
            for name, strength in zip(condition.names, strengths(condition, self.describer.doses), strict=True):
                if name in self._place:
                    features[i, self._place[name], 10] = self.describer.sign(condition.context) * strength
        return Described(base=features[..., 0].copy(), features=features, notes=tuple(self.notes[row] for row in rows))

    @functools.cached_property
    def _place(self) -> dict[str, int]:
        return {gene: i for i, gene in enumerate(self.genes)}


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

    def among(self, seen: Effects) -> Among:
        """Fit the base on the visible effects, once for whatever is described from them."""
        base = None
        if self.over:
            module: Any = catalog.load("models", self.over)
            train = TrainingSet(effects=seen, ood_axes=self.axes)
            base = module.Model.fit(train, module.Config(), generator=np.random.default_rng(0))
        return Among(describer=self, seen=seen, base=base)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Among:
    """Describes conditions from the effects that ``Describer.among`` was given.

    Attributes:
        base: fitted on them; None without one.
    """

    describer: Describer
    seen: Effects
    base: ResponseModel | None

    def __call__(self, asked: Sequence[Condition], control: np.ndarray) -> Described:
        """Describe conditions with control means [condition, gene]."""
        return self.hold(asked, control)(np.arange(len(asked)))

    def hold(self, asked: Sequence[Condition], control: np.ndarray) -> Descriptions:
        """Conditions with control means [condition, gene], to be described a few at a time."""
        base = deviation = None
        notes: tuple[tuple[str, ...], ...] = ((),) * len(asked)
        if self.base is not None:
            response = self.base.predict(asked, control=control)
            base = (response.delta / self.describer.scale).astype(np.float32)
            deviation = (np.sqrt(response.variance) / self.describer.scale).astype(np.float32)
            notes = response.notes
        return Descriptions(
            describer=self.describer,
            genes=self.seen.genes,
            conditions=asked,
            control=control,
            base=base,
            deviation=deviation,
            coverage=self._coverage(asked),
            levels=self._levels[None],
            group=np.zeros(len(asked), dtype=np.int64),
            notes=notes,
        )

    @functools.cached_property
    def _levels(self) -> np.ndarray:
        """[3, gene] mean control, mean and sd of the effects in units of ``scale``."""
        scale, seen = self.describer.scale, self.seen
        return np.stack([seen.control.mean(axis=0), seen.delta.mean(axis=0) / scale, seen.delta.std(axis=0) / scale])

    @functools.cached_property
    def _alone(self) -> dict[str, set[str]]:
        """Perturbation -> contexts where it was seen by itself."""
        alone: dict[str, set[str]] = {}
        for condition in self.seen.conditions:
            if not condition.is_combination:
                alone.setdefault(condition.perturbation, set()).add(condition.context)
        return alone

    def _coverage(self, asked: Sequence[Condition]) -> np.ndarray:
        """[condition, 4]: shares of targets seen alone here and only elsewhere; targets beyond one; sign agreement."""
        rows = np.zeros((len(asked), 4))
        for i, condition in enumerate(asked):
            sign = self.describer.sign(condition.context)
            for target in condition.targets:
                contexts = self._alone.get(target, set())
                share = 1 / len(condition.targets)
                if condition.context in contexts:
                    rows[i, 0] += share
                    rows[i, 3] += share
                elif contexts:
                    rows[i, 1] += share
                    rows[i, 3] += share * np.mean([sign * self.describer.sign(name) for name in sorted(contexts)])
            rows[i, 2] = len(condition.targets) - 1
        return rows


def visible(train: Sequence[Condition], axes: Sequence[str]) -> np.ndarray:
    """Masks [asked, train]: what each train condition may be described from; see the table of this module.

    Labels are taken apart once: a base that learns from hidden conditions asks for this at each of its fits.
    """
    own = _differ([(c.perturbation, c.context) for c in train])
    masks = []
    if "context" in axes:
        masks.append(_differ([c.context for c in train]))
    if "perturbation" in axes:
        masks.append(~_share([c.names for c in train]))
    if "combination" in axes:
        masks.append(_differ([c.perturbation for c in train]))
    found = np.ones((len(train), len(train)), dtype=bool)
    undecided = np.ones(len(train), dtype=bool)
    for mask in (np.logical_and.reduce([own, *masks]), *masks, own):
        rows = undecided & mask.any(axis=1)
        found[rows] = mask[rows]
        undecided &= ~rows
    return found


def _differ(labels: Sequence[Hashable]) -> np.ndarray:
    """[n, n] whether two labels differ."""
    numbers = {label: i for i, label in enumerate(dict.fromkeys(labels))}
    of = np.array([numbers[label] for label in labels], dtype=np.int64)
    return of[:, None] != of[None, :]


def _share(names: Sequence[Sequence[str]]) -> np.ndarray:
    """[n, n] whether two conditions have a target in common."""
    place = {name: i for i, name in enumerate(dict.fromkeys(name for group in names for name in group))}
    hot = np.zeros((len(names), len(place)))
    for i, group in enumerate(names):
        hot[i, [place[name] for name in group]] = 1.0
    return hot @ hot.T > 0


def hidden_groups(
    train: Sequence[Condition], axes: Sequence[str], *, most: int | None = None
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Rows of train that may be described together, and the mask [train] of what is visible to them.

    With more than ``most`` groups, several are dealt together and hide each other too, unless nothing would stay
    visible.
    """
    masks = visible(train, axes)
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


def describe_train(describer: Describer, effects: Effects, *, axes: Sequence[str]) -> Descriptions:
    """Every train condition, to be described without what is hidden from it."""
    shape = effects.delta.shape
    base, deviation = (np.zeros(shape, dtype=np.float32) if describer.over else None for _ in range(2))
    coverage, group = np.zeros((shape[0], 4)), np.zeros(shape[0], dtype=np.int64)
    levels: list[np.ndarray] = []
    notes: list[tuple[str, ...]] = [()] * shape[0]
    for rows, mask in hidden_groups(effects.conditions, axes, most=MOST_GROUPS):
        part = describer.among(effects.select(mask)).hold([effects.conditions[i] for i in rows], effects.control[rows])
        if base is not None and deviation is not None:
            base[rows], deviation[rows] = part.base, part.deviation
        coverage[rows], group[rows] = part.coverage, len(levels)
        levels.append(part.levels[0])
        for i, said in zip(rows, part.notes, strict=True):
            notes[i] = said
    return Descriptions(
        describer=describer,
        genes=effects.genes,
        conditions=effects.conditions,
        control=effects.control,
        base=base,
        deviation=deviation,
        coverage=coverage,
        levels=np.stack(levels),
        group=group,
        notes=tuple(notes),
    )
