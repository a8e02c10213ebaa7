"""Command ``pretrain``: an encoder of unperturbed cells, for every fold of a split or of a whole dataset."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from perturbcast import catalog, encoders
from perturbcast.errors import UsageError
from perturbcast.schema import PerturbationData
from perturbcast.stages.layout import load_fold, split_files
from perturbcast.stages.learning import learning
from perturbcast.stages.params import options
from perturbcast.stages.training_options import (
    Accelerator,
    CheckpointEvery,
    Checkpoints,
    Devices,
    NumNodes,
    Precision,
)
from perturbcast.stores import CellFile, h5ad
from perturbcast.stores.control_cells import control_cells

CONTEXT_SETTINGS = {"allow_extra_args": True, "ignore_unknown_options": True}


def command(
    context: typer.Context,
    data: Annotated[Path, typer.Option(help="Dataset; its control cells are read.")],
    out: Annotated[Path, typer.Option(help="The encoder directory; with --split a folder for fold_0/, fold_1/, ....")],
    objective: Annotated[str, typer.Option(help="How to pretrain: a module of perturbcast/encoders.")] = "denoising",
    split: Annotated[
        Path | None,
        typer.Option(help="Split folder (all folds) or one fold_K.json: train controls are read, no other."),
    ] = None,
    on_disk: Annotated[
        bool, typer.Option("--on-disk", help="Leave cells on disk: for a dataset larger than memory.")
    ] = False,
    workers: Annotated[
        int, typer.Option(min=0, help="Processes that read ahead, each of them for one that trains; with --on-disk.")
    ] = 0,
    seed: Annotated[int, typer.Option(min=0, help="Decides every draw.")] = 0,
    accelerator: Accelerator = "cpu",
    devices: Devices = 1,
    num_nodes: NumNodes = 1,
    precision: Precision = "32-true",
    checkpoint_every: CheckpointEvery = 0,
    checkpoints: Checkpoints = None,
    track: Annotated[bool, typer.Option(help="Log the loss curves to MLflow (MLFLOW_TRACKING_URI).")] = True,
) -> None:
    """Pretrain an encoder of the state that a cell is in before it is perturbed.

        perturbcast pretrain --data artifacts/datasets/kang2018.h5ad --split artifacts/splits/kang2018-unseen_context
            --objective masked_genes --out artifacts/encoders/kang2018-unseen_context/masked_genes

        perturbcast train ... --model cgio --operator fused --state pretrained
            --encoder artifacts/encoders/kang2018-unseen_context/masked_genes

    Parameters of the objective follow as options of their own (--width, --steps, --masked, ...). Objectives: denoising
    (--noise, --dropped), masked_genes (--masked).

    Without --split all control cells of the dataset are read: good for a dataset without perturbations. 'train' refuses
    an encoder that has seen a cell which its fold holds out. --on-disk and --workers change what is held in memory
    and nothing about the encoder.

    SIGTERM or SIGUSR1 saves a checkpoint and ends with exit code 75 ('again'); the same command goes on from it, as it
    does after a kill from the last checkpoint of --checkpoint-every, and ends in the same bytes.
    """
    if workers and not on_disk:
        raise UsageError(
            f"Processes read ahead from a file; --workers {workers} was given without --on-disk, and cells in memory "
            "need no reading. Give --on-disk, or leave --workers out."
        )
    config = catalog.configure("encoders", objective, options(context.args))
    from perturbcast.training.pretraining import METRIC, pretrain  # here, so that --help does without torch

    kept = checkpoints or out.with_name(f".{out.name}.checkpoints")
    for name, cells in _cells(CellFile.open(data) if on_disk else h5ad.read(data), split):
        target = out / name if name else out
        with learning(
            str(target),
            folder=kept / name,
            accelerator=accelerator,
            devices=devices,
            num_nodes=num_nodes,
            precision=precision,
            checkpoint_every=checkpoint_every,
        ) as learner:
            encoder = pretrain(cells, objective=objective, config=config, seed=seed, workers=workers, learner=learner)
        if not learner.is_first:
            continue
        curves = {"loss": learner.history, METRIC: learner.looks}
        encoders.save(encoder, target, curves=curves)
        if track:
            _track(encoder, curves, target)
        first, best = learner.looks[0][1], min(value for _, value in learner.looks)
        typer.echo(
            f"{target}: {objective} on {len(cells.obs)} cells x {len(encoder.genes)} genes, held-out loss {first:.4f} "
            f"-> {best:.4f} after {len(learner.history)} steps, sha256 {encoder.hash[:12]}"
        )
    shutil.rmtree(kept, ignore_errors=True)


def _cells(
    measured: PerturbationData | CellFile, split: Path | None
) -> Iterator[tuple[str, PerturbationData | CellFile]]:
    """Folder name and control cells of each encoder."""
    if split is None:
        yield "", control_cells(measured)
        return
    for file in split_files(split):
        fold = load_fold(file, measured)
        yield f"fold_{fold.fold}", control_cells(measured, among=fold.parts["train"])


def _track(encoder: encoders.Encoder, curves: Any, target: Path) -> None:
    from perturbcast import tracking  # mlflow takes two seconds to import

    tracking.log_curves(
        tracking.connect(),
        tracking.CurvesRun(
            experiment=f"{encoder.provenance['dataset']}-pretraining",
            kind=encoder.objective,
            key=encoder.hash,
            parameters={**encoder.parameters, "seed": encoder.provenance["seed"]},
            curves=curves,
            tags={"encoder": str(target), "encoder_sha256": encoder.hash, **_provenance(encoder)},
        ),
    )


def _provenance(encoder: encoders.Encoder) -> dict[str, str]:
    return {name: str(encoder.provenance[name]) for name in ("dataset", "n_cells", "cells_sha256")}
