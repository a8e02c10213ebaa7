"""Command ``import-h5ad``: anyone's AnnData to the data contract."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Literal

import typer

from perturbcast.errors import UsageError
from perturbcast.stages.import_ import say
from perturbcast.stages.layout import dataset_file
from perturbcast.stores import h5ad
from perturbcast.stores.contract import COVARIATES, ColumnMapping, to_contract

ROLES = ("perturbation", "context", *COVARIATES, "library_size")


def command(
    words: Annotated[
        list[str],
        typer.Argument(help="The .h5ad to import, and ROLE=COLUMN words.", metavar="FILE|ROLE=COLUMN"),
    ],
    mapping: Annotated[
        list[str] | None,
        typer.Option(
            "--map", help="perturbation=COLUMN context=COLUMN, and batch, donor, guide, dose, time, library_size."
        ),
    ] = None,
    control: Annotated[list[str] | None, typer.Option(help="Label of control cells; repeat for several.")] = None,
    out: Annotated[Path | None, typer.Option(help="File to write [default: artifacts/datasets/NAME.h5ad]")] = None,
    name: Annotated[str, typer.Option(help="Dataset id [default: the file's name]")] = "",
    scale: Annotated[
        Literal["counts", "log1p"],
        typer.Option(help="What the values are: raw counts (in layers['counts'] or X), or log1p-normalised already."),
    ] = "counts",
    separator: Annotated[str, typer.Option(help="Joins the targets of a combination in your labels.")] = "+",
    dose_unit: Annotated[str, typer.Option(help="Unit of dose, where it is mapped.")] = "",
    by_dose: Annotated[
        bool, typer.Option("--by-dose", help="Conditions differ by dose: labels become DRUG@DOSE, which models read.")
    ] = False,
    time_unit: Annotated[str, typer.Option(help="Unit of time, where it is mapped.")] = "",
    min_cells: Annotated[int, typer.Option(help="Perturbed conditions with fewer cells are dropped and listed.")] = 20,
    allow_uncontrolled: Annotated[
        bool,
        typer.Option("--allow-uncontrolled", help="Keep contexts without controls, marked and used in no condition."),
    ] = False,
) -> None:
    """Check your AnnData and write it on the data contract.

        perturbcast import-h5ad mine.h5ad --map perturbation=target_gene context=cell_line --control non-targeting

    X becomes log1p(counts per 10 000) from raw counts; with --scale log1p it is taken as it is. Without a column for
    the context, write context= and all cells are one context. Dose and time are numbers with a unit. With --by-dose
    DRUG at 0.5 and DRUG at 5 are two conditions, and ridge and cgio are told the dose of each.
    """
    file, more = _file(words)
    roles = _roles([*(mapping or []), *more])
    if not control:
        raise UsageError("Control cells are named by their label; none was given. Add --control LABEL.")
    if not file.is_file():
        raise UsageError(f"A file to import is an .h5ad; {file} does not exist.")
    dataset = name or file.stem
    if Path(dataset).name != dataset:
        raise UsageError(f"A dataset id names a file; {dataset!r} is a path. Give --name without slashes, and --out.")
    columns = ColumnMapping(
        perturbation=roles.pop("perturbation"),
        context=roles.pop("context"),
        control=tuple(control),
        separator=separator,
        by_dose=by_dose,
        library_size=roles.pop("library_size", ""),
        covariates=roles,
        units={key: unit for key, unit in (("dose", dose_unit), ("time", time_unit)) if unit},
        kind=scale,
        scale="log1p-normalised, as imported",
    )
    adata = h5ad.read_anndata(file)
    source = {"study": f"imported from {file.name}", "source_sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
    data, counts = to_contract(
        adata, columns, dataset=dataset, source=source, min_cells=min_cells, allow_uncontrolled=allow_uncontrolled
    )
    path = out or dataset_file(dataset)
    h5ad.write(data, path, counts=counts)
    say(data, path)


def _file(words: list[str]) -> tuple[Path, list[str]]:
    """The file among the words, and the others; options may stand before, between and after them."""
    files = [word for word in words if word.partition("=")[0] not in ROLES]
    if len(files) != 1:
        raise UsageError(
            f"One file is imported, and the words beside it are ROLE=COLUMN with ROLE one of {', '.join(ROLES)}; "
            f"got {', '.join(map(repr, files)) or 'no file'}. For example perturbcast import-h5ad mine.h5ad "
            "--map perturbation=target_gene context=cell_line --control non-targeting."
        )
    return Path(files[0]), [word for word in words if word != files[0]]


def _roles(words: list[str]) -> dict[str, str]:
    """``ROLE=COLUMN`` words as a mapping."""
    roles: dict[str, str] = {}
    for word in words:
        role, equals, column = word.partition("=")
        if not equals or role not in ROLES or role in roles:
            raise UsageError(
                f"A mapping is ROLE=COLUMN, each role once, with ROLE one of {', '.join(ROLES)}; got {word!r}. "
                "For example --map perturbation=target_gene context=cell_line."
            )
        roles[role] = column
    missing = [role for role in ("perturbation", "context") if role not in roles]
    if missing:
        raise UsageError(
            f"perturbation and context are mapped to columns; {' and '.join(missing)} missing. Add --map "
            f"{' '.join(f'{role}=COLUMN' for role in missing)}."
        )
    return roles
