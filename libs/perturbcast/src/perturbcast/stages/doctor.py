"""Command ``doctor``: what this machine has, what is missing, and what to do about it."""

from __future__ import annotations

import os
import platform
import shutil
from importlib.metadata import PackageNotFoundError, entry_points, version
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from perturbcast import catalog
from perturbcast.cluster import diagnose
from perturbcast.datasets.source import find
from perturbcast.stages.params import read
from perturbcast.stages.submit import SITE, read_site

PACKAGES = ("perturbcast", "anndata", "numpy", "scipy", "mlflow", "dvc")


def command(
    slurm: Annotated[
        bool,
        typer.Option("--slurm", help="Check the cluster of --site too: partitions, image, binds, data, GPU build."),
    ] = False,
    site: Annotated[Path, typer.Option(help="Site file of the cluster.")] = SITE,
) -> None:
    """Check the installation, the data, the parameter file and the service; exit 1 if something is missing.

    perturbcast doctor
    perturbcast doctor --slurm --site site.yaml
    """
    if slurm:
        place = read_site(site)
        _show(diagnose(place, stages=("train", *place.stages)))
        return
    rows = [_package(name) for name in PACKAGES]
    rows.append(("python", platform.python_version(), ""))
    rows.append(("cores, memory", f"{os.cpu_count()}, {_memory()}", ""))
    serving = any(entry_points(group="perturbcast.services", name="prediction"))
    rows.append(
        (
            "prediction service",
            "installed" if serving else "absent",
            "" if serving else "pip install -e services/prediction",
        )
    )
    git = shutil.which("git")
    rows.append(("git", git or "absent", "" if git else "apt-get install git"))
    rows.extend(
        _dataset(name) for name in catalog.names("datasets") if hasattr(catalog.load("datasets", name), "SOURCE")
    )
    if Path("params.yaml").is_file():
        params = read()
        rows.append(("params.yaml", f"{len(params.run.splits)} splits x {len(params.run.models)} models", ""))
    _show(rows)


def _show(rows: list[tuple[str, str, str]]) -> None:
    table = Table("what", "found", "to do")
    for row in rows:
        table.add_row(*row)
    Console().print(table)
    if any(todo and not todo.startswith("optional") for _, _, todo in rows):
        raise typer.Exit(1)


def _package(name: str) -> tuple[str, str, str]:
    try:
        return name, version(name), ""
    except PackageNotFoundError:
        return name, "absent", f"pip install -c constraints.txt {name}"


def _dataset(name: str) -> tuple[str, str, str]:
    source = catalog.load("datasets", name).SOURCE
    try:
        path = find(source)
    except (ValueError, OSError) as error:
        return f"dataset {name}", "another file", f"optional: {error}"
    if path is not None:
        return f"dataset {name}", str(path), ""
    return f"dataset {name}", source.url or "not on this machine", f"optional: {source.public_file}"


def _memory() -> str:
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return f"{pages / 2**30:.0f} GB"
