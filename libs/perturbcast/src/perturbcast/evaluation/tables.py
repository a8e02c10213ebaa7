"""Scores of many evaluations as one table, and nested for tools that show changes between versions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from perturbcast.evaluation.bounds import CEILINGS, FLOORS
from perturbcast.evaluation.directory import Stored

__all__ = ["scores_by_model", "scores_table"]


def scores_by_model(evaluations: Mapping[str, Mapping[str, Stored]]) -> dict[str, Any]:
    """Split -> model -> metric id -> value; metrics without a value are left out."""
    return {
        split: {
            model: {
                metric_id: entry["value"]
                for metric_id, entry in stored.evaluation.metrics.items()
                if entry["value"] is not None
            }
            for model, stored in models.items()
        }
        for split, models in evaluations.items()
    }


def scores_table(evaluations: Mapping[str, Mapping[str, Stored]]) -> pd.DataFrame:
    """One row per split, model and metric: value, interval (low, high), floors, chance, ceilings, share, optimum, n.

    Cells without a number are empty, as are ceilings of evaluations that were written before there were any.
    """
    return pd.DataFrame(
        [
            {
                "split": split,
                "model": model,
                "metric_id": metric_id,
                "value": entry["value"],
                "low": entry["interval"][0],
                "high": entry["interval"][1],
                **{f"floor_{name}": entry["floor"][name] for name in FLOORS},
                "chance": entry["chance"],
                **{f"ceiling_{name}": entry.get("ceiling", {}).get(name) for name in CEILINGS},
                "share_of_range": entry.get("share_of_range"),
                "optimum": entry["optimum"],
                "n": entry["n"],
                "n_excluded": entry["n_excluded"],
            }
            for split, models in evaluations.items()
            for model, stored in models.items()
            for metric_id, entry in sorted(stored.evaluation.metrics.items())
        ]
    )
