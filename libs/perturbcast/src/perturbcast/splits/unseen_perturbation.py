"""Hold out whole perturbations: can the model predict a target it never saw perturbed?

Single perturbations are dealt into groups; each group is the test set of one fold, in every context.
Combinations that contain a held-out target go with it, so that no cell with that target is fitted.
Validation and calibration are further held-out perturbations.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from perturbcast.schema import Condition, PerturbationData
from perturbcast.splits.fold import Fold, share_out

__all__ = ["Config", "folds"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Parameters of the rule.

    Attributes:
        folds: number of groups of perturbations; each is tested once.
        validation: share of the perturbations that are not tested, 0 to 1.
        calibration: share of the perturbations that are not tested, 0 to 1.
    """

    folds: int = 5
    validation: float = 0.2
    calibration: float = 0.2


def folds(data: PerturbationData, config: Config, *, generator: np.random.Generator) -> list[Fold]:
    """One fold per group of single perturbations.

    Raises:
        ValueError: there are fewer single perturbations than folds and parts need.
    """
    conditions = data.conditions
    singles = sorted({c.names[0] for c in conditions if not c.is_combination})  # a drug at all of its doses
    if config.folds < 2 or len(singles) < config.folds:
        raise ValueError(
            f"Split 'unseen_perturbation' deals single perturbations into 2 or more folds of at least one; "
            f"{data.dataset!r} has {len(singles)} for folds={config.folds}. Set folds between 2 and {len(singles)}, "
            "or use in_distribution."
        )
    order = [singles[i] for i in generator.permutation(len(singles))]
    result = []
    for fold in range(config.folds):
        test = sorted(order[fold :: config.folds])
        rest = [name for name in singles if name not in test]
        drawn = share_out(
            rest,
            {"validation": config.validation, "calibration": config.calibration},
            generator=generator,
        )
        drawn["test"] = test
        result.append(
            Fold(
                held_out=", ".join(test),
                conditions=_place(conditions, drawn),
                ood_axes=("perturbation",),
            )
        )
    return result


def _place(conditions: tuple[Condition, ...], held: dict[str, list[str]]) -> dict[str, list[Condition]]:
    """Every condition goes to the first of test, validation, calibration that holds one of its targets."""
    parts: dict[str, list[Condition]] = {part: [] for part in ("train", "validation", "calibration", "test")}
    for condition in conditions:
        for part in ("test", "validation", "calibration"):
            if any(name in held[part] for name in condition.names):
                parts[part].append(condition)
                break
        else:
            parts["train"].append(condition)
    return parts
