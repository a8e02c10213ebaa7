"""The report's tables for papers and other programs: csv with every digit, LaTeX as a reader wants to see them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from perturbcast.evaluation.limits import CEILINGS, DEGENERATE, ceiling, ceilings, degenerate, floors, share
from perturbcast.metrics import metric as descriptor

__all__ = ["latex", "tables"]

SHOWN = "{:.3g}"


def tables(report: Mapping[str, Any]) -> dict[str, pd.DataFrame]:
    """Name of a file without its suffix -> table; a column without a number is empty.

    ``summary``: one row per split. ``scores``: one row per split, model and metric, with everything beside it.
    ``paired``: every model beside each floor. ``contexts``, ``perturbations``: means by label. ``worst_conditions``.
    ``leaks``. ``folds``.
    """
    splits = report["splits"]
    return {
        "summary": pd.DataFrame([_summary(name, split, report["metric"]) for name, split in splits.items()]),
        "scores": pd.DataFrame([row for name, split in splits.items() for row in _scores(name, split)]),
        "paired": pd.DataFrame([row for name, split in splits.items() for row in _paired(name, split)]),
        "contexts": _by_label(splits, "per_context", "context"),
        "perturbations": _by_label(splits, "per_perturbation", "perturbation"),
        "worst_conditions": pd.DataFrame(
            [
                {"split": name, "perturbation": row["perturbation"], "context": row["context"], **row["values"]}
                for name, split in splits.items()
                for row in split["worst_conditions"]
            ]
        ),
        "leaks": pd.DataFrame([{"split": name, **row} for name, split in splits.items() for row in split["leaks"]]),
        "folds": pd.DataFrame(
            [
                {"split": name, "fold": fold["fold"], "held_out": fold["held_out"]}
                | {f"conditions_{part}": n for part, n in fold["conditions"].items()}
                | {f"cells_{part}": n for part, n in fold["cells"].items()}
                | {"sha256": fold["sha256"]}
                for name, split in splits.items()
                for fold in split["folds"]
            ]
        ),
    }


def latex(report: Mapping[str, Any]) -> dict[str, str]:
    """Name of a file without its suffix -> a booktabs table: the summary, and the models of every split."""
    splits = report["splits"]
    summary = pd.DataFrame([_summary(name, split, report["metric"]) for name, split in splits.items()])
    title = descriptor(report["metric"]).title
    shown = pd.DataFrame(
        {
            "split": summary["split"],
            "champion": summary["champion"],
            f"{title} [95 %]": _with_interval(summary),
            "no change": _written(summary["floor_control"]),
            "train mean": _written(summary["floor_train_mean"]),
            "ceiling": _written(summary["ceiling"]),
            "share": ["" if pd.isna(value) else f"{100 * value:.0f} %" for value in summary["share_of_range"]],
        }
    )
    made = {"summary": _latex(shown, caption=f"Champions on test, {report['metric']}.", label="summary")}
    for name, split in splits.items():
        rows = pd.DataFrame([row for row in _scores(name, split) if row["metric_id"] in split["primary"]])
        titles = {i: descriptor(i).title for i in split["primary"]}
        rows["shown"] = _with_interval(rows)
        wide = pd.DataFrame(
            {"model": list(split["models"])}
            | {titles[i]: list(rows.loc[rows["metric_id"] == i, "shown"]) for i in split["primary"]}
        )
        made[f"models_{name}"] = _latex(wide, caption=f"Models on test, {name}.", label=name)
    return made


def _summary(name: str, split: Mapping[str, Any], metric_id: str) -> dict[str, Any]:
    champion = split["champion"]
    answers = {
        f"{key}_{part}": answer[part]
        for key, answer in split["answers"].items()
        if key.startswith("versus_")
        for part in ("verdict", "difference", "p_adjusted", "wins", "n")
    }
    leaks = [check["passed"] for check in split["leaks"]]
    return {
        "split": name,
        "dataset": split["dataset"]["dataset"],
        "ood_axes": "+".join(split["ood_axes"]),
        "champion": champion,
        **_row(split, champion, metric_id),
        **answers,
        "leak_checks_failed": sum(passed is False for passed in leaks),
        "leak_checks_passed": sum(passed is True for passed in leaks),
    }


def _scores(name: str, split: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {"split": name, "model": model, **_row(split, model, metric_id)}
        for model in split["models"]
        for metric_id in split["metrics"]
    ]


def _paired(name: str, split: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {"split": name, "metric_id": found["metric_id"], "baseline": floor, "model": model, "n": found["n"]}
        | {"difference": row["difference"], "low": row["difference_interval"][0], "high": row["difference_interval"][1]}
        | {key: row[key] for key in ("p_value", "p_adjusted", "verdict")}
        for floor, found in split["paired"].items()
        for model, row in found["models"].items()
        if model != floor
    ]


def _row(split: Mapping[str, Any], model: str, metric_id: str) -> dict[str, Any]:
    entry = split["models"][model][metric_id]
    low, high = entry["interval"]
    reference = floors(split, metric_id)
    return {
        "metric_id": metric_id,
        "value": entry["value"],
        "low": low,
        "high": high,
        "n": entry["n"],
        "n_excluded": entry["n_excluded"],
        "chance": reference.pop("chance"),
        **{f"floor_{floor}": value for floor, value in reference.items()},
        "ceiling": ceiling(split, metric_id),
        **{f"ceiling_{key}": value for key, value in ceilings(split, metric_id).items() if key in CEILINGS},
        "share_of_range": share(split, model, metric_id),
        **{f"degenerate_{key}": value for key, value in degenerate(split, metric_id).items() if key in DEGENERATE},
    }


def _by_label(splits: Mapping[str, Any], key: str, label: str) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"split": split, "metric_id": metric_id, label: name, **by_model}
            for split, part in splits.items()
            for metric_id, by_name in part[key].items()
            for name, by_model in by_name.items()
        ]
    )


def _with_interval(rows: pd.DataFrame) -> list[str]:
    return [
        "" if pd.isna(value) else SHOWN.format(value) + ("" if pd.isna(low) else f" [{low:.2g}, {high:.2g}]")
        for value, low, high in zip(rows["value"], rows["low"], rows["high"], strict=True)
    ]


def _written(values: pd.Series) -> list[str]:
    return ["" if pd.isna(value) else SHOWN.format(value) for value in values]


def _latex(table: pd.DataFrame, *, caption: str, label: str) -> str:
    """By pandas, labels escaped; numbers right, names left."""
    columns = "l" + "r" * (table.shape[1] - 1)
    escaped = {sign: f"\\{sign}" for sign in "_%&#"}
    text = table.to_latex(index=False, escape=True, column_format=columns, label=f"tab:{label}")
    caption = "".join(escaped.get(sign, sign) for sign in caption)
    return text.replace("\\label{", f"\\caption{{{caption}}}\n\\label{{", 1)
