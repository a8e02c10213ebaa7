"""The short answer on a terminal: per split what was chosen, how it did, and against what."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.table import Table

from perturbcast.evaluation.limits import ceiling, floors
from perturbcast.metrics import metric as descriptor

__all__ = ["scorecard"]


def scorecard(report: Mapping[str, Any]) -> Table:
    """A table of the report's splits, printed with ``rich.console.Console().print``.

    Args:
        report: what ``perturbcast report`` writes as report.json.
    """
    metric = descriptor(report["metric"])
    better = {"lower": "lower is better", "higher": "higher is better", "target": f"best at {metric.optimum:g}"}
    table = Table(
        title=f"Test scores: {metric.title} ({metric.id}, {better[metric.direction]})",
        title_justify="left",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    table.add_column("split", min_width=19, no_wrap=True)
    table.add_column("champion", min_width=10)
    for column in ("test [95 %]", "control", "mean", "ceiling", "share"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("beats", no_wrap=True)
    better_on_test = []
    dataset = None
    for name, split in report["splits"].items():
        entry = split["models"][split["champion"]][metric.id]
        floor, reached = floors(split, metric.id), split["answers"]["share_of_range"]
        if split["dataset"]["dataset"] != dataset:
            dataset = split["dataset"]["dataset"]
            table.add_row(f"[bold]{dataset}[/bold]")
        mark = "" if split["champion"] in split["best_on_test"] else "*"
        if mark:
            better_on_test.append(f"{name}: {', '.join(split['best_on_test'])}")
        table.add_row(
            f" {name.removeprefix(f'{dataset}-')}",
            split["champion"] + mark,
            f"{_number(entry['value'])} {_interval(entry['interval'])}",
            *(_number(value) for value in (floor["control"], floor["train_mean"], ceiling(split, metric.id))),
            "-" if reached is None else f"{100 * reached:.0f} %",
            _beats(split["answers"]),
        )
    said = [
        "The champion was chosen on validation conditions. Floors: control predicts no change, mean the",
        "mean perturbed train profile. Ceiling: a replicate of the measured cells; share: how far from the",
        "best trivial answer to it. Beats: floors it is better than, by a paired test over conditions.",
    ]
    said += [f"* best on test, which took no part in the choice: {'; '.join(better_on_test)}"] if better_on_test else []
    table.caption = "\n".join(said)
    return table


def _beats(answers: Mapping[str, Any]) -> str:
    """Floors that the champion is clearly better than."""
    words = {"versus_control": "control", "versus_train_mean": "mean"}
    beaten = [word for key, word in words.items() if answers[key]["verdict"] == "better"]
    return "both" if len(beaten) == len(words) else "".join(beaten) or "neither"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def _interval(bounds: list[float | None]) -> str:
    low, high = bounds
    return "" if low is None or high is None else f"[{low:.2g}, {high:.2g}]"
