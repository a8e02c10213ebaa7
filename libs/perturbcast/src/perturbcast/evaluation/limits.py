"""What a value is read against: floors, chance, ceilings and the share of the way between them.

Floors, chance and ceilings belong to the truth of a split, so they are the same for every model that has a value.
An evaluation without ceilings (of files, or an older one) gives None for what it does not know.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from perturbcast.evaluation.bounds import FLOORS
from perturbcast.metrics import metric as descriptor
from perturbcast.metrics import panel

__all__ = [
    "CEILINGS",
    "DEGENERATE",
    "best_models",
    "ceiling",
    "ceilings",
    "degenerate",
    "floors",
    "primary",
    "ranked",
    "share",
]

# in the order of the tables; the words are what a reader sees
CEILINGS = {"split_half": "split half", "interpolated": "interpolated", "resampled": "resampled"}
DEGENERATE = {
    "constant": "best constant answer",
    "control": "no change",
    "shuffled_labels": "truth, labels shuffled",
    "means_without_spread": "exact means, no spread",
    "twisted_controls": "★, controls twisted",
    "scaled_noise": "noise of the right size",
}
FEWEST_PRIMARY, MOST_PRIMARY = 4, 8
OURS = "perturbcast."


def floors(split: Mapping[str, Any], metric_id: str) -> dict[str, float | None]:
    """Floors and chance of a metric on a split."""
    entry = _any_entry(split, metric_id)
    if entry is None:
        return dict.fromkeys((*FLOORS, "chance"))
    return {**{name: entry["floor"][name] for name in FLOORS}, "chance": entry["chance"]}


def ceilings(split: Mapping[str, Any], metric_id: str) -> dict[str, float | None]:
    """What replicates of the measured cells score, by the way they were made."""
    entry = _any_entry(split, metric_id) or {}
    return {name: entry.get("ceiling", {}).get(name) for name in CEILINGS}


def ceiling(split: Mapping[str, Any], metric_id: str) -> float | None:
    """The best ceiling of a metric by its own direction; None where none is known."""
    values = [value for value in ceilings(split, metric_id).values() if value is not None]
    return min(values, key=descriptor(metric_id).loss) if values and _ranked(metric_id) else None


def degenerate(split: Mapping[str, Any], metric_id: str) -> dict[str, float | None]:
    """What predictions score that know nothing, or that fool a weak metric; twisted controls: the champion's."""
    entry = _any_entry(split, metric_id) or {}
    return {name: entry.get("degenerate", {}).get(name) for name in DEGENERATE}


def share(split: Mapping[str, Any], model: str, metric_id: str) -> float | None:
    """How far a model comes on the way from the best trivial prediction (0) to the best ceiling (1)."""
    value: float | None = split["models"][model].get(metric_id, {}).get("share_of_range")
    return value


def primary(split: Mapping[str, Any], metric_id: str) -> list[str]:
    """The few metrics that are drawn: the deciding one, then the spine, then what the panel lists first."""
    scored = [
        i
        for i in split["metrics"]
        if any(entries.get(i, {}).get("value") is not None for entries in split["models"].values())
    ]
    spine = {measure.metric.id for measure in panel("spine")}

    def place(i: str) -> int:
        """Ours cannot be gamed, and a metric that tells conditions apart says what a mean cannot."""
        groups = (i == metric_id, i in spine, i.startswith(OURS), descriptor(i).discrimination is not None)
        return groups.index(True) if any(groups) else len(groups)

    ordered = sorted(scored, key=place)
    telling = sum(place(i) < 4 for i in ordered)
    return ordered[: min(MOST_PRIMARY, max(telling, FEWEST_PRIMARY))]


def best_models(entries: Mapping[str, Mapping[str, Any]], metric_id: str) -> list[str]:
    """Models with the best value; more than one where they tie, none where nobody has a value."""
    if not _ranked(metric_id):
        return []
    loss = descriptor(metric_id).loss
    losses = {
        model: loss(row[metric_id]["value"]) for model, row in entries.items() if row[metric_id]["value"] is not None
    }
    return [model for model, value in losses.items() if value == min(losses.values())]


def ranked(models: Sequence[str], values: Mapping[str, float | None], metric_id: str) -> list[str]:
    """``models`` from best to worst; those without a value last."""
    loss = descriptor(metric_id).loss

    def key(model: str) -> tuple[bool, float, str]:
        value = values[model]
        return (value is None, 0.0 if value is None else loss(value), model)

    return sorted(models, key=key)


def _ranked(metric_id: str) -> bool:
    """Whether values can be ranked: not where they aim at an optimum that differs between conditions."""
    metric = descriptor(metric_id)
    return not (metric.direction == "target" and callable(metric.optimum))


def _any_entry(split: Mapping[str, Any], metric_id: str) -> Mapping[str, Any] | None:
    """The champion's entry, or that of the first model with a value."""
    models = sorted(split["models"], key=lambda model: model != split["champion"])
    rows = [split["models"][model].get(metric_id, {"value": None}) for model in models]
    return next((row for row in rows if row["value"] is not None), None)
