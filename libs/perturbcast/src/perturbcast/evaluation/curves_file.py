"""The content of ``curves.json``: what intervals held, how risk grows, and the best and worst conditions gene by gene.

The folds of a split are pooled. A condition that several folds predict stands there once for each of them, since each
prediction made its own promise.

Axes: C conditions, G genes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from perturbcast.evaluation.curves import interval_curve, risk_coverage
from perturbcast.metrics import Comparison, Truth, panel

__all__ = ["EXAMPLES_BY", "FORMAT", "curves_of", "pooled"]

FORMAT = "perturbcast.curves/1"
EXAMPLES_BY = "celleval.pearson_delta@1"
GENES = 500  # of an example, at most: those with the largest measured delta
EXAMPLES = 2  # at each end
LEVEL = 0.9
DIGITS = 6


def pooled(folds: Sequence[Comparison]) -> Comparison:
    """The comparisons of all folds as one, means and what the prediction says of its error; no cells."""

    def rows(name: str) -> Any:
        parts = [getattr(fold, name) for fold in folds]
        return None if any(part is None for part in parts) else np.concatenate(parts)

    levels = [level for level in folds[0].half_widths if all(level in fold.half_widths for fold in folds)]
    return Comparison(
        truth=Truth(
            conditions=tuple(condition for fold in folds for condition in fold.truth.conditions),
            genes=folds[0].truth.genes,
            mean=np.concatenate([fold.truth.mean for fold in folds]),
            control=np.concatenate([fold.truth.control for fold in folds]),
            error=np.concatenate([fold.truth.error for fold in folds]),
        ),
        predicted=rows("predicted"),
        half_widths={level: np.concatenate([fold.half_widths[level] for fold in folds]) for level in levels},
        variance=rows("variance"),
        ood_score=rows("ood_score"),
        novel=rows("novel"),
    )


def curves_of(folds: Sequence[Comparison], *, strata: Mapping[str, str], axes: Sequence[str]) -> dict[str, Any]:
    """The JSON value of ``curves.json``.

    Args:
        folds: one comparison per fold, on the same genes.
        strata: ``str(condition)`` -> label that scores are reported apart by; empty where there are none.
        axes: what is new at test time (``ood_axes`` of the split); strata are named by the first of them.
    """
    comparison = pooled(folds)
    conditions = comparison.truth.conditions
    groups: dict[str, np.ndarray] = {"all": np.ones(len(conditions), dtype=bool)}
    contexts = np.array([condition.context for condition in conditions], dtype=object)
    groups |= {f"context: {name}": contexts == name for name in sorted(set(contexts))}
    if strata:
        axis = axes[0] if axes else "stratum"
        labels = np.array([strata.get(str(condition), "other") for condition in conditions], dtype=object)
        groups |= {f"{axis}: {name}": labels == name for name in sorted(set(labels))}
    intervals = {name: interval_curve(comparison, mask) for name, mask in groups.items()}
    return {
        "format": FORMAT,
        "intervals": {name: curve for name, curve in intervals.items() if curve},
        "risk_coverage": risk_coverage(comparison),
        "examples": _examples(comparison),
    }


def _examples(comparison: Comparison) -> list[dict[str, Any]]:
    """The conditions with the highest and the lowest Pearson correlation of deltas."""
    measure = next(measure for measure in panel("spine") if measure.metric.id == EXAMPLES_BY)
    scores = measure.score(comparison)
    ranked = [row for row in np.argsort(-scores, kind="stable") if not np.isnan(scores[row])]
    best = ranked[:EXAMPLES]
    places = [("best", row) for row in best] + [("worst", row) for row in ranked[::-1][:EXAMPLES] if row not in best]
    return [_example(comparison, int(row), place, float(scores[row])) for place, row in places]


def _example(comparison: Comparison, row: int, place: str, score: float) -> dict[str, Any]:
    truth = comparison.truth
    shown = np.sort(np.argsort(-np.abs(truth.delta[row]), kind="stable")[:GENES])
    half = next((half[row] for level, half in comparison.half_widths.items() if abs(level - LEVEL) < 1e-9), None)
    return {
        "context": truth.conditions[row].context,
        "perturbation": truth.conditions[row].perturbation,
        "place": place,
        "metric_id": EXAMPLES_BY,
        "score": score,
        "genes": [truth.genes[k] for k in shown],
        "measured": _short(truth.delta[row, shown]),
        "predicted": _short(comparison.delta[row, shown]),
        "half_width_90": None if half is None or not np.isfinite(half[shown]).all() else _short(half[shown]),
    }


def _short(values: np.ndarray) -> list[float]:
    return [float(f"{value:.{DIGITS}g}") for value in values]
