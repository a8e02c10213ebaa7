"""From values per condition to one row per metric: mean, interval, what stands beside it, and what was left out.

A condition that several folds score (each by another fit) counts once, with the mean of its values:
conditions are the unit of the bootstrap, and repeated ones would make the interval too narrow.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from perturbcast.evaluation.bootstrap import LEVEL, mean_interval
from perturbcast.evaluation.bounds import CEILINGS, DEGENERATE, FLOORS, share_of_range
from perturbcast.evaluation.scoring import Scored, ScoredMetric
from perturbcast.metrics import Metric

if TYPE_CHECKING:  # imported when a table is asked for: it takes as long as scoring a small pair of files
    import pandas as pd

__all__ = ["COLUMNS", "Evaluation", "summarise"]

COLUMNS = ("context", "perturbation", "metric_id", "value")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Everything that is written about one prediction.

    Attributes:
        metrics: metric id -> the entry of metrics.json.
        values: (context, perturbation, metric id, value), sorted; undefined conditions are left out.
    """

    metrics: Mapping[str, Mapping[str, Any]]
    values: tuple[tuple[str, str, str, float], ...]

    @functools.cached_property
    def per_condition(self) -> pd.DataFrame:
        """``values`` as a table with the columns context, perturbation, metric_id, value."""
        import pandas as pd

        return pd.DataFrame(list(self.values), columns=list(COLUMNS))


def summarise(folds: Sequence[Scored], *, seed: int = 0) -> Evaluation:
    """Pool the conditions of all folds.

    Args:
        folds: scores of the same panel, one per fold.
        seed: of the bootstrap.
    """
    labels = [label for fold in folds for label in fold.labels]
    unique = sorted(set(labels))
    place = {label: i for i, label in enumerate(unique)}
    position = np.array([place[label] for label in labels], dtype=np.int64)
    entries: dict[str, dict[str, Any]] = {}
    rows: list[tuple[str, str, str, float]] = []
    for i, first in enumerate(folds[0].metrics):
        of_folds = [fold.metrics[i] for fold in folds]
        values = _per_condition(position, [m.per_condition for m in of_folds], len(unique))
        listed = ~np.isnan(values)
        defined = listed & _counted(position, [m.counted for m in of_folds], len(unique))
        columns = {"chance": [m.chance for m in of_folds], "optimum": [m.optimum for m in of_folds]}
        columns |= {name: [m.floors.get(name) for m in of_folds] for name in FLOORS}
        means = {
            name: _mean(_per_condition(position, column, len(unique))[defined]) for name, column in columns.items()
        }
        metric = first.metric
        ceilings = {
            name: _of_most(_per_condition(position, [m.ceilings.get(name) for m in of_folds], len(unique))[defined])
            for name in CEILINGS
        }
        degenerate = {
            name: _of_most(_per_condition(position, [m.degenerate.get(name) for m in of_folds], len(unique))[defined])
            for name in DEGENERATE
        }
        # one value over all conditions of a context has no spread between conditions
        interval = mean_interval(values[defined], seed=seed) if metric.over == "condition" else None
        n = int(defined.sum())
        value, optimum = _mean(values[defined]), means["optimum"] if callable(metric.optimum) else metric.optimum
        share, why = share_of_range(
            metric,
            value,
            trivial=[*(means[name] for name in FLOORS), means["chance"]],
            ceilings=list(ceilings.values()),
            optimum=optimum,
        )
        entries[metric.id] = {
            "value": value,
            "interval": [None, None] if interval is None else list(interval),
            "interval_level": LEVEL,
            "floor": {name: means[name] for name in FLOORS},
            "chance": means["chance"],
            "ceiling": ceilings,
            "share_of_range": share,
            "degenerate": degenerate,
            "optimum": optimum,
            "direction": metric.direction,
            "n": n,
            "n_excluded": len(unique) - n,
            "title": metric.title,
            "notes": _notes(metric, n, len(unique) - n, listed=int((listed & ~defined).sum()))
            + _floor_notes(folds[0].notes, needs=metric.needs, scored=n > 0)
            + (
                [*first.notes, *_undefined(of_folds[0], ceilings | degenerate), *([] if why is None else [why])]
                if n
                else []
            ),
        }
        rows += [(*unique[k], metric.id, float(values[k])) for k in np.flatnonzero(listed)]
    return Evaluation(metrics=entries, values=tuple(sorted(rows)))


def _per_condition(position: np.ndarray, of_folds: Sequence[np.ndarray | None], n: int) -> np.ndarray:
    """Mean over folds of each condition's values [condition]; NaN where no fold has one."""
    parts = [part for part in of_folds if part is not None]
    if len(parts) < len(of_folds):
        return np.full(n, np.nan)
    values = np.concatenate(parts)
    defined = ~np.isnan(values)
    total = np.bincount(position[defined], weights=values[defined], minlength=n)
    count = np.bincount(position[defined], minlength=n)
    return np.divide(total, count, out=np.full(n, np.nan), where=count > 0)


def _counted(position: np.ndarray, of_folds: Sequence[np.ndarray | None], n: int) -> np.ndarray:
    """Conditions that take part in the mean [condition] bool: those that count in any fold."""
    parts = [part.astype(np.float64) for part in of_folds if part is not None]
    return _per_condition(position, parts, n) > 0 if parts else np.ones(n, dtype=bool)


def _mean(values: np.ndarray) -> float | None:
    """The mean, or None where there is nothing, or not everything, to take it of."""
    return float(values.mean()) if len(values) and np.isfinite(values).all() else None


def _of_most(values: np.ndarray) -> float | None:
    """The mean over the conditions that have a value, or None where fewer than half have one.

    A ceiling or degenerate predictor has a truth or an answer of its own, and is undefined elsewhere than the model.
    """
    defined = np.isfinite(values)
    return float(values[defined].mean()) if len(values) and 2 * defined.sum() >= len(values) else None


def _undefined(scored: ScoredMetric, beside: Mapping[str, float | None]) -> list[str]:
    """A note on what was scored and has no value all the same."""
    empty = [name for name in (*scored.ceilings, *scored.degenerate) if beside[name] is None]
    return [f"no value of {', '.join(sorted(empty))}: undefined for more than half of the conditions"] if empty else []


def _notes(metric: Metric, n: int, n_excluded: int, *, listed: int) -> list[str]:
    notes = []
    if n_excluded:
        notes.append(f"{n_excluded} of {n + n_excluded} conditions excluded: {metric.undefined_when}")
    if listed:
        notes.append(f"{listed} of the excluded are listed per condition with the number that the reference prints")
    if metric.over == "context":
        notes.append("no interval: one value over all conditions of a context, repeated for each")
    elif n == 1:
        notes.append("no interval: one condition says nothing of the spread between conditions")
    return notes


def _floor_notes(absent: Mapping[str, str], *, needs: str, scored: bool) -> list[str]:
    if not scored:
        return []
    if needs == "intervals":
        return ["no floors, ceilings or degenerate rows: they are point predictions without intervals"]
    return [f"no floor {name}: {why}" for name, why in sorted(absent.items())]
