"""What a metric says about itself, so that a report, a leaderboard and a reader treat its numbers rightly."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from types import ModuleType
from typing import Any, Literal

import numpy as np

from perturbcast.metrics.comparison import Comparison

__all__ = ["Direction", "Measure", "Metric", "Rule", "measures"]

Direction = Literal["lower", "higher", "target"]

Rule = Callable[[Comparison, Any], np.ndarray]  # (comparison, config) -> [condition]

_ID = re.compile(r"[a-z]+\.[A-Za-z0-9_]+@[0-9]+")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Metric:
    """Descriptor of one metric; a metric module declares one as ``METRIC``, or a family as ``METRICS``.

    A family is one formula at several parameters (the k of a top-k set): each member carries its ``config``.

    A metric module also declares ``Config`` and ``score(comparison, config) -> np.ndarray`` [condition],
    where NaN is the marker of 'undefined for this condition'. Evaluation counts those and leaves them out;
    a metric whose undefined cases count as worst returns the worst value itself.

    Attributes:
        id: ``panel.name@version``; the version rises whenever a value would change.
        title: a few words for tables.
        direction: which way is better; ``target`` means closer to the optimum.
        optimum: the value of a perfect prediction: a number, or a rule ``(comparison, config) -> [condition]``
            where it depends on the data.
        chance: the expected value of a prediction that knows nothing of the condition: a number, a rule
            ``(comparison, config) -> [condition]`` where it depends on the data, or None where a metric has
            none (the floors say it then).
        needs: what of a comparison is read; ``train`` is the mean perturbed train profile, ``intervals`` whatever
            the prediction says of its own error (intervals, variance, out-of-distribution score).
        undefined: what becomes of conditions without a defined value.
        undefined_when: when that happens, in words; part of the note beside the count.
        config: ``Config`` of a member of a family; None for the defaults.
        counts: rule ``(comparison, config) -> [condition]`` bool, where a reference prints a number although
            there is nothing to score: such values are listed as it prints them and left out of the mean.
        over: ``context`` where one value is computed over all conditions of a context and repeated for each.
        discrimination: whether the metric asks that a condition be told apart from the others of its context, so
            that who does not know it must score chance: ``exact`` where a constant prediction gets exactly chance on
            average over a context, ``lifted`` where a rule of the reference's lifts constants above it.
        divisible: of a metric of cells, whether the value of a condition needs no cells of other conditions, so
            that shards of conditions can be scored apart.
    """

    id: str
    title: str
    direction: Direction
    optimum: float | Rule
    chance: float | Rule | None
    needs: Literal["means", "cells", "intervals", "train"]
    undefined: Literal["excluded", "worst"]
    undefined_when: str
    config: Any = None
    counts: Rule | None = None
    over: Literal["condition", "context"] = "condition"
    discrimination: Literal["exact", "lifted"] | None = None
    divisible: bool = True

    def __post_init__(self) -> None:
        if not _ID.fullmatch(self.id):
            raise ValueError(
                f"A metric id is 'panel.name@version'; {self.id!r} is not. Write it like 'perturbcast.mae@1'."
            )

    def loss(self, value: float) -> float:
        """``value`` turned so that smaller is better, whatever the direction."""
        if self.direction == "target":
            if callable(self.optimum):
                raise ValueError(
                    f"Predictions are ranked by a metric with one optimum; that of {self.id} differs between "
                    "conditions. Choose another metric to rank by."
                )
            return abs(value - self.optimum)
        return value if self.direction == "lower" else -value


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measure:
    """A metric with what computes it.

    Attributes:
        metric: its descriptor.
        config: its parameters.
        module: where it lives; ``module.score(comparison, config)`` computes it.
    """

    metric: Metric
    config: Any
    module: ModuleType

    def score(self, comparison: Comparison) -> np.ndarray:
        """Values [condition]; NaN where undefined.

        Raises:
            ValueError: the metric gives an infinite value or the wrong number of them (a defect of that metric).
        """
        n = len(comparison.truth.conditions)
        values = np.asarray(self.module.score(comparison, self.config), dtype=np.float64)
        if values.shape != (n,) or np.isinf(values).any():
            raise ValueError(
                f"A metric gives one finite value per condition, or NaN where undefined; {self.metric.id} gave shape "
                f"{values.shape} with {int(np.isinf(values).sum())} infinite ones. Mend {self.module.__name__}."
            )
        return values

    def of_rule(self, rule: float | Rule, comparison: Comparison) -> np.ndarray:
        """A number or rule of the descriptor for each condition [condition]."""
        if callable(rule):
            return np.asarray(rule(comparison, self.config), dtype=np.float64)
        return np.full(len(comparison.truth.conditions), float(rule))


def measures(module: ModuleType) -> tuple[Measure, ...]:
    """The metrics that a module declares, in its order."""
    declared: tuple[Metric, ...] = module.METRICS if hasattr(module, "METRICS") else (module.METRIC,)
    return tuple(
        Measure(metric=metric, config=module.Config() if metric.config is None else metric.config, module=module)
        for metric in declared
    )
