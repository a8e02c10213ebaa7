"""Plots of scores: models ranked with intervals, and how far they come between floor and ceiling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes

from perturbcast.evaluation.limits import ceiling, floors, share
from perturbcast.evaluation.svg import CEILING, CHAMPION, FLOOR_LINES, OTHER, figure, quiet, style, to_svg
from perturbcast.metrics import metric as descriptor

__all__ = ["overview", "ranges", "ranking"]

COLUMNS = 4
WIDTH = 11.4  # inches: what a laptop shows beside the contents, at 9 points
LOW, HIGH = -0.5, 1.15  # shares beyond are drawn at the edge, as an arrow


def ranking(split: Mapping[str, Any], metric_ids: Sequence[str], *, order: Sequence[str]) -> str:
    """One panel per metric: a dot and its interval per model, floors, chance and ceiling as lines.

    Args:
        split: the split's part of a report.
        metric_ids: metrics with at least one value, in the order of the panels.
        order: models from the top down, the same in every panel.
    """
    columns = min(COLUMNS, len(metric_ids))
    rows = -(-len(metric_ids) // columns)
    with style():
        drawn = figure(WIDTH, rows * (0.75 + 0.23 * len(order)) + 0.35)
        axes = drawn.subplots(rows, columns, squeeze=False, sharey=True).ravel()
        for axis, metric_id in zip(axes, metric_ids, strict=False):
            _panel(axis, split, metric_id, order=order)
        for axis in axes[len(metric_ids) :]:
            axis.set_visible(False)
        known = {"ceiling"} if any(ceiling(split, i) is not None for i in metric_ids) else set()
        known |= {name for i in metric_ids for name, value in floors(split, i).items() if value is not None}
        handles = [
            mpl.lines.Line2D([], [], color=color, linestyle=line, label=label)
            for name, (label, color, line) in _named_lines().items()
            if name in known
        ]
        if handles:
            drawn.legend(handles=handles, loc="outside upper left", ncols=len(handles), frameon=False)
        return to_svg(drawn, label="Models ranked on test, with intervals")


def ranges(split: Mapping[str, Any], metric_ids: Sequence[str], *, order: Sequence[str]) -> str:
    """One row per metric: from the best trivial prediction (0) to the best ceiling (1), and how far models come.

    Args:
        split: the split's part of a report.
        metric_ids: metrics for which a model has a share, from the top down.
        order: models; the champion is drawn as a bar, the others as dots.
    """
    with style():
        drawn = figure(WIDTH, 0.75 + 0.3 * len(metric_ids))
        axis = drawn.subplots()
        for place, metric_id in enumerate(metric_ids):
            axis.barh(place, 1.0, height=0.56, color="#eef2f7", zorder=1)
            _shares(axis, split, metric_id, place=place, order=order)
        _share_axis(axis, [descriptor(i).title for i in metric_ids])
        return to_svg(drawn, label="Share of the range between floor and ceiling, per metric")


def overview(splits: Mapping[str, Mapping[str, Any]], metric_id: str) -> str:
    """One row per split: where the champion and the other models stand between floor and ceiling."""
    with style():
        drawn = figure(WIDTH, 0.75 + 0.34 * len(splits))
        axis = drawn.subplots()
        for place, split in enumerate(splits.values()):
            axis.barh(place, 1.0, height=0.56, color="#eef2f7", zorder=1)
            _shares(axis, split, metric_id, place=place, order=list(split["models"]))
        _share_axis(axis, list(splits))
        return to_svg(drawn, label=f"Share of the range by {descriptor(metric_id).title}, per split")


def _shares(axis: Axes, split: Mapping[str, Any], metric_id: str, *, place: int, order: Sequence[str]) -> None:
    for model in order:
        value = share(split, model, metric_id)
        if value is None:
            continue
        shown = min(max(value, LOW), HIGH)
        champion, oracle = model == split["champion"], model in split["oracles"]
        marker = "<" if value < LOW else ">" if value > HIGH else "D" if oracle else "o"
        if champion:
            axis.barh(place, shown, height=0.3, color=CHAMPION, zorder=2)
            # left of the bar, unless there is no room beside the names
            before = LOW <= value < 0
            axis.annotate(
                f"{100 * value:.0f} %".replace("-", "−"),
                (max(shown, 0.0) if value < LOW else shown, place),
                xytext=(-7 if before else 7, 0),
                textcoords="offset points",
                ha="right" if before else "left",
                va="center",
                fontsize=8.5,
                fontweight="bold",
                color=CHAMPION,
                zorder=5,
            )
        color = CHAMPION if champion else CEILING if oracle else "white"
        edge = "white" if champion else CEILING if oracle else OTHER
        axis.plot(shown, place, marker, color=color, markeredgecolor=edge, markersize=6.5, zorder=4 if champion else 3)


def _share_axis(axis: Axes, labels: Sequence[str]) -> None:
    axis.set_yticks(range(len(labels)), labels)
    axis.set_ylim(len(labels) - 0.5, -0.5)
    axis.set_xlim(LOW - 0.08, HIGH + 0.08)
    ticks = [-0.5, 0.0, 0.25, 0.5, 0.75, 1.0]
    axis.set_xticks(ticks, ["−50 %", "0: best trivial", "25 %", "50 %", "75 %", "100 %: ceiling"])
    quiet(axis)
    axis.axvline(0.0, color=FLOOR_LINES["control"][0], linewidth=1.4, zorder=2.5)
    axis.axvline(1.0, color=CEILING, linewidth=1.4, zorder=2.5)


def _named_lines() -> dict[str, tuple[str, str, Any]]:
    words = {"control": "floor: no change", "train_mean": "floor: train mean", "chance": "chance"}
    return {name: (words[name], *line) for name, line in FLOOR_LINES.items()} | {"ceiling": ("ceiling", CEILING, "-")}


def _panel(axis: Axes, split: Mapping[str, Any], metric_id: str, *, order: Sequence[str]) -> None:
    metric = descriptor(metric_id)
    for name, value in {**floors(split, metric_id), "ceiling": ceiling(split, metric_id)}.items():
        if value is not None:
            _, color, line = _named_lines()[name]
            axis.axvline(value, color=color, linestyle=line, linewidth=1.3, zorder=1)
    for place, model in enumerate(order):
        entry = split["models"][model][metric_id]
        if entry["value"] is None:
            continue
        color = CHAMPION if model == split["champion"] else OTHER
        low, high = entry["interval"]
        if low is not None:
            axis.plot([low, high], [place, place], color=color, linewidth=2.6, alpha=0.45, solid_capstyle="round")
        axis.plot(entry["value"], place, "o", color=color, markersize=6, zorder=3)
    first = next(e[metric_id] for e in split["models"].values() if e[metric_id]["value"] is not None)
    aim = {"lower": "↓", "higher": "↑", "target": "→"}[metric.direction]
    goal = f" {first['optimum']:g}" if metric.direction == "target" and first["optimum"] is not None else ""
    axis.set_title(f"{first['title']} {aim}{goal}", loc="left", fontsize=9, fontweight="bold")
    axis.set_yticks(range(len(order)), [f"★ {m}" if m == split["champion"] else m for m in order])
    axis.set_ylim(len(order) - 0.5, -0.5)
    axis.locator_params(axis="x", nbins=4)
    quiet(axis)
