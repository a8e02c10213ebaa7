"""The scores of a split taken apart: by context, by perturbation, by stratum, and the conditions that went worst."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import pandas as pd

from perturbcast.evaluation.bootstrap import mean_interval
from perturbcast.metrics import metric as descriptor
from perturbcast.schema import Condition

__all__ = ["means_by", "strata", "worst_conditions"]

WORST = 10


def means_by(
    label: str, tables: Mapping[str, pd.DataFrame], metric_ids: Collection[str] | None = None
) -> dict[str, dict[str, dict[str, float]]]:
    """Metric id -> label -> model -> mean over the label's conditions.

    Args:
        label: ``context`` or ``perturbation``.
        tables: model -> per_condition of its evaluation.
        metric_ids: which metrics; None for all.
    """
    pooled = pd.concat([table.assign(model=model) for model, table in tables.items()])
    if metric_ids is not None:
        pooled = pooled.loc[pooled["metric_id"].isin(list(metric_ids))]
    means = pooled.groupby(["metric_id", label, "model"], as_index=False, sort=True)["value"].mean()
    nested: dict[str, dict[str, dict[str, float]]] = {}
    for metric_id, name, model, value in means.itertuples(index=False, name=None):
        nested.setdefault(metric_id, {}).setdefault(name, {})[model] = float(value)
    return nested


def strata(
    tables: Mapping[str, pd.DataFrame], of_condition: Mapping[str, str], *, seed: int
) -> dict[str, dict[str, dict[str, Any]]]:
    """Stratum -> metric id -> model -> value, interval and n; empty where the split names no strata.

    Args:
        tables: model -> per_condition of its evaluation.
        of_condition: condition -> stratum.
        seed: of the bootstrap.
    """
    nested: dict[str, dict[str, dict[str, Any]]] = {}
    if not of_condition:
        return nested
    for model, table in tables.items():
        conditions = [str(Condition(p, c)) for p, c in zip(table["perturbation"], table["context"], strict=True)]
        of_row = np.array([of_condition.get(condition, "other") for condition in conditions], dtype=object)
        for stratum, metric_id in sorted(set(zip(of_row, table["metric_id"], strict=True))):
            values = table.loc[(of_row == stratum) & (table["metric_id"] == metric_id), "value"].to_numpy()
            interval = mean_interval(values, seed=seed)
            nested.setdefault(stratum, {}).setdefault(metric_id, {})[model] = {
                "value": float(values.mean()),
                "interval": [None, None] if interval is None else list(interval),
                "n": len(values),
            }
    return nested


def worst_conditions(tables: Mapping[str, pd.DataFrame], *, champion: str, metric_id: str) -> list[dict[str, Any]]:
    """The champion's worst conditions by the deciding metric, worst first, with every model's value there."""
    loss = descriptor(metric_id).loss
    wide = pd.DataFrame(
        {
            model: table.loc[table["metric_id"] == metric_id].set_index(["context", "perturbation"])["value"]
            for model, table in tables.items()
        }
    )
    wide = wide.loc[wide[champion].notna()]
    losses = {place: loss(float(value)) for place, value in zip(wide.index, wide[champion], strict=True)}
    order = sorted(losses, key=lambda place: (-losses[place], place))
    return [
        {
            "context": context,
            "perturbation": perturbation,
            "values": {
                str(model): None if np.isnan(value) else float(value)
                for model, value in wide.loc[(context, perturbation)].items()
            },
        }
        for context, perturbation in order[:WORST]
    ]
