"""What test asks that train did not show: derived from the conditions themselves, whatever the rule says."""

from __future__ import annotations

from collections.abc import Collection

from perturbcast.schema import Condition

__all__ = ["axes", "new_contexts", "new_perturbations", "singles_seen"]


def new_perturbations(conditions: Collection[Condition], train: Collection[Condition]) -> list[str]:
    """Perturbation labels of ``conditions`` that no train condition has, sorted."""
    return sorted({c.perturbation for c in conditions} - {c.perturbation for c in train})


def new_contexts(conditions: Collection[Condition], train: Collection[Condition]) -> list[str]:
    """Contexts of ``conditions`` that no train condition has, sorted."""
    return sorted({c.context for c in conditions} - {c.context for c in train})


def singles_seen(condition: Condition, measured: Collection[tuple[str, str]]) -> str:
    """The stratum of a combination: how many of its targets are measured alone in its context.

    Args:
        condition: a combination.
        measured: (perturbation, context) of the single perturbations that count as seen.
    """
    n = sum((target, condition.context) in measured for target in condition.targets)
    return f"{n} of {len(condition.targets)} singles seen"


def axes(test: Collection[Condition], train: Collection[Condition]) -> tuple[str, ...]:
    """Which kinds of novelty ``test`` holds.

    ``context``: a context that train lacks. ``perturbation``: a single label that train lacks, or a combination with
    a target that no train label contains. ``combination``: a combination that train lacks. ``pair``: perturbation
    and context are both in train, and never together. Nothing where every test condition is in train.
    """
    labels = {c.perturbation for c in train}
    targets = {target for c in train for target in c.targets}
    contexts = {c.context for c in train}
    pairs = set(train)
    found = set()
    for condition in test:
        if condition.context not in contexts:
            found.add("context")
        if condition.perturbation not in labels:
            found.add("combination" if condition.is_combination else "perturbation")
            if condition.is_combination and not targets.issuperset(condition.targets):
                found.add("perturbation")
        elif condition.context in contexts and condition not in pairs:
            found.add("pair")
    return tuple(axis for axis in ("context", "perturbation", "combination", "pair") if axis in found)
