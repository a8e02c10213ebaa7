"""What happens to perturbations that a held-out part measures and train does not: filter, label or fail.

A claim about new contexts (or donors, doses, datasets) needs perturbations that train has seen; one that it has not
is a second novelty. ``filter`` leaves such conditions out and records them, ``label`` keeps them and calls the split
mixed, with ``perturbation`` among its OOD axes and their scores apart, ``fail`` names them in an error.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Literal

from perturbcast.schema import Condition, SharedPerturbations

__all__ = ["Policy", "SharedConfig", "apply", "axes", "policy_of", "strata", "warnings_of"]

Policy = Literal["filter", "label", "fail"]
WORDS: dict[str, Policy] = {"true": "filter", "false": "label", "filter": "filter", "label": "label", "fail": "fail"}


def policy_of(value: bool | str) -> Policy:
    """The policy that a field ``require_shared_perturbations`` asks for; True is ``filter``, False is ``label``.

    Raises:
        ValueError: the word is none of these.
    """
    if (word := str(value).lower()) in WORDS:
        return WORDS[word]
    raise ValueError(
        f"require_shared_perturbations is true or filter (leave unshared ones out), false or label (keep them, the "
        f"split is mixed), or fail; got {value!r}"
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class SharedConfig:
    """The field of a rule that has the policy.

    Attributes:
        require_shared_perturbations: true or ``filter`` keeps in the held-out parts only perturbations that train
            holds; false or ``label`` keeps all, labels the split mixed, and ``ood_axes`` gains ``perturbation``;
            ``fail`` refuses a split with unshared ones.
    """

    require_shared_perturbations: bool | str = "filter"

    def __post_init__(self) -> None:
        object.__setattr__(self, "require_shared_perturbations", policy_of(self.require_shared_perturbations))

    @property
    def policy(self) -> Policy:
        """The policy that the field asks for."""
        return policy_of(self.require_shared_perturbations)


def apply(
    parts: Mapping[str, Sequence[Condition]], *, policy: Policy, rule: str, where: Mapping[str, str]
) -> tuple[dict[str, list[Condition]], SharedPerturbations]:
    """Held-out parts after the policy, and the record of what it did.

    Args:
        parts: part -> conditions, ``train`` among them.
        policy: what to do with perturbations that train does not hold.
        rule: for messages.
        where: held-out part -> what it holds, in words.

    Raises:
        ValueError: the policy is ``fail`` and a perturbation is unshared, or nothing is left of a part.
    """
    seen = {condition.perturbation for condition in parts["train"]}
    result = {part: list(conditions) for part, conditions in parts.items()}
    unshared = {
        part: tuple(sorted({c.perturbation for c in parts[part]} - seen))
        for part in ("validation", "calibration", "test")
    }
    found = {part: names for part, names in unshared.items() if names}
    if found and policy == "fail":
        listed = "; ".join(f"{part} ({where[part]}): {', '.join(names)}" for part, names in found.items())
        raise ValueError(
            f"Split {rule!r} was asked to fail where a perturbation is not shared with train; not in train: {listed}. "
            "Set require_shared_perturbations to true (leave them out) or false (keep them; the split is then "
            "labelled mixed), or hold out something else."
        )
    if policy == "filter":
        for part in found:
            result[part] = [c for c in parts[part] if c.perturbation in seen]
            if parts[part] and not result[part]:
                contexts = ", ".join(sorted({c.context for c in parts["train"]}))
                raise ValueError(
                    f"Split {rule!r} needs perturbations shared by train and {part}; none of "
                    f"{', '.join(found[part])} in {where[part]!r} is measured in {contexts}. "
                    "Set require_shared_perturbations=False (the split is then labelled mixed), or hold out "
                    "something else."
                )
        return result, SharedPerturbations(policy=policy, dropped=found, kept={})
    return result, SharedPerturbations(policy=policy, dropped={}, kept=found)


def axes(novelty: str, shared: SharedPerturbations) -> tuple[str, ...]:
    """OOD axes of a rule that holds out ``novelty``: ``perturbation`` beside it where the split is mixed."""
    return (novelty, "perturbation") if shared.mixed else (novelty,)


def strata(parts: Mapping[str, Sequence[Condition]], shared: SharedPerturbations) -> dict[str, str]:
    """Test conditions of a mixed split by whether train holds their perturbation; empty otherwise."""
    new = set(shared.kept.get("test", ()))
    if not new:
        return {}
    return {
        str(c): "perturbation not in train" if c.perturbation in new else "perturbation in train" for c in parts["test"]
    }


def warnings_of(shared: SharedPerturbations, where: Mapping[str, str]) -> list[str]:
    """The record in sentences."""
    dropped = [
        f"{len(names)} perturbations of {where[part]!r} are not in train and were dropped from {part}: "
        + ", ".join(names)
        for part, names in shared.dropped.items()
    ]
    kept = [
        f"mixed: {len(names)} perturbations of {where[part]!r} ({part}) are not in train: " + ", ".join(names)
        for part, names in shared.kept.items()
    ]
    return dropped + kept
