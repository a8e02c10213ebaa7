"""Stage ``modules``: what each model is made of, hashed, so that a change reruns the models that it concerns.

A name in ``models:`` may be a preset of another module ('plugin:'), which DVC cannot look up, and a model may read
files that lie where DVC does not look (gene sets in a data folder). Where such a file changed, 'dvc repro -sf modules'
sees it, and the next 'dvc repro' trains the models that read it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from perturbcast import catalog
from perturbcast.cluster.task import sha256_of
from perturbcast.stages.params import DEFAULT, model_plugin, read
from perturbcast.stores.atomic import write_json
from perturbcast.stores.data_folders import located

FILES = ("gene_sets", "embedding", "encoder")  # fields of a ``Config`` that name a file or folder


def command(
    out: Annotated[Path, typer.Option(help="Folder for MODEL.json, one per model that runs.")],
    source: Annotated[
        Path | None, typer.Option(help="Folder of the modules; one that it lacks, and all if not given, as installed.")
    ] = None,
    params: Annotated[Path, typer.Option(help="Parameter file.")] = DEFAULT,
) -> None:
    """Write the sha256 of the module and of the files behind every model that the pipeline runs.

    perturbcast modules --out artifacts/code/models
    """
    found = read(params)
    for name in sorted({*found.run.models, *found.oracle.models}):
        plugin, config = model_plugin(name, {}, params)
        module = source / f"{plugin}.py" if source else None
        if module is None or not module.is_file():
            module = Path(str(catalog.load("models", plugin).__file__))
        write_json(out / f"{name}.json", {"plugin": plugin, "module": sha256_of(module), "files": _files(config)})


def _files(config: Any) -> dict[str, str]:
    """Field -> sha256 of the file that it names, or of all files of the folder; 'absent' where there is none."""
    named = {field: located(str(getattr(config, field))) for field in FILES if getattr(config, field, "")}
    return {field: sha256_of(path) or "absent" for field, path in named.items()}
