"""Chooses one model per split by its validation score, and keeps the rule and everything it looked at.

Test scores cannot take part: an evaluation says which part it scored, and anything but ``validation`` is
refused.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from perturbcast.errors import UsageError
from perturbcast.evaluation.directory import Stored
from perturbcast.metrics import Metric
from perturbcast.metrics import metric as descriptor

__all__ = ["leaderboard"]


def leaderboard(
    evaluations: Mapping[str, Mapping[str, Stored]], *, metric_id: str, oracles: Collection[str] = ()
) -> dict[str, Any]:
    """The choice per split as a JSON value.

    An evaluation already pools the conditions of all folds, so its value is the mean over folds in which every
    condition counts once.

    Args:
        evaluations: split -> model -> validation evaluation.
        metric_id: decides; its direction is the metric's own.
        oracles: models that know the truth: shown beside the candidates and never chosen.

    Raises:
        UsageError: the metric is in no panel, has an optimum that depends on the data, or was not scored.
        ValueError: an evaluation is not of the validation part, or the candidates of a split were not scored on
            the same data, folds and conditions, or none has a value.
    """
    metric = descriptor(metric_id)
    if callable(metric.optimum):
        raise UsageError(
            f"A choice is made by a metric with one optimum; that of {metric_id!r} depends on the data. "
            "Choose by another metric, for example perturbench.rmse_average@1."
        )
    direction = {"lower": "lowest", "higher": "highest", "target": f"closest to {metric.optimum:g}"}[metric.direction]
    rule = f"{direction} {metric_id} over the validation conditions of all folds; ties go to the first name"
    return {
        "format": "perturbcast.leaderboard/1",
        "rule": rule,
        "metric": metric_id,
        "direction": metric.direction,
        "optimum": metric.optimum,
        "part": "validation",
        "splits": {
            split: {
                "metric": metric_id,
                "direction": metric.direction,
                "rule": rule,
                "oracles": sorted(set(models) & set(oracles)),
            }
            | _choose(split, {name: stored for name, stored in models.items() if name not in oracles}, metric)
            for split, models in sorted(evaluations.items())
        },
    }


def _choose(split: str, models: Mapping[str, Stored], metric: Metric) -> dict[str, Any]:
    metric_id = metric.id
    candidates: dict[str, Any] = {}
    basis: dict[str, Any] = {}
    for model, stored in sorted(models.items()):
        if stored.part != "validation":
            raise ValueError(
                f"A choice is made by validation scores; {stored.directory} holds scores of {stored.part!r}. "
                "Give the folder of validation evaluations."
            )
        if metric_id not in stored.evaluation.metrics:
            raise UsageError(
                f"The choice needs a metric that was scored; {stored.directory} has no {metric_id!r}. "
                f"It has: {', '.join(sorted(stored.evaluation.metrics))}."
            )
        entry = stored.evaluation.metrics[metric_id]
        candidates[model] = {key: entry[key] for key in ("value", "interval", "n", "n_excluded")} | {
            "metrics_sha256": stored.provenance["sha256"]["metrics.json"]
        }
        table = stored.evaluation.per_condition
        scored = table.loc[table["metric_id"] == metric_id, ["context", "perturbation"]]
        if entry["value"] is not None:
            basis[model] = (
                stored.provenance["dataset_hash"],
                [fold["split_sha256"] for fold in stored.provenance["folds"]],
                sorted(scored.itertuples(index=False, name=None)),
            )
    values = {model: candidate["value"] for model, candidate in candidates.items() if model in basis}
    if not values:
        raise ValueError(
            f"A choice needs a value; {metric_id!r} is undefined for every condition of {split!r} "
            f"({'; '.join(entry['notes'])}). Choose by another metric."
        )
    first = next(iter(basis))
    others = [model for model, of_model in basis.items() if of_model != basis[first]]
    if others:
        raise ValueError(
            f"Candidates are compared on the same data, folds and conditions; in {split!r} those of "
            f"{', '.join(others)} differ from those of {first}. Run split, train, predict and evaluate again for all."
        )
    ranked = sorted(values, key=lambda model: (metric.loss(values[model]), model))
    for model, candidate in candidates.items():
        candidate["rank"] = ranked.index(model) + 1 if model in values else None
    best = metric.loss(values[ranked[0]])
    tied = [model for model in ranked if metric.loss(values[model]) == best]
    return {
        "selected": ranked[0],
        "value": values[ranked[0]],
        "tied": tied if len(tied) > 1 else [],
        "candidates": candidates,
    }
