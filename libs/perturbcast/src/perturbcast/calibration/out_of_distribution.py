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

from collections.abc import Mapping, Sequence

import numpy as np

from perturbcast.schema import Condition

__all__ = ["out_of_distribution_score"]

NEW_CONTEXT = 1.0
NEW_TOGETHER = 0.5
NEW_PAIR = 0.25


def out_of_distribution_score(
    conditions: Sequence[Condition],
    *,
    control: np.ndarray,
    train_conditions: Sequence[Condition],
    train_control: Mapping[str, np.ndarray],
) -> np.ndarray:
    """Score per condition [condition]; rows do not depend on each other.

    Args:
        conditions: conditions asked for.
        control: [condition, gene] control means that are their input.
        train_conditions: conditions that the model was fitted on.
        train_control: context -> control mean [gene] of the train contexts.
    """
    profiles = np.array([train_control[name] for name in sorted(train_control)])
    unit = _unit(profiles)
    pairs = set(train_conditions)
    labels, contexts = {c.perturbation for c in pairs}, {c.context for c in pairs}
    targets = {target for c in pairs for target in c.targets}
    scores = np.zeros(len(conditions))
    for row, condition in enumerate(conditions):
        scores[row] = _root_mean_square(profiles - control[row]).min() / unit
        scores[row] += NEW_CONTEXT * (condition.context not in contexts)
        unseen = np.mean([target not in targets for target in condition.targets])
        scores[row] += unseen + NEW_TOGETHER * (unseen == 0 and condition.perturbation not in labels)
        if condition.perturbation in labels and condition.context in contexts:
            scores[row] += NEW_PAIR * (condition not in pairs)
    return scores


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
