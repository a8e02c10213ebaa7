"""Is a model better than a trivial one? The paired difference over the same conditions, and what follows.

The difference is of losses (smaller is better whatever the metric's direction), condition by condition, so that
easy and hard conditions cancel. Where the trivial model was not evaluated beside it, there is no answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from perturbcast.evaluation.bootstrap import mean_interval
from perturbcast.evaluation.bounds import FLOORS
from perturbcast.metrics import metric as descriptor

__all__ = ["answers"]

WORDS = {"control": "no change", "train_mean": "the train mean"}


def answers(
    tables: Mapping[str, pd.DataFrame], *, champion: str, entry: Mapping[str, Any], metric_id: str, seed: int
) -> dict[str, Any]:
    """What a reader asks first about the champion of a split.

    Args:
        tables: model -> context, perturbation, metric_id, value.
        champion: whom it is about.
        entry: the champion's entry of metrics.json for the deciding metric.
        metric_id: decides.
        seed: of the bootstrap.
    """
    compared = {
        f"versus_{floor}": _versus(tables, champion=champion, baseline=floor, metric_id=metric_id, seed=seed)
        for floor in FLOORS
    }
    return {**compared, "share_of_range": entry.get("share_of_range")}


def _versus(
    tables: Mapping[str, pd.DataFrame], *, champion: str, baseline: str, metric_id: str, seed: int
) -> dict[str, Any]:
    nothing: dict[str, Any] = {"verdict": "unknown", "difference": None, "interval": [None, None], "n": 0, "wins": 0}
    if champion == baseline:
        return nothing | {"verdict": "itself", "said": f"The champion is {WORDS[baseline]} itself."}
    if baseline not in tables:
        return nothing | {"said": f"The model {baseline!r} was not evaluated on this split; nothing to pair with."}
    loss = descriptor(metric_id).loss
    first, second = (_values(tables[name], metric_id) for name in (champion, baseline))
    pairs = pd.concat([first, second], axis=1, join="inner").sort_index().to_numpy(dtype=np.float64)
    if not len(pairs):
        return nothing | {"said": "No condition has a value for both."}
    differences = np.array([loss(a) - loss(b) for a, b in pairs])
    interval = mean_interval(differences, seed=seed)
    record = {
        "difference": float(differences.mean()),
        "interval": [None, None] if interval is None else list(interval),
        "n": len(differences),
        "wins": int((differences < 0).sum()),
    }
    return record | _judge(differences, interval, baseline=baseline)


def _judge(differences: np.ndarray, interval: tuple[float, float] | None, *, baseline: str) -> dict[str, str]:
    n, wins = len(differences), int((differences < 0).sum())
    counted = f"Better than {WORDS[baseline]} in {wins} of {n} conditions"
    if not differences.any():
        return {"verdict": "same", "said": f"The same as {WORDS[baseline]} in every condition."}
    if interval is None:
        return {"verdict": "unknown", "said": f"{counted}; one condition says nothing of the spread."}
    if interval[1] < 0:
        return {"verdict": "better", "said": f"{counted}; the interval of the paired difference excludes 0."}
    if interval[0] > 0:
        return {"verdict": "worse", "said": f"{counted}; the interval of the paired difference excludes 0."}
    return {"verdict": "no clear difference", "said": f"{counted}; the interval of the paired difference includes 0."}


def _values(table: pd.DataFrame, metric_id: str) -> pd.Series:
    rows = table.loc[table["metric_id"] == metric_id]
    return rows.set_index(["context", "perturbation"])["value"]
