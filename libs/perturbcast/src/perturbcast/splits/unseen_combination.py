"""Hold out combinations: do two responses add up, or is there an interaction that the model knows?

Combinations are dealt into groups, evenly over how many of their single perturbations are measured in
the same context (all, some, none); each group is the test set of one fold and scores are reported apart
by that number. All singles stay in train. Validation and calibration are further combinations, spread over the same
numbers.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from perturbcast.schema import Condition, PerturbationData
from perturbcast.splits.fold import Fold, spread_out
from perturbcast.splits.novelty import singles_seen

__all__ = ["Config", "folds"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Parameters of the rule.

    Attributes:
        folds: number of groups of combinations; each is tested once.
        validation: share of the combinations that are not tested, 0 to 1.
        calibration: share of the combinations that are not tested, 0 to 1.
    """

    folds: int = 3
    validation: float = 0.3
    calibration: float = 0.3


def folds(data: PerturbationData, config: Config, *, generator: np.random.Generator) -> list[Fold]:
    """One fold per group of combinations.

    Raises:
        ValueError: there are fewer combinations than folds and parts need.
    """
    conditions = data.conditions
    measured = {(c.perturbation, c.context) for c in conditions if not c.is_combination}
    combinations = [c for c in conditions if c.is_combination]
    labels = sorted({c.perturbation for c in combinations})
    if config.folds < 2 or len(labels) < 2 * config.folds:
        raise ValueError(
            f"Split 'unseen_combination' deals combinations into 2 or more folds of at least two; {data.dataset!r} "
            f"has {len(labels)} for folds={config.folds}. Lower folds, lower min_cells at import, or use another rule."
        )

    strata = {str(c): singles_seen(c, measured) for c in combinations}
    fewest = {label: min(strata[str(c)] for c in combinations if c.perturbation == label) for label in labels}
    shuffled = [labels[i] for i in generator.permutation(len(labels))]
    order = sorted(shuffled, key=lambda label: fewest[label])  # stable: dealt evenly over strata, drawn within
    result = []
    for fold in range(config.folds):
        drawn = {"test": sorted(order[fold :: config.folds])}
        rest = [label for label in order if label not in drawn["test"]]
        drawn |= spread_out(rest, {"validation": config.validation, "calibration": config.calibration})
        part_of = {label: part for part in ("test", "validation", "calibration") for label in drawn[part]}
        parts: dict[str, list[Condition]] = {part: [] for part in ("train", "validation", "calibration", "test")}
        for condition in conditions:
            parts[part_of.get(condition.perturbation, "train")].append(condition)
        result.append(
            Fold(
                held_out=", ".join(drawn["test"]),
                conditions=parts,
                strata={key: strata[key] for key in map(str, parts["test"])},
                ood_axes=("combination",),
            )
        )
    return result
