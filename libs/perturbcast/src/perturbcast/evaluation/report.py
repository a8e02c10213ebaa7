"""Gathers the test evaluations of every split into one report: a JSON value, from which the page is drawn.

Nothing is chosen here. The champion comes from the leaderboard, which has seen validation scores only; what
turned out best on test is said beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from perturbcast.errors import UsageError
from perturbcast.evaluation.bootstrap import mean_interval
from perturbcast.evaluation.directory import Stored
from perturbcast.evaluation.scoring import FLOORS
from perturbcast.metrics import metric as descriptor
from perturbcast.metrics import panel
from perturbcast.schema import Condition, Split

__all__ = ["floors", "gather"]

PARTS = ("train", "validation", "calibration", "test")


def gather(
    evaluations: Mapping[str, Mapping[str, Stored]],
    *,
    board: Mapping[str, Any],
    folds: Mapping[str, Sequence[Split]],
) -> dict[str, Any]:
    """The report as a JSON value.

    Args:
        evaluations: split -> model -> test evaluation.
        board: the leaderboard.
        folds: split -> its folds.

    Raises:
        UsageError: a split has no place in the leaderboard.
        ValueError: an evaluation is not of the test part, was made for other folds, or its split's champion was
            not evaluated.
    """
    unknown = sorted(set(evaluations) - set(board["splits"]))
    if unknown:
        raise UsageError(
            f"A report needs the choice on every split; the leaderboard has none for {', '.join(unknown)}. "
            "Run 'perturbcast leaderboard' again."
        )
    return {
        "format": "perturbcast.report/1",
        "metric": board["metric"],
        "rule": board["rule"],
        "direction": board["direction"],
        "splits": {
            name: _split(name, models, choice=board["splits"][name], folds=folds[name], metric_id=board["metric"])
            for name, models in evaluations.items()
        },
    }


def _split(
    name: str, models: Mapping[str, Stored], *, choice: Mapping[str, Any], folds: Sequence[Split], metric_id: str
) -> dict[str, Any]:
    hashes = [fold.hash for fold in folds]
    for stored in models.values():
        if stored.part != "test":
            raise ValueError(
                f"A report shows test scores; {stored.directory} holds scores of {stored.part!r}. "
                "Give the folder of test evaluations."
            )
        if [fold["split_sha256"] for fold in stored.provenance["folds"]] != hashes:
            raise ValueError(
                f"A report shows scores of its own splits; {stored.directory} was scored on other folds than those of "
                f"{name!r}. Run 'perturbcast evaluate' on this split again."
            )
    champion = choice["selected"]
    if champion not in models:
        raise ValueError(
            f"The champion of a split is evaluated on test; {champion!r} of {name!r} is not (there are: "
            f"{', '.join(models)}). Run 'perturbcast evaluate' for it."
        )
    entries = {model: dict(stored.evaluation.metrics) for model, stored in models.items()}
    tables = {model: stored.evaluation.per_condition for model, stored in models.items()}
    candidates = {model: entry for model, entry in entries.items() if model not in choice["oracles"]}
    best = _best(candidates, metric_id=metric_id)
    record = models[champion].provenance
    return {
        "dataset": {
            key: record[key]
            for key in ("dataset", "dataset_hash", "n_cells", "n_genes", "n_conditions", "contexts", "scale")
        },
        "rule": folds[0].rule,
        "parameters": dict(folds[0].parameters),
        "ood_axes": list(folds[0].ood_axes),
        "warnings": sorted({warning for fold in folds for warning in fold.warnings}),
        "folds": [
            {
                "fold": fold.fold,
                "held_out": fold.held_out,
                "conditions": {part: len(fold.conditions[part]) for part in PARTS},
                "cells": {part: len(fold.parts[part]) for part in fold.PARTS},
                "seed": fold.seed,
                "sha256": fold.hash,
            }
            for fold in folds
        ],
        "champion": champion,
        "validation": {model: candidate["value"] for model, candidate in choice["candidates"].items()},
        "tied_on_validation": list(choice["tied"]),
        "best_on_test": best,
        "oracles": list(choice["oracles"]),
        "metrics": [measure.metric.id for measure in panel(record["panel"])],
        "models": entries,
        "per_context": _per_context(tables),
        "strata": _strata(tables, record["strata"], seed=record["seed"]),
        "provenance": {
            model: {
                "command": stored.provenance["command"],
                "seed": stored.provenance["seed"],
                "bootstrap_resamples": stored.provenance["bootstrap_resamples"],
                "versions": stored.provenance["versions"],
                "models": [fold["model_fingerprint"] for fold in stored.provenance["folds"]],
                "sha256": stored.provenance["sha256"],
            }
            for model, stored in models.items()
        },
    }


def floors(split: Mapping[str, Any], metric_id: str) -> dict[str, float | None]:
    """Floors and chance of a metric on a split; the same for every model that has a value."""
    rows = [models[metric_id] for models in split["models"].values() if models[metric_id]["value"] is not None]
    if not rows:
        return dict.fromkeys((*FLOORS, "chance"))
    return {**{name: rows[0]["floor"][name] for name in FLOORS}, "chance": rows[0]["chance"]}


def _best(entries: Mapping[str, Mapping[str, Any]], *, metric_id: str) -> list[str]:
    """Models with the best test value; more than one where they tie, none where the metric is undefined."""
    loss = descriptor(metric_id).loss
    losses = {
        model: loss(row[metric_id]["value"]) for model, row in entries.items() if row[metric_id]["value"] is not None
    }
    return [model for model, value in losses.items() if value == min(losses.values())]


def _per_context(tables: Mapping[str, pd.DataFrame]) -> dict[str, dict[str, dict[str, float]]]:
    """Metric id -> context -> model -> mean over the context's conditions."""
    pooled = pd.concat([table.assign(model=model) for model, table in tables.items()])
    means = pooled.groupby(["metric_id", "context", "model"], as_index=False, sort=True)["value"].mean()
    nested: dict[str, dict[str, dict[str, float]]] = {}
    for metric_id, context, model, value in means.itertuples(index=False, name=None):
        nested.setdefault(metric_id, {}).setdefault(context, {})[model] = float(value)
    return nested


def _strata(
    tables: Mapping[str, pd.DataFrame], strata: Mapping[str, str], *, seed: int
) -> dict[str, dict[str, dict[str, Any]]]:
    """Stratum -> metric id -> model -> value, interval and n; empty where the split names no strata."""
    nested: dict[str, dict[str, dict[str, Any]]] = {}
    if not strata:
        return nested
    for model, table in tables.items():
        conditions = [str(Condition(p, c)) for p, c in zip(table["perturbation"], table["context"], strict=True)]
        of_row = np.array([strata.get(condition, "other") for condition in conditions], dtype=object)
        for stratum, metric_id in sorted(set(zip(of_row, table["metric_id"], strict=True))):
            values = table.loc[(of_row == stratum) & (table["metric_id"] == metric_id), "value"].to_numpy()
            interval = mean_interval(values, seed=seed)
            nested.setdefault(stratum, {}).setdefault(metric_id, {})[model] = {
                "value": float(values.mean()),
                "interval": [None, None] if interval is None else list(interval),
                "n": len(values),
            }
    return nested
