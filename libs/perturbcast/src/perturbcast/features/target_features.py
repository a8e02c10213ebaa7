"""Vectors of perturbation targets by name: what is known of a gene or drug before it was ever perturbed.

Axes: N named targets, F features.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Self

import numpy as np

from perturbcast.schema import repeated

__all__ = ["TargetFeatures"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class TargetFeatures:
    """Features of named targets.

    Attributes:
        names: N names, unique.
        vectors: [name, feature] float64, finite.
    """

    names: tuple[str, ...]
    vectors: np.ndarray

    def __post_init__(self) -> None:
        if self.vectors.ndim != 2 or len(self.vectors) != len(self.names) or not np.isfinite(self.vectors).all():
            raise ValueError(
                f"Target features are finite values [name, feature]; {len(self.names)} names came with values of shape "
                f"{self.vectors.shape}, {int((~np.isfinite(self.vectors)).sum())} of them not finite."
            )
        twice = repeated(self.names)
        if twice:
            raise ValueError(f"A target has one row of features; {', '.join(twice[:5])} has several. Keep one.")

    def scaled(self) -> Self:
        """Mean squared row length 1, so that a penalty means the same on features of any source."""
        size = np.sqrt((self.vectors**2).sum(axis=1).mean()) if len(self.names) else 0.0
        return dataclasses.replace(self, vectors=self.vectors / size if size > 0 else self.vectors)

    def beside(self, other: TargetFeatures) -> TargetFeatures:
        """Features of both; a target that one of them lacks has zeros there."""
        names = tuple(dict.fromkeys((*self.names, *other.names)))
        place = {name: i for i, name in enumerate(names)}
        values = np.zeros((len(names), self.vectors.shape[1] + other.vectors.shape[1]))
        values[[place[name] for name in self.names], : self.vectors.shape[1]] = self.vectors
        values[[place[name] for name in other.names], self.vectors.shape[1] :] = other.vectors
        return TargetFeatures(names=names, vectors=values)

    def of(
        self, targets: Sequence[Sequence[str]], weights: Sequence[Sequence[float]] | None = None
    ) -> tuple[np.ndarray, list[list[str]]]:
        """Sum of the rows of each group of targets [group, feature], and the targets without features.

        A sum over a sorted group does not depend on the order in which a combination was written.

        Args:
            targets: groups of names.
            weights: of each name in its group; 1 if not given.
        """
        place = {name: i for i, name in enumerate(self.names)}
        rows = np.zeros((len(targets), self.vectors.shape[1]))
        missing: list[list[str]] = []
        for i, group in enumerate(targets):
            missing.append([target for target in group if target not in place])
            weighted = zip(group, weights[i] if weights is not None else (1.0,) * len(group), strict=True)
            for target, weight in sorted(weighted):
                if target in place:
                    rows[i] += weight * self.vectors[place[target]]
        return rows, missing
