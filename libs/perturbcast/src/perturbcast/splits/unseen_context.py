"""Hold out whole contexts: can the model carry a response to a cell type it never saw perturbed?

Each context is the test context of one fold. Its perturbed cells are test; its controls stay available
as input and are never fitted. Validation is the perturbed cells of one further held-out context, and
calibration those of another where five or more contexts exist; with fewer, calibration conditions are
drawn from the validation context. Claims about contexts need perturbations shared by train and test:
test, validation and calibration are filtered to them, and what was dropped is named.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from perturbcast.errors import UsageError
from perturbcast.schema import Condition, PerturbationData
from perturbcast.splits.fold import Fold

__all__ = ["Config", "folds"]

MIN_CONTEXTS = 3
MIN_CONTEXTS_FOR_CALIBRATION = 5


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Parameters of the rule.

    Attributes:
        contexts: contexts to hold out, comma-separated; empty for each in turn.
        require_shared_perturbations: keep in test only perturbations that train contexts hold; with False
            the split is labelled mixed and ``ood_axes`` gains ``perturbation``.
    """

    contexts: str = ""
    require_shared_perturbations: bool = True


def folds(data: PerturbationData, config: Config, *, generator: np.random.Generator) -> list[Fold]:
    """One fold per held-out context.

    Raises:
        UsageError: a named context is unknown.
        ValueError: fewer than three contexts hold perturbed cells, or nothing is left of a part after filtering
            to shared perturbations.
    """
    by_context: dict[str, list[Condition]] = {}
    for condition in data.conditions:
        by_context.setdefault(condition.context, []).append(condition)
    contexts = sorted(by_context)
    if len(contexts) < MIN_CONTEXTS:
        raise ValueError(
            f"Split 'unseen_context' needs at least {MIN_CONTEXTS} contexts with perturbed cells and controls (train, "
            f"validation, test); {data.dataset!r} has {len(contexts)}: {', '.join(contexts)}. "
            "Use unseen_perturbation or in_distribution."
        )
    wanted = [name.strip() for name in config.contexts.split(",") if name.strip()] or contexts
    unknown = sorted(set(wanted) - set(contexts))
    if unknown:
        raise UsageError(
            f"Contexts to hold out are contexts of the data; {', '.join(unknown)} unknown. "
            f"Known: {', '.join(contexts)}."
        )
    order = [contexts[i] for i in generator.permutation(len(contexts))]
    return [_fold(test, order, by_context, config) for test in wanted]


def _fold(test: str, order: list[str], by_context: dict[str, list[Condition]], config: Config) -> Fold:
    others = order[order.index(test) + 1 :] + order[: order.index(test)]
    # A calibration context of its own is as far out as test is; with few contexts train would be too thin for it.
    apart = len(order) >= MIN_CONTEXTS_FOR_CALIBRATION or (
        len(order) > MIN_CONTEXTS and all(len(conditions) == 1 for conditions in by_context.values())
    )
    held = {"test": test, "validation": others[0]} | ({"calibration": others[1]} if apart else {})
    train = [c for name in others if name not in held.values() for c in by_context[name]]
    seen = {c.perturbation for c in train}
    parts: dict[str, list[Condition]] = {"train": train, "calibration": []}
    warnings, mixed = [], False
    for part, name in held.items():
        unshared = sorted(c.perturbation for c in by_context[name] if c.perturbation not in seen)
        parts[part] = list(by_context[name])
        if unshared and config.require_shared_perturbations:
            parts[part] = [c for c in by_context[name] if c.perturbation in seen]
            warnings.append(
                f"{len(unshared)} perturbations of {name!r} are not in train and were dropped from {part}: "
                + ", ".join(unshared)
            )
        elif unshared:
            mixed = True
            warnings.append(
                f"mixed: {len(unshared)} perturbations of {name!r} ({part}) are not in train: " + ", ".join(unshared)
            )
        if not parts[part]:
            raise ValueError(
                f"Split 'unseen_context' needs perturbations shared by train and {part}; none of "
                f"{', '.join(unshared)} in {name!r} is measured in {', '.join(sorted({c.context for c in train}))}. "
                "Set require_shared_perturbations=False (the split is then labelled mixed), or hold out other contexts."
            )
    return Fold(
        held_out=test,
        conditions=parts,
        ood_axes=("context", "perturbation") if mixed else ("context",),
        warnings=tuple(warnings),
    )
