"""Plots of a report as inline SVG: drawn without a display, the same scores giving the same bytes."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from perturbcast.evaluation.report import floors

__all__ = ["ranking"]

CHAMPION, OTHER = "#0b6e4f", "#475569"
LINES: dict[str, tuple[str, Any]] = {
    "control": ("#b45309", "--"),
    "train_mean": ("#7c3aed", "-."),
    "chance": ("#94a3b8", ":"),
}
COLUMNS = 4
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text: sharp, searchable, small
    "svg.hashsalt": "perturbcast",  # ids of clip paths, else random
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
}


def ranking(split: Mapping[str, Any], metric_ids: Sequence[str], *, order: Sequence[str]) -> str:
    """One panel per metric: a dot and its interval per model, floors and chance as lines.

    Args:
        split: the split's part of a report.
        metric_ids: metrics with at least one value, in the order of the panels.
        order: models from the top down, the same in every panel.
    """
    columns = min(COLUMNS, len(metric_ids))
    rows = -(-len(metric_ids) // columns)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(2.5 * columns + 0.9, rows * (0.7 + 0.24 * len(order)) + 0.35), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
        for axis, metric_id in zip(axes, metric_ids, strict=False):
            _panel(axis, split, metric_id, order=order)
        for axis in axes[len(metric_ids) :]:
            axis.set_visible(False)
        handles = [mpl.lines.Line2D([], [], color=c, linestyle=s, label=n) for n, (c, s) in _named_lines().items()]
        figure.legend(handles=handles, loc="outside upper left", ncols=len(handles), frameon=False)
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    svg = text.getvalue()
    return svg[svg.index("<svg") :]


def _named_lines() -> dict[str, tuple[str, Any]]:
    names = {"control": "floor: no change", "train_mean": "floor: train mean", "chance": "chance"}
    return {names[key]: line for key, line in LINES.items()}


def _panel(axis: Axes, split: Mapping[str, Any], metric_id: str, *, order: Sequence[str]) -> None:
    for name, value in floors(split, metric_id).items():
        if value is not None:
            color, style = LINES[name]
            axis.axvline(value, color=color, linestyle=style, linewidth=1.2, zorder=1)
    for place, model in enumerate(order):
        entry = split["models"][model][metric_id]
        if entry["value"] is None:
            continue
        color = CHAMPION if model == split["champion"] else OTHER
        low, high = entry["interval"]
        if low is not None:
            axis.plot([low, high], [place, place], color=color, linewidth=2.4, alpha=0.45, solid_capstyle="round")
        axis.plot(entry["value"], place, "o", color=color, markersize=6, zorder=3)
    first = split["models"][order[0]][metric_id]
    aim = {"lower": "↓", "higher": "↑", "target": f"→ {first['optimum']:g}"}[first["direction"]]
    axis.set_title(f"{first['title']} {aim}", loc="left", fontsize=8.5, fontweight="bold")
    axis.set_yticks(range(len(order)), [f"★ {m}" if m == split["champion"] else m for m in order])
    axis.set_ylim(len(order) - 0.5, -0.5)
    axis.tick_params(left=False)
    axis.locator_params(axis="x", nbins=4)
    axis.grid(axis="x", color="#e2e8f0", linewidth=0.8)
    axis.set_axisbelow(True)
