"""What a metric says about itself, so that a report, a leaderboard and a reader treat its numbers rightly."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from perturbcast.metrics.comparison import Comparison

__all__ = ["Direction", "Metric"]

Direction = Literal["lower", "higher", "target"]

_ID = re.compile(r"[a-z]+\.[A-Za-z0-9_]+@[0-9]+")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Metric:
    """Descriptor of one metric; each metric module declares one as ``METRIC``.

    A metric module also declares ``Config`` and ``score(comparison, config) -> np.ndarray`` [condition],
    where NaN is the marker of 'undefined for this condition'. Evaluation counts those and leaves them out;
    a metric whose undefined cases count as worst returns the worst value itself.

    Attributes:
        id: ``panel.name@version``; the version rises whenever a value would change.
        title: a few words for tables.
        direction: which way is better; ``target`` means closer to the optimum.
        optimum: the value of a perfect prediction.
        chance: the expected value of a prediction that knows nothing of the condition: a number, a rule
            ``(comparison, config) -> [condition]`` where it depends on the data, or None where a metric has
            none (the floors say it then).
        needs: what of a comparison is read.
        undefined: what becomes of conditions without a defined value.
        undefined_when: when that happens, in words; part of the note beside the count.
    """

    id: str
    title: str
    direction: Direction
    optimum: float
    chance: float | Callable[[Comparison, Any], np.ndarray] | None
    needs: Literal["means", "cells", "intervals"]
    undefined: Literal["excluded", "worst"]
    undefined_when: str

    def __post_init__(self) -> None:
        if not _ID.fullmatch(self.id):
            raise ValueError(
                f"A metric id is 'panel.name@version'; {self.id!r} is not. Write it like 'perturbcast.mae@1'."
            )

    def loss(self, value: float) -> float:
        """``value`` turned so that smaller is better, whatever the direction."""
        if self.direction == "target":
            return abs(value - self.optimum)
        return value if self.direction == "lower" else -value
