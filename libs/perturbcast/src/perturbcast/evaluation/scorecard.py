"""The short answer on a terminal: per split what was chosen, how it did, and against what."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from perturbcast.evaluation.limits import floors
from perturbcast.metrics import metric as descriptor

if TYPE_CHECKING:  # imported when a table is made
    from rich.table import Table

__all__ = ["scorecard"]


def scorecard(report: Mapping[str, Any]) -> Table:
    """A table of the report's splits, printed with ``rich.console.Console().print``.

    Args:
        report: what ``perturbcast report`` writes as report.json.
    """
    from rich import box
    from rich.table import Table

    metric = descriptor(report["metric"])
    better = {"lower": "lower is better", "higher": "higher is better", "target": f"best at {metric.optimum:g}"}
    table = Table(
        title=f"Test scores: {metric.title} ({metric.id}, {better[metric.direction]})",
        title_justify="left",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=0,
    )
    table.add_column("split", min_width=20, no_wrap=True)
    table.add_column("champion", min_width=9)
    for column in ("test [95 %]", "control", "mean", "share"):
        table.add_column(column, justify="right", no_wrap=True)
    better_on_test = []
    dataset = None
    for name, split in report["splits"].items():
        entry = split["models"][split["champion"]][metric.id]
        floor, answers = floors(split, metric.id), split["answers"]
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
            _number(floor["control"]) + _beaten(answers["versus_control"]),
            _number(floor["train_mean"]) + _beaten(answers["versus_train_mean"]),
            "-" if answers["share_of_range"] is None else f"{100 * answers['share_of_range']:.0f} %",
        )
    said = [
        "The champion was chosen on validation conditions. Floors: control predicts no",
        "change, mean the mean perturbed train profile; + marks one that the champion is",
        "clearly better than (paired test over conditions). Share: how far it is from the",
        "best trivial answer to a replicate of the measured cells.",
    ]
    said += [f"* best on test, which took no part: {better}" for better in better_on_test]
    table.caption = "\n".join(said)
    return table


def _beaten(answer: Mapping[str, Any]) -> str:
    return " +" if answer["verdict"] == "better" else "  "


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def _interval(bounds: list[float | None]) -> str:
    low, high = bounds
    return "" if low is None or high is None else f"[{low:.2g}, {high:.2g}]"
