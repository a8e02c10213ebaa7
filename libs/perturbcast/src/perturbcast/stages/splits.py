"""Command ``splits``: list frozen splits, and show one so that a reader can judge it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from perturbcast import splits
from perturbcast.errors import UsageError
from perturbcast.schema import Split
from perturbcast.stages.layout import ARTIFACTS, split_files

command = typer.Typer(help="List frozen splits, or show one in full.", no_args_is_help=True)
Folder = Annotated[Path, typer.Option("--splits", help="Folder that holds the splits.")]
DEFAULT = ARTIFACTS / "splits"


@command.command("list")
def show_all(folder: Folder = DEFAULT) -> None:
    """One line per frozen fold: name, hash, rule, what is held out, OOD axes, cells per part."""
    table = Table(
        "split", "fold", "sha256", "dataset", "rule", "held out", "new at test", "train / val / cal / test cells"
    )
    for path in sorted(p for p in folder.glob("*") if p.is_dir()):
        for file in split_files(path):
            split = splits.load(file)
            cells = " / ".join(str(len(split.parts[part])) for part in ("train", "validation", "calibration", "test"))
            axes = ", ".join(split.ood_axes) or "nothing"
            table.add_row(
                path.name, str(split.fold), split.hash[:12], split.dataset, split.rule, split.held_out[:40], axes, cells
            )
    Console().print(table if table.row_count else f"No frozen split in {folder}. Make one with 'perturbcast split'.")


@command.command("show")
def show_one(
    which: Annotated[str, typer.Argument(help="First characters of the sha256, or a fold_K.json file.")],
    folder: Folder = DEFAULT,
) -> None:
    """Conditions, cells and controls of each part, OOD axes and warnings."""
    split = _find(which, folder)
    console = Console()
    console.print(
        f"[bold]{split.rule}[/bold] on {split.dataset}, fold {split.fold} of {split.n_folds}, seed {split.seed}"
    )
    console.print(f"sha256 {split.hash}\ndataset {split.dataset_hash}\nparameters {dict(split.parameters)}")
    console.print(f"held out: {split.held_out}\nnew at test: {', '.join(split.ood_axes) or 'nothing'}")
    table = Table("part", "conditions", "cells", "which")
    for part in Split.PARTS:
        conditions = split.conditions.get(part, ())
        which_ones = "; ".join(
            f"{c}" + (f" ({split.strata[str(c)]})" if str(c) in split.strata else "") for c in conditions
        )
        table.add_row(
            part, str(len(conditions)), str(len(split.parts[part])), which_ones or "controls that are input only"
        )
    console.print(table)
    for warning in split.warnings:
        console.print(f"note: {warning}")


def _find(which: str, folder: Path) -> Split:
    if Path(which).is_file():
        return splits.load(Path(which))
    found = {
        split.hash: split
        for file in folder.glob("*/fold_*.json")
        if (split := splits.load(file)).hash.startswith(which)
    }
    if len(found) != 1:
        raise UsageError(
            f"A split is shown by the first characters of its sha256, or by its file; {which!r} fits {len(found)} in "
            f"{folder}. See 'perturbcast splits list'."
        )
    return next(iter(found.values()))
