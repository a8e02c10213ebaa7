"""Gathers the test evaluations of every split into one report: a JSON value, from which the page is drawn.

Nothing is chosen here. The champion comes from the leaderboard, which has seen validation scores only; what
turned out best on test is said beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from perturbcast.errors import UsageError
from perturbcast.evaluation.breakdowns import means_by, strata, worst_conditions
from perturbcast.evaluation.directory import Stored
from perturbcast.evaluation.leaks import leak_checks
from perturbcast.evaluation.limits import best_models, floors, primary
from perturbcast.evaluation.verdicts import answers, paired
from perturbcast.metrics import panel
from perturbcast.schema import Split, canonical_hash

__all__ = ["floors", "gather"]

PARTS = ("train", "validation", "calibration", "test")


def gather(
    evaluations: Mapping[str, Mapping[str, Stored]],
    *,
    board: Mapping[str, Any],
    folds: Mapping[str, Sequence[Split]],
    calibration: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, Any]:
    """The report as a JSON value, of the shape that ``schemas/report.schema.json`` publishes.

    Args:
        evaluations: split -> model -> test evaluation.
        board: the leaderboard.
        folds: split -> its folds.
        calibration: split -> per fold the sha256 of the cells that the champion's intervals were fitted on, for
            the splits whose models are at hand.

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
        "overall_rule": board.get("overall_rule"),
        "overall": board.get("overall", []),
        "splits": {
            name: _split(
                name,
                models,
                choice=board["splits"][name],
                folds=folds[name],
                metric_id=board["metric"],
                calibration=(calibration or {}).get(name),
            )
            for name, models in evaluations.items()
        },
    }


def _split(
    name: str,
    models: Mapping[str, Stored],
    *,
    choice: Mapping[str, Any],
    folds: Sequence[Split],
    metric_id: str,
    calibration: Sequence[str] | None,
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
    curves = {model: stored.curves or {} for model, stored in models.items()}
    candidates = {model: entry for model, entry in entries.items() if model not in choice["oracles"]}
    beside = {model: stored for model, stored in models.items() if model in candidates}
    record = models[champion].provenance
    compared = paired(beside, metric_id=metric_id, seed=record["seed"])
    split = {
        "dataset": {
            key: record[key]
            for key in ("dataset", "dataset_hash", "n_cells", "n_genes", "n_conditions", "contexts", "scale")
        },
        "rule": folds[0].rule,
        "parameters": dict(folds[0].parameters),
        "config_sha256": canonical_hash({"rule": folds[0].rule, "parameters": dict(folds[0].parameters)}),
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
        "best_on_test": best_models(candidates, metric_id),
        "oracles": list(choice["oracles"]),
        "metrics": [measure.metric.id for measure in panel(record["panel"])],
        "models": entries,
        "per_context": means_by("context", tables),
        "strata": strata(tables, record["strata"], seed=record["seed"]),
        "answers": answers(beside, compared, champion=champion, metric_id=metric_id),
        "paired": compared,
        "worst_conditions": worst_conditions(tables, champion=champion, metric_id=metric_id),
        "curves": {
            model: {"intervals": found.get("intervals", {}), "risk_coverage": found.get("risk_coverage")}
            for model, found in curves.items()
        },
        "examples": curves[champion].get("examples", []),
        "provenance": {
            model: {
                "command": stored.provenance["command"],
                "seed": stored.provenance["seed"],
                "model_seed": stored.model_seed,
                "panel": stored.provenance["panel"],
                "bootstrap_resamples": stored.provenance["bootstrap_resamples"],
                "versions": stored.provenance["versions"],
                "models": [fold["model_fingerprint"] for fold in stored.provenance["folds"]],
                "sha256": stored.provenance["sha256"],
            }
            for model, stored in models.items()
        },
    }
    split["primary"] = primary(split, metric_id)
    split["per_perturbation"] = means_by("perturbation", tables, split["primary"])
    split["leaks"] = leak_checks(folds, split=split, calibration=calibration)
    return split
