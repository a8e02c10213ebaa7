"""Stage ``train``: one model on every fold of a split, each to a model directory."""

from __future__ import annotations

import contextlib
import functools
import shutil
from pathlib import Path
from typing import Annotated

import typer

from perturbcast import catalog
from perturbcast.stages.layout import load_fold, open_cells, open_data, split_files
from perturbcast.stages.learning import again_on_signal, check_machine, learning
from perturbcast.stages.model_inputs import encoder_of, graphs_of, unread
from perturbcast.stages.params import model_plugin, options
from perturbcast.stages.progress import track
from perturbcast.stages.resources import is_first_process, recorded
from perturbcast.stages.training_options import (
    Accelerator,
    CheckpointEvery,
    Checkpoints,
    Devices,
    NumNodes,
    Precision,
)
from perturbcast.training import fit, save_model
from perturbcast.training.validation import STOP_BY, held_out, measure_to_stop_by

CONTEXT_SETTINGS = {"allow_extra_args": True, "ignore_unknown_options": True}


@recorded("train")
def command(
    context: typer.Context,
    split: Annotated[Path, typer.Option(help="Split folder (all folds) or one fold_K.json.")],
    model: Annotated[str, typer.Option(help="A name in models: of params.yaml, or a module of perturbcast/models.")],
    out: Annotated[Path, typer.Option(help="Folder for fold_0/, fold_1/, ... (one model directory each).")],
    data: Annotated[
        Path | None, typer.Option(help="Dataset [default: artifacts/datasets/<dataset of the split>.h5ad]")
    ] = None,
    on_disk: Annotated[
        bool, typer.Option("--on-disk", help="Leave cells on disk: for a dataset larger than memory.")
    ] = False,
    params: Annotated[Path | None, typer.Option(help="Parameter file [default: params.yaml, if there is one]")] = None,
    graph: Annotated[
        list[Path] | None,
        typer.Option(help="Gene graph for models that use one: a graph directory, or a folder of fold_K/ of them."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Decides every draw of the fit.")] = 0,
    stop_by: Annotated[
        str, typer.Option(help="Metric of condition means that early stopping looks at, on the validation part.")
    ] = STOP_BY,
    accelerator: Accelerator = "cpu",
    devices: Devices = 1,
    num_nodes: NumNodes = 1,
    precision: Precision = "32-true",
    checkpoint_every: CheckpointEvery = 0,
    checkpoints: Checkpoints = None,
) -> None:
    """Fit a model on the train part of every fold and calibrate its intervals on the calibration part.

    Parameters of the model follow as options of their own and override params.yaml, for example:

        perturbcast train --split splits/mine --model linear --ridge 1.0 --out models/mine/linear

    A graph 'coexpression' that the model names is built from the train controls of each fold unless --graph gives it. A
    model whose state is pretrained takes its encoder from --encoder, a directory or a folder of fold_K/.

    Test and validation cells are not read into anything fitted. A model that learns by gradient looks at validation
    conditions to stop, and trains under Lightning: the options from --accelerator on are for it. SIGTERM or SIGUSR1
    saves a checkpoint and ends with exit code 75 ('again'); the same command goes on from it, as it does after a kill
    from the last checkpoint of --checkpoint-every, and ends in the same weights.
    """
    plugin, config = model_plugin(model, dict(options(context.args)), params)
    by_gradient = getattr(catalog.load("models", plugin), "BY_GRADIENT", False)
    if by_gradient:  # what cannot be is known before anything is read
        check_machine(accelerator, devices)
        measure_to_stop_by(stop_by)
    kept = checkpoints or out.with_name(f".{out.name}.checkpoints")
    with again_on_signal() if by_gradient else contextlib.nullcontext():
        cells = open_cells(split, data) if on_disk else open_data(split, data)
        files = split_files(split)
        for file in track(files, f"train {model} on {split.name}"):
            fold = load_fold(file, cells)
            read = graphs_of(config, fold, cells=cells, folders=graph or (), seed=seed)
            if file == files[0] and (left := unread(config, read)):
                typer.echo(
                    f"note: {model} does not read the graph {', '.join(left)}: its parameters do not name it", err=True
                )
            ready = functools.partial(
                fit,
                cells,
                fold,
                kind=model,
                plugin=plugin,
                config=config,
                seed=seed,
                graphs=read,
                encoder=encoder_of(config, fold),
            )
            if not by_gradient:
                if is_first_process():
                    save_model(ready(), out / f"fold_{fold.fold}")
                continue
            with learning(
                f"fold {fold.fold}",
                folder=kept / f"fold_{fold.fold}",
                accelerator=accelerator,
                devices=devices,
                num_nodes=num_nodes,
                precision=precision,
                checkpoint_every=checkpoint_every,
            ) as learner:
                fitted = ready(learner=learner, validation=held_out(cells, fold, metric=stop_by))
            if learner.is_first:  # every process of a distributed run holds the same weights; one writes them
                save_model(fitted, out / f"fold_{fold.fold}")
    if by_gradient:
        shutil.rmtree(kept, ignore_errors=True)
