"""How far a condition is from what a model was trained on: higher is farther, 0 is a condition of train itself.

The score of a condition is a sum of parts that can be said in words, none of them fitted to any outcome:

- the distance of its control profile to the nearest train context (root mean square over genes), in units of the
  typical distance between neighbouring train contexts;
- 1 where its context is not one of train;
- the share of its targets that train never perturbed, 0 to 1;
- 0.5 where train perturbed all its targets, but never together;
- 0.25 where train holds its perturbation and its context, but never together.

The unit of the distance is the median over train contexts of the distance to the nearest other one; with a single
train context it is the standard deviation of its profile over genes. A context whose cells were measured again is
some sampling error away from itself, a new one a whole unit or more. The score ranks conditions; it is no
probability, and what it is worth on a split is ``perturbcast.ood_auroc`` and the risk that goes with it.

Axes: C conditions, G genes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Self

import numpy as np

from perturbcast.schema import Condition

__all__ = ["Support"]

NEW_CONTEXT = 1.0
NEW_TOGETHER = 0.5
NEW_PAIR = 0.25


@dataclasses.dataclass(frozen=True, kw_only=True)
class Support:
    """What train held, as far as a new condition is compared with it.

    Attributes:
        conditions: train conditions.
        labels: their perturbations.
        targets: what these perturb, one by one.
        contexts: their contexts.
        profiles: [context, gene] control means of train contexts.
        unit: typical distance between neighbouring ones, units of X.
    """

    conditions: frozenset[Condition]
    labels: frozenset[str]
    targets: frozenset[str]
    contexts: frozenset[str]
    profiles: np.ndarray
    unit: float

    @classmethod
    def of(cls, conditions: Sequence[Condition], *, control_means: Mapping[str, np.ndarray]) -> Self:
        """From the train conditions and the control means [gene] of their contexts."""
        profiles = np.array([control_means[name] for name in sorted(control_means)])
        return cls(
            conditions=frozenset(conditions),
            labels=frozenset(c.perturbation for c in conditions),
            targets=frozenset(name for c in conditions for name in c.names),
            contexts=frozenset(c.context for c in conditions),
            profiles=profiles,
            unit=_unit(profiles),
        )

    def distance(self, conditions: Sequence[Condition], *, control: np.ndarray) -> np.ndarray:
        """Out-of-distribution score [condition]; rows do not depend on each other.

        Args:
            conditions: conditions asked for.
            control: [condition, gene] control means that are their input.
        """
        nearest = [_root_mean_square(self.profiles - profile).min() for profile in control]
        return np.array([d / self.unit + self._novelty(c) for c, d in zip(conditions, nearest, strict=True)])

    def _novelty(self, condition: Condition) -> float:
        unseen = float(np.mean([name not in self.targets for name in condition.names]))
        known = condition.perturbation in self.labels, condition.context in self.contexts
        return (
            NEW_CONTEXT * (not known[1])
            + unseen
            + NEW_TOGETHER * (unseen == 0 and not known[0])
            + NEW_PAIR * (all(known) and condition not in self.conditions)
        )


def _unit(profiles: np.ndarray) -> float:
    """Typical distance between neighbouring train contexts, in the units of X."""
    if len(profiles) > 1:
        others = [np.delete(profiles, k, axis=0) - profile for k, profile in enumerate(profiles)]
        unit = float(np.median([_root_mean_square(differences).min() for differences in others]))
    else:
        unit = float(profiles.std())
    return unit if unit > 0 else 1.0


def _root_mean_square(differences: np.ndarray) -> np.ndarray:
    root: np.ndarray = np.sqrt((differences**2).mean(axis=1))
    return root
