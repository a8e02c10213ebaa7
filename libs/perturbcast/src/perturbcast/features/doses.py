"""How strongly a target was perturbed, from the dose that its label states.

Strength log2(1 + dose / reference), the reference being the median dose of the target in train: 1 at that dose, 0 at
none, growing by about 1 with every doubling far above it, as responses do between threshold and saturation. A target
that train holds at no dose has the median over the other targets as its reference; a label without a dose has a
strength of 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from perturbcast.schema import Condition

__all__ = ["ANY", "reference_doses", "strengths"]

ANY = ""  # the reference of a target that train holds at no dose


def reference_doses(train: Sequence[Condition]) -> dict[str, float]:
    """Target -> its median positive dose in train, and ``ANY`` -> the median of these; empty where none is stated."""
    stated: dict[str, set[float]] = {}
    for condition in train:
        for name, dose in zip(condition.names, condition.doses, strict=True):
            if dose:
                stated.setdefault(name, set()).add(dose)
    medians = {name: float(np.median(sorted(doses))) for name, doses in sorted(stated.items())}
    return medians | {ANY: float(np.median(list(medians.values())))} if medians else {}


def strengths(condition: Condition, references: Mapping[str, float]) -> tuple[float, ...]:
    """Strength of each target of a condition, in their order."""
    return tuple(
        1.0 if dose is None or not references else float(np.log2(1 + dose / references.get(name, references[ANY])))
        for name, dose in zip(condition.names, condition.doses, strict=True)
    )
