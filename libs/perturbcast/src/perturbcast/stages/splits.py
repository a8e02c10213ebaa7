"""Command ``splits``: create, list, show, verify and import frozen splits."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table

from perturbcast import splits
from perturbcast.errors import UsageError
from perturbcast.schema import Split
from perturbcast.splits.official import import_split
from perturbcast.splits.verify import check_labels
from perturbcast.stages import split as stage
from perturbcast.stages.layout import ARTIFACTS, split_files
from perturbcast.stages.split_sheet import print_sheet
from perturbcast.stores import h5ad

command = typer.Typer(help="Create, list, show, verify and import frozen splits.", no_args_is_help=True)
Folder = Annotated[Path, typer.Option("--splits", help="Folder that holds the splits.")]
DEFAULT = ARTIFACTS / "splits"

command.command("create", context_settings=stage.CONTEXT_SETTINGS)(stage.command)


@command.command("list")
def show_all(folder: Folder = DEFAULT) -> None:
    """One line per frozen fold: name, hash, rule, what is held out, OOD axes, cells per part."""
    table = Table("split", "fold")
    table.add_column("sha256", no_wrap=True, min_width=12)  # 'show' is asked by it
    for name in ("dataset", "rule", "held out", "new at test", "train / val / cal / test cells"):
        table.add_column(name, overflow="fold")
    for path in sorted(p for p in folder.glob("*") if p.is_dir()):
        for file in split_files(path):
            split = splits.load(file)
            cells = " / ".join(str(len(split.parts[part])) for part in ("train", "validation", "calibration", "test"))
            axes = ", ".join(split.ood_axes) or "nothing"
            table.add_row(
                path.name, str(split.fold), split.hash[:12], split.dataset, split.rule, split.held_out[:40], axes, cells
            )
    Console(markup=False).print(
        table if table.row_count else f"No frozen split in {folder}. Make one with 'perturbcast split'."
    )


@command.command("show")
def show_one(
    which: Annotated[str, typer.Argument(help="First characters of the sha256, or a fold_K.json file.")],
    folder: Folder = DEFAULT,
) -> None:
    """Conditions, cells and controls of each part, what is new at test, OOD axes, what was dropped, and warnings."""
    print_sheet(_find(which, folder), Console(markup=False))  # drug labels may hold brackets


@command.command("verify")
def verify(
    paths: Annotated[
        list[Path] | None, typer.Argument(help="Split files, or folders that hold them [default: artifacts/splits].")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Dataset that all of them are for: checks its content and every label too.")
    ] = None,
) -> None:
    """Recompute every hash; one line per split, and exit code 1 where one is bad.

        perturbcast splits verify artifacts/splits --data artifacts/datasets/kang2018.h5ad

    A bad split is one whose record, barcodes or format changed. With --data also one of another dataset, or whose
    cells do not carry the labels of their part.
    """
    files = [file for path in paths or [DEFAULT] for file in _files(path)]
    cells = h5ad.read(data) if data else None
    bad = []
    for file in files:
        try:
            split = splits.load(file, data=cells)
            if cells is not None:
                check_labels(split, cells)
        except ValueError as error:
            typer.echo(f"BAD {file}: {error}")
            bad.append(str(file))
        else:
            typer.echo(f"ok  {file} {split.hash[:12]}")
    if bad:
        raise ValueError(
            f"Every frozen split is whole; {len(bad)} of {len(files)} are bad: {', '.join(bad)}. "
            "Restore them (dvc checkout), or make new ones."
        )


@command.command("import")
def import_one(
    file: Annotated[Path, typer.Argument(help="Their split: .csv (perturbench, gears), .toml (state), .json (gears).")],
    source: Annotated[Literal["perturbench", "state", "gears"], typer.Option("--format", help="Whose file it is.")],
    data: Annotated[Path, typer.Option(help="Imported dataset (.h5ad on the data contract) that it divides.")],
    out: Annotated[Path, typer.Option(help="Folder for fold_0.json.")],
    dataset: Annotated[str, typer.Option(help="state: which of the datasets that the file names --data is.")] = "",
    allow_absent: Annotated[
        bool, typer.Option("--allow-absent", help="Leave out names that the dataset does not hold, and say so.")
    ] = False,
) -> None:
    """Freeze someone's official split as ours: rule 'imported', with the sha256 of the file.

        perturbcast splits import split.csv --format perturbench --data artifacts/datasets/mine.h5ad --out splits/theirs

    perturbench: csv of barcode and train, val or test. state: TOML with [training], [zeroshot] and [fewshot]. gears:
    JSON of train, val and test to lists of conditions, or a csv of condition and part. Pickles are not loaded.
    What is new at test is derived from the conditions; half of their validation becomes calibration.
    """
    made = import_split(file, h5ad.read(data), source=source, dataset=dataset, allow_absent=allow_absent)
    splits.freeze(made, out / "fold_0.json")
    stage.say([made], out)


def _files(path: Path) -> list[Path]:
    """The split files at or below a path."""
    found = [path] if path.is_file() else sorted(path.rglob("fold_*.json"))
    if not found:
        raise UsageError(
            f"A split to verify is a fold_K.json file; {path} holds none. Make one with 'perturbcast split'."
        )
    return found


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
