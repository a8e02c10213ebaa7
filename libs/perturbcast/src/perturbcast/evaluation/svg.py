"""One look for every plot of the report, and the step from a figure to SVG that can stand inside a page.

The same figure gives the same bytes: no date, fixed ids, text as text. Coordinates are rounded to a twentieth of a
point, which nobody sees and which makes the page half as large.
"""

from __future__ import annotations

import html
import io
import re
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

__all__ = ["CEILING", "CHAMPION", "FLOOR_LINES", "GRID", "INK", "OTHER", "SOFT", "figure", "quiet", "style", "to_svg"]

# Okabe and Ito's palette: told apart with any kind of colour vision, and by line style besides
CHAMPION, CEILING = "#0072b2", "#009e73"
OTHER, INK, SOFT, GRID = "#6b7280", "#111827", "#6b7280", "#e5e7eb"
FLOOR_LINES: dict[str, tuple[str, Any]] = {
    "control": ("#d55e00", (0, (5, 2))),
    "train_mean": ("#b0578d", (0, (5, 2, 1, 2))),
    "chance": ("#6b7280", (0, (1, 1.6))),
}
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text: sharp, searchable, small
    "svg.hashsalt": "perturbcast",  # ids of clip paths, else random
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # the one that comes with matplotlib: the same layout everywhere
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": SOFT,
    "axes.edgecolor": "#9ca3af",
    "axes.linewidth": 0.8,
    "xtick.color": SOFT,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "path.simplify": False,
}

_COORDINATE = re.compile(r"-?\d+\.\d{3,}")
_GEOMETRY = re.compile(r' (?:d|x|y|points|transform)="[^"]*"')
_GROUP_ID = re.compile(r'<g id="[a-zA-Z0-9]+_\d+">')


def figure(width: float, height: float) -> Figure:
    """An empty figure of a size in inches, laid out by constraints; call it and ``to_svg`` under the style."""
    return Figure(figsize=(width, height), layout="constrained")


def style() -> Any:
    """Context in which plots are drawn and saved."""
    return mpl.rc_context(STYLE)


def quiet(axis: Axes, *, grid: str = "x") -> None:
    """A panel without left edge and ticks, with a light grid behind."""
    axis.spines["left"].set_visible(False)
    axis.tick_params(left=False)
    axis.grid(axis=grid, color=GRID, linewidth=0.8)  # type: ignore[arg-type]
    axis.set_axisbelow(True)


def to_svg(drawn: Figure, *, label: str) -> str:
    """The figure as an ``svg`` element.

    Args:
        drawn: what to write.
        label: what it shows, for readers who do not see it.
    """
    text = io.StringIO()
    layout = drawn.get_layout_engine()
    if layout is not None:
        layout.execute(drawn)
        drawn.set_layout_engine("none")  # else it is drawn once more, only to be laid out
    drawn.savefig(text, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    svg = text.getvalue()
    svg = _GEOMETRY.sub(lambda attribute: _COORDINATE.sub(_rounded, attribute[0]), svg[svg.index("<svg") :])
    svg = _GROUP_ID.sub("<g>", svg).replace(" \nL ", "L").replace(" \nM ", "M")
    return svg.replace("<svg ", f'<svg role="img" aria-label="{html.escape(label)}" ', 1)


def _rounded(match: re.Match[str]) -> str:
    return f"{round(20 * float(match[0])) / 20:.2f}".rstrip("0").rstrip(".")
