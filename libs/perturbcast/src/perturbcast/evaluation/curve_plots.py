"""Plots of what a model says of itself: coverage and width of intervals, risk over coverage, a few conditions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from perturbcast.evaluation.svg import CHAMPION, GRID, INK, OTHER, SOFT, figure, style, to_svg
from perturbcast.metrics import metric as descriptor

__all__ = ["deltas", "trust"]

WIDTH = 11.4
LABELLED = 4  # genes named in a scatter
ALL = "all"


def trust(curves: Mapping[str, Mapping[str, Any]], *, champion: str) -> str:
    """Three panels: empirical over nominal coverage, mean width over nominal coverage, risk over coverage.

    Args:
        curves: model -> intervals and risk_coverage; a model without either is left out.
        champion: drawn in colour; its groups (contexts, strata, axes) as thin lines.
    """
    with style():
        drawn = figure(WIDTH, 3.1)
        calibration, width, risk = drawn.subplots(1, 3)
        _coverage(calibration, curves, champion=champion)
        _width(width, curves, champion=champion)
        _risk(risk, curves, champion=champion)
        return to_svg(drawn, label="Coverage and width of intervals, and risk over coverage")


def deltas(examples: Sequence[Mapping[str, Any]]) -> str:
    """One panel per condition: predicted over measured change of each gene, with the 90 % interval where there is one.

    Args:
        examples: conditions with genes, measured, predicted and half_width_90.
    """
    with style():
        drawn = figure(WIDTH, 3.15)
        axes = drawn.subplots(1, max(4, len(examples)), squeeze=False)[0]
        for axis, example in zip(axes, examples, strict=False):
            _delta(axis, example)
        for axis in axes[len(examples) :]:
            axis.set_visible(False)
        axes[0].set_ylabel("predicted change")
        return to_svg(drawn, label="Predicted over measured change, best and worst conditions")


def _coverage(axis: Axes, curves: Mapping[str, Mapping[str, Any]], *, champion: str) -> None:
    _title(axis, "Coverage: do intervals hold what they promise?", x="promised", y="held")
    axis.plot([0, 1], [0, 1], color=SOFT, linestyle=(0, (1, 1.6)), linewidth=1.2)
    axis.annotate("too narrow", (0.97, 0.06), ha="right", color=SOFT, fontsize=8)
    axis.annotate("too wide", (0.03, 0.9), ha="left", color=SOFT, fontsize=8)
    for group, rows in curves[champion]["intervals"].items():
        if group != ALL:
            _line(axis, rows, "coverage", color=CHAMPION, linewidth=0.8, alpha=0.35)
    for model, of_model in _with_champion_last(curves, champion):
        _line(axis, of_model["intervals"].get(ALL, []), "coverage", **_look(model, champion), marker="o", markersize=4)
    axis.set(xlim=(0, 1.02), ylim=(0, 1.02))


def _width(axis: Axes, curves: Mapping[str, Mapping[str, Any]], *, champion: str) -> None:
    _title(axis, "Width: what does that cost?", x="promised", y="mean full width")
    for model, of_model in _with_champion_last(curves, champion):
        _line(
            axis, of_model["intervals"].get(ALL, []), "mean_width", **_look(model, champion), marker="o", markersize=4
        )
    axis.set_xlim(0, 1.02)
    axis.set_ylim(bottom=0)


def _risk(axis: Axes, curves: Mapping[str, Mapping[str, Any]], *, champion: str) -> None:
    units = {of["risk_coverage"]["risk_unit"] for of in curves.values() if of["risk_coverage"]}
    _title(axis, "Risk: is it surer where it is right?", x="share of conditions kept, surest first", y=", ".join(units))
    for model, of_model in _with_champion_last(curves, champion):
        rows = of_model["risk_coverage"]
        if rows:
            axis.plot(rows["coverage"], rows["risk"], **_look(model, champion))
    axis.set_xlim(0, 1.02)
    axis.set_ylim(bottom=0)


def _with_champion_last(curves: Mapping[str, Mapping[str, Any]], champion: str) -> list[tuple[str, Mapping[str, Any]]]:
    return sorted(curves.items(), key=lambda item: (item[0] == champion, item[0]))


def _look(model: str, champion: str) -> dict[str, Any]:
    if model == champion:
        return {"color": CHAMPION, "linewidth": 2.2, "zorder": 3}
    return {"color": OTHER, "linewidth": 1.0, "alpha": 0.55}


def _line(axis: Axes, rows: Sequence[Mapping[str, Any]], what: str, **look: Any) -> None:
    known = [(row["level"], row[what]) for row in rows if row[what] is not None]
    if known:
        axis.plot(*zip(*known, strict=True), **look)


def _delta(axis: Axes, example: Mapping[str, Any]) -> None:
    measured, predicted = np.array(example["measured"]), np.array(example["predicted"])
    half = example["half_width_90"]
    if half is not None:
        # one broken line for all genes: a tenth of the bytes of a bar each
        low, high = predicted - half, predicted + half
        x = np.repeat(measured, 3)
        y = np.column_stack([low, high, np.full(len(low), np.nan)]).ravel()
        axis.plot(x, y, color=CHAMPION, linewidth=0.7, alpha=0.16, zorder=1)
    low, high = (float(edge(np.concatenate([measured, predicted]))) for edge in (np.min, np.max))
    margin = 0.1 * max(high - low, 1e-9)
    low, high = low - margin, high + margin
    axis.plot([low, high], [low, high], color=SOFT, linestyle=(0, (1, 1.6)), linewidth=1.1, zorder=2)
    axis.axhline(0, color="#d1d5db", linewidth=0.8, zorder=0)
    axis.axvline(0, color="#d1d5db", linewidth=0.8, zorder=0)
    _dots(axis, measured, predicted)
    axis.set(xlim=(low, high), ylim=(low, high))
    _names(axis, example["genes"], measured, predicted, span=high - low)
    named = f"{example['place']}: {example['perturbation']} in {example['context']}"
    score = f"{descriptor(example['metric_id']).title} {example['score']:.2f}"
    axis.set_title(f"{_short(named)}\n{score}", loc="left", fontsize=9, fontweight="bold")
    axis.set_xlabel("measured change")
    axis.locator_params(nbins=5)


def _names(axis: Axes, genes: Sequence[str], measured: np.ndarray, predicted: np.ndarray, *, span: float) -> None:
    """Names of the genes that changed most, as far as they do not cover each other."""
    placed: list[tuple[float, float]] = []
    for k in np.argsort(-np.abs(measured), kind="stable")[: 3 * LABELLED]:
        x, y = float(measured[k]), float(predicted[k])
        if len(placed) == LABELLED or any(abs(x - a) < 0.3 * span and abs(y - b) < 0.08 * span for a, b in placed):
            continue
        placed.append((x, y))
        inward = x > (measured.max() + measured.min()) / 2
        axis.annotate(
            genes[k],
            (x, y),
            xytext=(-5 if inward else 5, 4),
            textcoords="offset points",
            ha="right" if inward else "left",
            fontsize=7.5,
            color=INK,
        )


def _short(text: str, most: int = 36) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _dots(axis: Axes, x: np.ndarray, y: np.ndarray) -> None:
    """Points as one path of short round strokes, which takes half the bytes of a mark each."""
    xs = np.column_stack([x, x, np.full(len(x), np.nan)]).ravel()
    ys = np.column_stack([y, y, np.full(len(y), np.nan)]).ravel()
    axis.plot(xs, ys, color=CHAMPION, linewidth=3.2, alpha=0.55, solid_capstyle="round", zorder=3)


def _title(axis: Axes, title: str, *, x: str, y: str) -> None:
    axis.set_title(title, loc="left", fontsize=9, fontweight="bold")
    axis.set_xlabel(x)
    axis.set_ylabel(y)
    axis.grid(color=GRID, linewidth=0.8)
    axis.set_axisbelow(True)
