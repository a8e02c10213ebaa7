"""Hold out whole contexts: can the model carry a response to a cell type it never saw perturbed?

Each context is the test context of one fold. Its perturbed cells are test; its controls stay available
as input and are never fitted. Validation is the perturbed cells of one further held-out context, and
calibration those of another where five or more contexts exist; with fewer, calibration conditions are
drawn from the validation context. Claims about contexts need perturbations shared by train and test:
by default test, validation and calibration are filtered to them, and what was dropped is named.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from perturbcast.errors import UsageError
from perturbcast.schema import Condition, PerturbationData
from perturbcast.splits import shared_perturbations
from perturbcast.splits.fold import Fold, hold_out
from perturbcast.splits.shared_perturbations import SharedConfig

__all__ = ["Config", "folds"]

MIN_CONTEXTS = 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(SharedConfig):
    """Parameters of the rule, beside the policy of ``SharedConfig``.

    Attributes:
        contexts: contexts to hold out, comma-separated; empty for each in turn.
    """

    contexts: str = ""


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
    held = hold_out(test, order, sizes={name: len(group) for name, group in by_context.items()})
    proposed: dict[str, list[Condition]] = {"calibration": []} | {part: by_context[name] for part, name in held.items()}
    proposed["train"] = [c for name in order if name not in held.values() for c in by_context[name]]
    parts, shared = shared_perturbations.apply(proposed, policy=config.policy, rule="unseen_context", where=held)
    return Fold(
        held_out=test,
        conditions=parts,
        strata=shared_perturbations.strata(parts, shared),
        ood_axes=shared_perturbations.axes("context", shared),
        warnings=tuple(shared_perturbations.warnings_of(shared, held)),
        shared=shared,
    )
