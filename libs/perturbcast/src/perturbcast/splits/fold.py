"""One fold as a rule proposes it, before cells are looked up: which conditions go to which part."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from perturbcast.schema import Condition, SharedPerturbations

__all__ = ["Fold", "hold_out", "share_out", "spread_out"]

MIN_VALUES_FOR_CALIBRATION = 5
FITTED_PARTS = ("train", "validation", "calibration", "test")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fold:
    """Conditions of each part of one fold.

    Attributes:
        held_out: what test holds, in words (a context, a number of perturbations).
        conditions: part -> conditions. A part may share conditions with another only if ``cells`` is given.
        cells: part -> barcodes of perturbed cells, for rules that divide cells inside a condition; None
            where a condition goes to one part whole.
        strata: ``str(condition)`` -> label that scores are reported apart by.
        ood_axes: what is new at test time: ``context``, ``perturbation``, ``combination``, ``dataset``, the name of a
            covariate, or none.
        warnings: what a reader of the split must know.
        withheld_controls: barcodes of control cells that are input only although their context is in train.
        shared: what became of perturbations that train lacks, where the rule has a policy for them.
        coverage: counts of genes that train and test share, where they are different datasets.
    """

    held_out: str
    conditions: Mapping[str, Sequence[Condition]]
    cells: Mapping[str, Sequence[str]] | None = None
    strata: Mapping[str, str] = dataclasses.field(default_factory=dict)
    ood_axes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    withheld_controls: Collection[str] = ()
    shared: SharedPerturbations | None = None
    coverage: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.cells is not None:
            return
        placed: dict[Condition, str] = {}
        for part in FITTED_PARTS:
            for condition in self.conditions[part]:
                if condition in placed:
                    raise ValueError(
                        f"A condition is in one part of a fold; {str(condition)!r} is in {placed[condition]!r} and "
                        f"{part!r}. The split rule has a defect."
                    )
                placed[condition] = part


def hold_out(test: str, order: Sequence[str], *, sizes: Mapping[str, int]) -> dict[str, str]:
    """Which value is validation, and calibration, while ``test`` is test: the next ones in ``order``, cyclically.

    Calibration has a value of its own, as far out as test is, where five or more exist; with fewer, train would be
    too thin, and calibration conditions are drawn from the validation value later, unless one condition each leaves
    nothing to draw from.

    Args:
        test: the value that is tested.
        order: all values (contexts, donors), at least three.
        sizes: value -> number of its conditions.
    """
    others = [*order[order.index(test) + 1 :], *order[: order.index(test)]]
    apart = len(order) >= MIN_VALUES_FOR_CALIBRATION or (len(order) > 3 and all(sizes[name] == 1 for name in order))
    return {"test": test, "validation": others[0]} | ({"calibration": others[1]} if apart else {})


def share_out(
    names: Sequence[str], fractions: Mapping[str, float], *, generator: np.random.Generator
) -> dict[str, list[str]]:
    """Draw a share of ``names`` for each part; at least one each, the rest under ``rest``.

    Args:
        names: what to draw from, without repeats.
        fractions: part -> share of ``names`` (0 to 1).
        generator: decides the order.

    Raises:
        ValueError: there are not enough names to give every part one and leave one.
    """
    wanted = _counts(names, fractions)
    order = [names[i] for i in generator.permutation(len(names))]
    parts: dict[str, list[str]] = {}
    start = 0
    for part, count in wanted.items():
        parts[part] = sorted(order[start : start + count])
        start += count
    parts["rest"] = sorted(order[start:])
    return parts


def spread_out(names: Sequence[str], fractions: Mapping[str, float]) -> dict[str, list[str]]:
    """The same shares at even distances along ``names``, so that each part is like the whole of an ordered list.

    Args:
        names: what to divide, without repeats, like beside like.
        fractions: part -> share of ``names`` (0 to 1).

    Raises:
        ValueError: there are not enough names to give every part one and leave one.
    """
    left = list(names)
    parts: dict[str, list[str]] = {}
    for part, count in _counts(names, fractions).items():
        drawn = {int((i + 0.5) * len(left) / count) for i in range(count)}
        parts[part] = sorted(left[i] for i in drawn)
        left = [name for i, name in enumerate(left) if i not in drawn]
    parts["rest"] = sorted(left)
    return parts


def _counts(names: Sequence[str], fractions: Mapping[str, float]) -> dict[str, int]:
    """Part -> number of names, at least one each."""
    wanted = {part: max(1, round(fraction * len(names))) for part, fraction in fractions.items()}
    if sum(wanted.values()) >= len(names):
        raise ValueError(
            f"Each of {', '.join(fractions)} needs at least one and train keeps at least one; only {len(names)} "
            f"to share out for {wanted}. Use smaller fractions or fewer folds."
        )
    return wanted
