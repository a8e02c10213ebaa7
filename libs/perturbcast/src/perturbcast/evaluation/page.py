"""The report as one HTML page that needs nothing but itself: styles, tables and plots are inside."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jinja2

from perturbcast.evaluation import curve_plots, heat, plots
from perturbcast.evaluation.limits import (
    CEILINGS,
    DEGENERATE,
    best_models,
    ceiling,
    ceilings,
    degenerate,
    floors,
    ranked,
    share,
)
from perturbcast.metrics import metric as descriptor

__all__ = ["render"]

AIMS = {"lower": "↓", "higher": "↑", "target": "→"}
BETTER = {"lower": "lower is better", "higher": "higher is better", "target": "closest to the optimum is best"}
# verdict -> class of the style, sign, words
VERDICTS = {
    "better": ("good", "✓", "yes"),
    "worse": ("bad", "✗", "no, worse"),
    "no clear difference": ("unsure", "≈", "no clear difference"),
    "same": ("unsure", "=", "no, the same"),
    "itself": ("unsure", "=", "no, it is that"),
    "unknown": ("soft", "?", "not known"),
}


def render(report: Mapping[str, Any]) -> str:
    """The page of a report as ``gather`` gives it."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("perturbcast.evaluation"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": _number, "interval": _interval, "percent": _percent, "probability": _probability}
    environment.globals |= {
        "AIMS": AIMS,
        "CEILINGS": CEILINGS,
        "DEGENERATE": DEGENERATE,
        "VERDICTS": VERDICTS,
    }
    metric = descriptor(report["metric"])
    environment.globals["gain"] = functools.partial(_gain, higher=metric.direction == "higher")
    splits = report["splits"]
    shared = {name: split for name, split in splits.items() if _has_share(split, metric.id)}
    return environment.get_template("report.html.jinja").render(
        report=report,
        metric=metric,
        better=BETTER[metric.direction],
        overview=plots.overview(shared, metric.id) if shared else "",
        views=[_view(name, split, metric_id=metric.id) for name, split in splits.items()],
    )


def _view(name: str, split: Mapping[str, Any], *, metric_id: str) -> dict[str, Any]:
    """What the template shows of one split, in the order in which it shows it."""
    models, oracles = split["models"], split["oracles"]
    by_score = ranked(list(models), {m: models[m][metric_id]["value"] for m in models}, metric_id)
    order = sorted(by_score, key=lambda model: model in oracles)
    scored = [i for i in split["metrics"] if any(models[m][i]["value"] is not None for m in order)]
    scored.sort(key=lambda i: i != metric_id)
    candidates = {m: models[m] for m in order if m not in oracles}
    drawn = split["primary"]
    with_share = [i for i in drawn if _has_share(split, i)]
    curves = split["curves"]
    trusted = {m: of for m, of in curves.items() if of["intervals"] or of["risk_coverage"]}
    return {
        "name": name,
        "split": split,
        "order": order,
        "primary": [_column(split, i) for i in drawn],
        "metrics": [_column(split, i) for i in scored],
        "panels": _panels(split, scored),
        "unscored": [models[order[0]][i] for i in split["metrics"] if i not in scored],
        "best": {i: best_models(candidates, i) for i in scored},
        "ranking": plots.ranking(split, drawn, order=order) if drawn else "",
        "ranges": plots.ranges(split, with_share, order=order) if with_share else "",
        "trust": curve_plots.trust(trusted, champion=split["champion"]) if split["champion"] in trusted else "",
        "deltas": curve_plots.deltas(split["examples"]) if split["examples"] else "",
        "notes": _notes(models, scored),
        "contexts": heat.by_label(split, split["per_context"], metric_id=metric_id, order=order),
        "perturbations": heat.by_label(split, split["per_perturbation"], metric_id=metric_id, order=order),
        "failed": [check for check in split["leaks"] if check["passed"] is False],
        "passed": [check for check in split["leaks"] if check["passed"]],
    }


def _column(split: Mapping[str, Any], metric_id: str) -> dict[str, Any]:
    """Head and reference values of a metric's column or row."""
    entries = [entries[metric_id] for entries in split["models"].values()]
    first = next((entry for entry in entries if entry["value"] is not None), entries[0])
    best = ceiling(split, metric_id)
    return {
        "id": metric_id,
        "title": first["title"],
        "aim": AIMS[first["direction"]],
        "optimum": first["optimum"],
        "n": first["n"],
        "n_excluded": first["n_excluded"],
        "floors": floors(split, metric_id),
        "ceilings": ceilings(split, metric_id),
        "ceiling": best,
        "degenerate": degenerate(split, metric_id),
        "shares": {model: share(split, model, metric_id) for model in split["models"]},
    }


def _panels(split: Mapping[str, Any], scored: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """Panel -> its metrics, by the prefix of their ids."""
    found: dict[str, list[dict[str, Any]]] = {}
    for metric_id in scored:
        found.setdefault(metric_id.partition(".")[0], []).append(_column(split, metric_id))
    return found


def _has_share(split: Mapping[str, Any], metric_id: str) -> bool:
    return any(share(split, model, metric_id) is not None for model in split["models"])


def _notes(models: Mapping[str, Any], ids: Sequence[str]) -> list[str]:
    """Every note once, with the models and metrics that it is about unless it is about all."""
    about: dict[str, list[tuple[str, str]]] = {}
    for metric_id in ids:
        for model, entries in models.items():
            for note in entries[metric_id]["notes"]:
                about.setdefault(note, []).append((entries[metric_id]["title"], model))
    lines = []
    for note, places in about.items():
        titles = list(dict.fromkeys(title for title, _ in places))
        who = list(dict.fromkeys(model for _, model in places))
        of_models = "" if len(who) == len(models) else f" ({', '.join(who)})"
        lines.append(f"{', '.join(titles) if len(titles) < len(ids) else 'All metrics'}: {note}{of_models}")
    return lines


def _gain(
    difference: float | None, interval: Sequence[float | None], *, higher: bool
) -> tuple[float | None, list[float | None]]:
    """A difference to a floor turned so that more is better, with its interval."""
    low, high = interval
    if difference is None:
        return None, [None, None]
    if higher or low is None or high is None:
        return (difference if higher else 0.0 - difference), [low, high]
    return 0.0 - difference, [0.0 - high, 0.0 - low]


def _number(value: float | None) -> str:
    """Three significant digits, all of them written; a dash where there is no number."""
    if value is None:
        return "–"
    return _written(value, digits=3, decimals=3)


def _written(value: float, *, digits: int, decimals: int) -> str:
    """Significant ``digits`` below 0.1, ``decimals`` up to 1000, and then as few as it takes."""
    if value == 0:
        return "0"
    size = abs(value)
    text = f"{value:.{decimals}f}" if 0.1 <= size < 1000 else f"{value:#.{digits}g}" if size < 0.1 else f"{value:.3g}"
    return text.replace("-", "−")


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.0f}\u00a0%".replace("-", "−")


def _interval(bounds: Sequence[float | None]) -> str:
    low, high = bounds
    if low is None or high is None:
        return ""
    return " to ".join(_written(bound, digits=2, decimals=2 if abs(bound) >= 1 else 3) for bound in (low, high))


def _probability(value: float | None) -> str:
    return "–" if value is None else f"{value:.2g}" if value >= 0.001 else "< 0.001"
