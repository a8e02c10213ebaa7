"""Chooses one model per split by its validation score, ranks models over splits, and keeps the rules.

Test scores cannot take part: an evaluation says which part it scored, and anything but ``validation`` is
refused. Evaluations pool the conditions of all folds; seeds of a model (evaluations whose provenance names the same
model) are averaged per condition, so that a model is judged by all its seeds and never by the best of them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from perturbcast.errors import UsageError
from perturbcast.evaluation.bootstrap import mean_interval
from perturbcast.evaluation.comparison import by_model, over_seeds
from perturbcast.evaluation.directory import Stored
from perturbcast.metrics import Metric
from perturbcast.metrics import metric as descriptor

__all__ = ["leaderboard"]

OVERALL_RULE = (
    "mean over splits of the rank on validation (equal scores share their mean rank), models of more splits first; "
    "beside it the mean share of range, over splits where there is one"
)


def leaderboard(
    evaluations: Mapping[str, Mapping[str, Stored]], *, metric_id: str, oracles: Collection[str] = ()
) -> dict[str, Any]:
    """The choice per split as a JSON value.

    An evaluation already pools the conditions of all folds, so its value is the mean over folds in which every
    condition counts once.

    Args:
        evaluations: split -> folder name -> validation evaluation; several seeds of a model are several of them.
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
    splits = {
        split: _of_split(split, stored, metric, rule=rule, oracles=oracles) for split, stored in evaluations.items()
    }
    return {
        "format": "perturbcast.leaderboard/2",
        "rule": rule,
        "metric": metric_id,
        "direction": metric.direction,
        "optimum": metric.optimum,
        "part": "validation",
        "overall_rule": OVERALL_RULE,
        "overall": _overall(splits),
        "splits": dict(sorted(splits.items())),
    }


def _of_split(
    split: str, stored: Mapping[str, Stored], metric: Metric, *, rule: str, oracles: Collection[str]
) -> dict[str, Any]:
    models = by_model(stored)
    head = {
        "metric": metric.id,
        "direction": metric.direction,
        "rule": rule,
        "oracles": sorted(set(models) & set(oracles)),
    }
    return head | _choose(split, {name: seeds for name, seeds in models.items() if name not in oracles}, metric)


def _overall(splits: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Models over all splits, best first."""
    ranks: dict[str, list[float]] = {}
    shares: dict[str, list[float]] = {}
    for choice in splits.values():
        for model, candidate in choice["candidates"].items():
            if candidate["mean_rank"] is not None:
                ranks.setdefault(model, []).append(candidate["mean_rank"])
            if candidate["share_of_range"] is not None:
                shares.setdefault(model, []).append(candidate["share_of_range"])
    rows = [
        {
            "model": model,
            "mean_rank": float(np.mean(of_splits)),
            "share_of_range": float(np.mean(shares[model])) if model in shares else None,
            "n_splits": len(of_splits),
            "n_shares": len(shares.get(model, [])),
        }
        for model, of_splits in ranks.items()
    ]
    return sorted(rows, key=lambda row: (-row["n_splits"], row["mean_rank"], row["model"]))


def _candidate(seeds: Mapping[str, Stored], metric: Metric) -> dict[str, Any]:
    """Scores of a model: those of its one evaluation, or over its seeds."""
    first = next(iter(seeds.values()))
    entries = [stored.evaluation.metrics[metric.id] for stored in seeds.values()]
    found = {key: entries[0][key] for key in ("value", "interval", "n", "n_excluded")}
    found["share_of_range"] = entries[0].get("share_of_range")
    found["metrics_sha256"] = first.provenance["sha256"]["metrics.json"]
    if len(seeds) > 1:
        values = [entry["value"] for entry in entries]
        shares = [share for entry in entries if (share := entry.get("share_of_range")) is not None]
        complete = None not in values
        interval = mean_interval(over_seeds(seeds, metric.id).to_numpy(), seed=0) if complete else None
        found["value"] = float(np.mean(values)) if complete else None
        found["interval"] = [None, None] if interval is None else list(interval)
        found["share_of_range"] = float(np.mean(shares)) if len(shares) == len(entries) else None
    found["seeds"] = {
        name: {
            "model_seed": stored.model_seed,
            "value": stored.evaluation.metrics[metric.id]["value"],
            "metrics_sha256": stored.provenance["sha256"]["metrics.json"],
        }
        for name, stored in seeds.items()
    }
    return found


def _choose(split: str, models: Mapping[str, Mapping[str, Stored]], metric: Metric) -> dict[str, Any]:
    metric_id = metric.id
    basis: dict[str, Any] = {}
    for model, stored in sorted((name, one) for seeds in models.values() for name, one in seeds.items()):
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
        table = stored.evaluation.per_condition
        scored = table.loc[table["metric_id"] == metric_id, ["context", "perturbation"]]
        if entry["value"] is not None:
            basis[model] = (
                stored.provenance["dataset_hash"],
                [fold["split_sha256"] for fold in stored.provenance["folds"]],
                sorted(scored.itertuples(index=False, name=None)),
            )
    if not basis:
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
    candidates = {model: _candidate(seeds, metric) for model, seeds in sorted(models.items())}
    values = {model: candidate["value"] for model, candidate in candidates.items() if candidate["value"] is not None}
    ranked = sorted(values, key=lambda model: (metric.loss(values[model]), model))
    losses = np.array([metric.loss(values[model]) for model in ranked])
    for model, candidate in candidates.items():
        known = model in values
        candidate["rank"] = ranked.index(model) + 1 if known else None
        # models with equal scores share their mean rank, so that no name is ahead of another over splits
        candidate["mean_rank"] = (
            float(np.mean(np.flatnonzero(losses == metric.loss(values[model])) + 1)) if known else None
        )
    best = metric.loss(values[ranked[0]])
    tied = [model for model in ranked if metric.loss(values[model]) == best]
    return {
        "selected": ranked[0],
        "value": values[ranked[0]],
        "tied": tied if len(tied) > 1 else [],
        "candidates": candidates,
    }
