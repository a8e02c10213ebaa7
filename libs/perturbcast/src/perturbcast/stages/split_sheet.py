"""One frozen split on a screen: enough to judge what it asks of a model."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from perturbcast.schema import Split
from perturbcast.splits.novelty import new_contexts, new_perturbations

__all__ = ["print_sheet"]


def print_sheet(split: Split, console: Console) -> None:
    """Print the rule, a table of counts by part, what is new at test, dropped perturbations, conditions, warnings."""
    console.print(f"{split.rule} on {split.dataset}, fold {split.fold} of {split.n_folds}, seed {split.seed}")
    console.print(f"sha256 {split.hash}\ndataset {split.dataset_hash}\nparameters {dict(split.parameters)}")
    console.print(f"held out: {split.held_out}\nnew at test: {', '.join(split.ood_axes) or 'nothing'}")
    console.print(_counts(split))
    train = split.conditions["train"]
    for part in ("validation", "calibration", "test"):
        conditions = split.conditions[part]
        perturbations, contexts = new_perturbations(conditions, train), new_contexts(conditions, train)
        console.print(
            f"{part}: {len(perturbations)} perturbations not in train{_listed(perturbations)}; "
            f"{len(contexts)} contexts not in train{_listed(contexts)}"
        )
    for stratum in sorted(set(split.strata.values())):
        console.print(f"test, scored apart: {list(split.strata.values()).count(stratum)} with {stratum}")
    shared = split.shared_perturbations
    if shared is not None:
        kind = "mixed" if shared.mixed else "not mixed"
        console.print(f"perturbations that train lacks: policy {shared.policy}, {kind}")
        for what, group in (("dropped from", shared.dropped), ("kept in", shared.kept)):
            for part, names in group.items():
                console.print(f"  {what} {part}: {len(names)}{_listed(names)}")
    if split.coverage is not None:
        console.print(
            "genes: {shared} shared ({share_of_train:.1%} of train's, {share_of_test:.1%} of test's), "
            "{train_only} only in train, {test_only} only in test".format(**split.coverage)
        )
        for name, content in split.coverage["sources"].items():
            console.print(f"  {name} {content}")
    table = Table("part", "which")
    for part in Split.PARTS:
        named = "; ".join(
            f"{c}" + (f" ({split.strata[str(c)]})" if part == "test" and str(c) in split.strata else "")
            for c in split.conditions.get(part, ())
        )
        table.add_row(part, named or "controls that are input only")
    console.print(table)
    for warning in split.warnings:
        console.print(f"note: {warning}")


def _counts(split: Split) -> Table:
    table = Table("part", "conditions", "perturbations", "contexts", "cells", "of them controls")
    for part in Split.PARTS:
        conditions = split.conditions.get(part, ())
        table.add_row(
            part,
            str(len(conditions)),
            str(len({c.perturbation for c in conditions})),
            str(len({c.context for c in conditions})),
            str(len(split.parts[part])),
            str(split.n_controls[part]),
        )
    return table


def _listed(names: list[str] | tuple[str, ...]) -> str:
    return f": {', '.join(names)}" if names else ""
