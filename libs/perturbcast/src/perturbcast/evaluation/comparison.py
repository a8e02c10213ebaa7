"""Whether one model is better than another: paired on the same conditions, with intervals and adjusted p-values.

Seeds of a model are averaged per condition first, so that conditions stay the unit. The difference of two models on a
condition has none of the spread between conditions that both share. Its interval is the bootstrap interval of its mean
(``bootstrap.mean_interval``); its p-value is that of the sign-flip permutation test (``scipy.stats.permutation_test``,
exact where all flips can be tried), two-sided; p-values of the models of one call are adjusted together by Benjamini
and Hochberg (``scipy.stats.false_discovery_control``). ``docs/decisions/0007`` says why not by another package.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from perturbcast.errors import UsageError
from perturbcast.evaluation.bootstrap import LEVEL, mean_interval
from perturbcast.evaluation.directory import Stored
from perturbcast.metrics import Metric
from perturbcast.metrics import metric as descriptor

if TYPE_CHECKING:  # imported when a table is made
    import pandas as pd

__all__ = ["by_model", "compare", "over_seeds"]

RESAMPLES = 9999
ADJUSTMENT = "Benjamini-Hochberg over the models of one metric"
CONDITION = ["context", "perturbation"]


def by_model(stored: Mapping[str, Stored]) -> dict[str, dict[str, Stored]]:
    """Model -> name of the evaluation -> evaluation; the seeds of a model stand together.

    Evaluations are seeds of one model where their provenance records the same model (its name in params.yaml) and
    different seeds; no part of a folder's name is read. The model then goes by its own name where an evaluation has
    it, else by the first one's. Every other evaluation stands alone under its name.
    """
    groups: dict[str, dict[str, Stored]] = {}
    for name, one in stored.items():
        groups.setdefault(one.model, {})[name] = one
    found: dict[str, dict[str, Stored]] = {}
    for model, group in groups.items():
        seeds = [one.model_seed for one in group.values()]
        if len(group) > 1 and None not in seeds and len(set(seeds)) == len(seeds):
            found[model if model in group else next(iter(group))] = group
        else:
            found |= {name: {name: one} for name, one in group.items()}
    return {name: found[name] for name in stored if name in found}


def over_seeds(seeds: Mapping[str, Stored], metric_id: str) -> pd.Series:
    """Mean over seeds of each condition's value, indexed by context and perturbation.

    Conditions that count for every seed; those that a metric lists and leaves out of its mean are not told apart here.

    Raises:
        UsageError: the metric was not scored.
        ValueError: two seeds were scored on other conditions.
    """
    import pandas as pd

    columns = []
    for one in seeds.values():
        if metric_id not in one.evaluation.metrics:
            raise UsageError(
                f"A comparison needs a metric that was scored; {one.directory} has no {metric_id!r}. It has: "
                f"{', '.join(sorted(one.evaluation.metrics))}."
            )
        table = one.evaluation.per_condition
        columns.append(table[table["metric_id"] == metric_id].set_index(CONDITION)["value"])
    first = columns[0]
    for column in columns[1:]:
        if set(column.index) != set(first.index):
            raise ValueError(
                f"Seeds of one model are scored on the same conditions; {', '.join(seeds)} differ in those of "
                f"{metric_id}. Evaluate them again on one split."
            )
    mean: pd.Series = pd.concat(columns, axis=1).mean(axis=1).sort_index()
    return mean


def compare(stored: Mapping[str, Stored], *, metric_id: str, baseline: str, seed: int = 0) -> dict[str, Any]:
    """Every model beside one baseline, as a JSON value.

    Args:
        stored: name -> evaluation, of one part and of the same data and folds; seeds of a model are combined.
        metric_id: what to compare by; where its optimum is a target, distances to it are compared.
        baseline: the model that the others are compared with.
        seed: of bootstrap and permutations.

    Returns:
        ``metric_id``, ``direction``, ``baseline``, ``part``, ``n`` (conditions that all models share), ``adjustment``
        and ``models``: name -> ``value``, ``interval``, ``seeds``, and beside the baseline ``difference`` (model minus
        baseline, in the units of the metric), ``difference_interval``, ``p_value``, ``p_adjusted`` and ``verdict``
        (``better``, ``worse`` or ``undecided`` at 0.05 after adjustment).

    Raises:
        UsageError: fewer than two models, an unknown baseline, or a metric that was not scored.
        ValueError: the evaluations are not of the same part, data and folds, or share no condition.
    """
    models = by_model(stored)
    if len(models) < 2 or baseline not in models:
        raise UsageError(
            f"A comparison is of two models or more, one of them the baseline; there are {', '.join(models) or 'none'} "
            f"and the baseline is {baseline!r}."
        )
    import pandas as pd

    part = _same_terms(stored)
    metric = descriptor(metric_id)
    table = pd.DataFrame({name: over_seeds(seeds, metric_id) for name, seeds in models.items()})
    n_any = len(table)
    table = table.dropna()
    if table.empty:
        raise ValueError(
            f"Models are compared on conditions that all of them have a value for; of {metric_id} there is none. "
            "Compare by another metric."
        )
    losses = table if metric.direction != "target" else (table - _target(metric)).abs()
    differences = {name: (losses[name] - losses[baseline]).to_numpy() for name in models if name != baseline}
    p_values = {name: _p_value(values, seed=seed) for name, values in differences.items()}
    p_adjusted = _adjusted(p_values)
    rows: dict[str, Any] = {}
    for name, seeds in models.items():
        values = table[name].to_numpy()
        rows[name] = {
            "value": float(values.mean()),
            "interval": _interval(values, seed=seed),
            "seeds": [one.model_seed for one in seeds.values()],
        }
        if name != baseline:
            difference = float(differences[name].mean())
            rows[name] |= {
                "difference": difference,
                "difference_interval": _interval(differences[name], seed=seed),
                "p_value": p_values[name],
                "p_adjusted": p_adjusted[name],
                "verdict": _verdict(difference, p_adjusted[name], higher=metric.direction == "higher"),
            }
    return {
        "format": "perturbcast.comparison/1",
        "metric_id": metric_id,
        "direction": metric.direction,
        "baseline": baseline,
        "part": part,
        "n": len(table),
        "n_excluded": n_any - len(table),
        "interval_level": LEVEL,
        "adjustment": ADJUSTMENT,
        "seed": seed,
        "models": rows,
    }


def _target(metric: Metric) -> float:
    if callable(metric.optimum):
        raise UsageError(
            f"Models are compared by a metric with one optimum; that of {metric.id!r} differs between conditions. "
            "Compare by another metric."
        )
    return metric.optimum


def _same_terms(stored: Mapping[str, Stored]) -> str:
    """The part that all evaluations are of."""

    def terms(one: Stored) -> tuple[str, Any, list[str]]:
        record = one.provenance
        return one.part, record.get("dataset_hash"), [fold["split_sha256"] for fold in record.get("folds", [])]

    first = next(iter(stored.values()))
    for one in stored.values():
        if terms(one) != terms(first):
            raise ValueError(
                f"Models are compared on the same part, data and folds; {one.directory} ({one.part}) and "
                f"{first.directory} ({first.part}) differ. Evaluate both on one split."
            )
    return first.part


def _interval(values: np.ndarray, *, seed: int) -> list[float | None]:
    found = mean_interval(values, seed=seed)
    return [None, None] if found is None else list(found)


def _p_value(differences: np.ndarray, *, seed: int) -> float | None:
    """Two-sided p-value of no difference; None where there are too few conditions to test."""
    if len(differences) < 2:
        return None
    if not differences.any():
        return 1.0
    from scipy.stats import permutation_test  # half a second to import, and only comparisons need it

    found = permutation_test(
        (differences,),
        lambda x, axis: np.mean(x, axis=axis),
        permutation_type="samples",
        n_resamples=RESAMPLES,
        vectorized=True,
        rng=np.random.default_rng(seed),
    )
    return float(found.pvalue)


def _adjusted(p_values: Mapping[str, float | None]) -> dict[str, float | None]:
    from scipy.stats import false_discovery_control

    known = {name: p for name, p in p_values.items() if p is not None}
    adjusted: dict[str, float | None] = dict.fromkeys(p_values)
    if known:
        adjusted |= dict(zip(known, map(float, false_discovery_control(list(known.values()))), strict=True))
    return adjusted


def _verdict(difference: float, p: float | None, *, higher: bool) -> str:
    if p is None or p > 1 - LEVEL or difference == 0:
        return "undecided"
    return "better" if (difference > 0) == higher else "worse"
