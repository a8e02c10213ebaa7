"""The report as one HTML page that needs nothing but itself: styles, tables and plots are inside."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jinja2

from perturbcast.evaluation.plots import ranking
from perturbcast.evaluation.report import floors
from perturbcast.metrics import metric as descriptor

__all__ = ["render"]


def render(report: Mapping[str, Any]) -> str:
    """The page of a report as ``gather`` gives it."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("perturbcast.evaluation"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = _number
    environment.filters["interval"] = _interval
    metric = descriptor(report["metric"])
    return environment.get_template("report.html.jinja").render(
        report=report,
        metric=metric,
        views=[_view(name, split, metric_id=metric.id) for name, split in report["splits"].items()],
    )


def _view(name: str, split: Mapping[str, Any], *, metric_id: str) -> dict[str, Any]:
    """What the template shows of one split, in the order in which it shows it."""
    models, oracles, loss = split["models"], split["oracles"], descriptor(metric_id).loss
    order = sorted(models, key=lambda m: (m in oracles, _rank_key(models[m][metric_id]["value"], loss), m))
    ids = sorted(split["metrics"], key=lambda i: i != metric_id)  # the deciding one first
    scored = [i for i in ids if any(models[m][i]["value"] is not None for m in order)]
    candidates = [m for m in order if m not in oracles]
    best = {i: _best({m: models[m][i]["value"] for m in candidates}, loss=descriptor(i).loss) for i in scored}
    return {
        "name": name,
        "split": split,
        "order": order,
        "metrics": [models[order[0]][i] | {"id": i} for i in scored],
        "unscored": [models[order[0]][i] | {"id": i} for i in ids if i not in scored],
        "floors": {i: floors(split, i) for i in scored},
        "best": best,
        "plot": ranking(split, scored, order=order) if scored else "",
        "notes": _notes(models, scored),
        "per_context": split["per_context"].get(metric_id, {}),
    }


def _rank_key(value: float | None, loss: Any) -> tuple[bool, float]:
    return (value is None, 0.0 if value is None else loss(value))


def _best(values: Mapping[str, float | None], *, loss: Any) -> list[str]:
    losses = {model: loss(value) for model, value in values.items() if value is not None}
    return [model for model, value in losses.items() if value == min(losses.values())]


def _notes(models: Mapping[str, Any], ids: list[str]) -> list[str]:
    """Every note once, with the models that it is about unless it is about all."""
    about: dict[str, list[str]] = {}
    for metric_id in ids:
        for model, entries in models.items():
            for note in entries[metric_id]["notes"]:
                about.setdefault(f"{entries[metric_id]['title']}: {note}", []).append(model)
    return [text if len(who) == len(models) else f"{text} ({', '.join(who)})" for text, who in about.items()]


def _number(value: float | None) -> str:
    """Four significant digits; a dash where there is no number."""
    if value is None:
        return "–"
    return f"{value:.3f}" if 0.1 <= abs(value) < 1000 else f"{value:.3g}"


def _interval(bounds: list[float | None]) -> str:
    low, high = bounds
    return "" if low is None or high is None else f"{_number(low)} to {_number(high)}"
