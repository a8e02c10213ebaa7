"""Stage ``train``: one model on every fold of a split, each to a model directory."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from perturbcast import graphs
from perturbcast.stages.layout import load_fold, of_fold, open_data, split_files
from perturbcast.stages.params import model_plugin, options
from perturbcast.stages.progress import track
from perturbcast.training import fit, save_model

CONTEXT_SETTINGS = {"allow_extra_args": True, "ignore_unknown_options": True}


def command(
    context: typer.Context,
    split: Annotated[Path, typer.Option(help="Split folder (all folds) or one fold_K.json.")],
    model: Annotated[str, typer.Option(help="A name in models: of params.yaml, or a module of perturbcast/models.")],
    out: Annotated[Path, typer.Option(help="Folder for fold_0/, fold_1/, ... (one model directory each).")],
    data: Annotated[
        Path | None, typer.Option(help="Dataset [default: artifacts/datasets/<dataset of the split>.h5ad]")
    ] = None,
    params: Annotated[Path | None, typer.Option(help="Parameter file [default: params.yaml, if there is one]")] = None,
    graph: Annotated[
        list[Path] | None,
        typer.Option(help="Gene graph for models that use one: a graph directory, or a folder of fold_K/ of them."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Decides every draw of the fit.")] = 0,
) -> None:
    """Fit a model on the train part of every fold and calibrate its intervals on the calibration part.

    Parameters of the model follow as options of their own and override params.yaml, for example:

        perturbcast train --split splits/mine --model linear --ridge 1.0 --out models/mine/linear

    Test and validation cells are not read into anything fitted.
    """
    plugin, config = model_plugin(model, dict(options(context.args)), params)
    cells = open_data(split, data)
    for file in track(split_files(split), f"train {model} on {split.name}"):
        fold = load_fold(file, cells)
        loaded = [graphs.load(of_fold(folder, fold.fold)) for folder in graph or ()]
        fitted = fit(cells, fold, kind=model, plugin=plugin, config=config, seed=seed, graphs=loaded)
        save_model(fitted, out / f"fold_{fold.fold}")
