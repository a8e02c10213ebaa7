"""Stage ``predict``: trained models answer the held-out conditions of their folds."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from perturbcast.errors import UsageError
from perturbcast.schema import Split
from perturbcast.stages.executors import Executor, spread
from perturbcast.stages.layout import PARTS, data_file, load_fold, opened, split_files
from perturbcast.stages.params import read
from perturbcast.stages.resources import recording
from perturbcast.stages.standing_in import standing_in
from perturbcast.stores import CellFile, control_means, predictions
from perturbcast.training import TrainedModel, load_model

Questions = tuple[dict[Path, Split], dict[str, np.ndarray]]


def command(
    split: Annotated[Path, typer.Option(help="Split folder (all folds) or one fold_K.json.")],
    model: Annotated[
        Path,
        typer.Option(
            help="What 'perturbcast train' wrote: a folder of fold_K/ model directories, or a folder of such folders."
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(help="Folder for fold_K/{validation,test}.npz; below it MODEL/ where there are several models."),
    ],
    part: Annotated[list[str] | None, typer.Option(help="validation or test; both if not given.")] = None,
    data: Annotated[
        Path | None, typer.Option(help="Dataset [default: artifacts/datasets/<dataset of the split>.h5ad]")
    ] = None,
    on_disk: Annotated[
        bool, typer.Option("--on-disk", help="Leave cells on disk: for a dataset larger than memory.")
    ] = False,
    params: Annotated[
        Path | None,
        typer.Option(help="Of several models, take those that this params.yaml runs on the split; all if not given."),
    ] = None,
    executor: Executor = "serial",
) -> None:
    """Predict the delta, its variance and its intervals for the validation and test conditions of every fold.

    Control cells of each condition's context are the input; perturbed cells are not read.

        perturbcast predict --split splits/mine --model models/mine/linear --out predictions/mine/linear
        perturbcast predict --split splits/mine --model models/mine --out predictions/mine
    """
    parts = part or list(PARTS)
    unknown = sorted(set(parts) - set(PARTS))
    if unknown:
        raise UsageError(f"A part to predict is one of {', '.join(PARTS)}; got {', '.join(unknown)}.")
    models = _models(model, out, named=None if params is None else read(params).models_of(split.name))
    file = data_file(split, data)
    questions = functools.partial(_questions, split, file, on_disk=on_disk)
    ready = questions() if executor == "serial" else None  # a worker reads them itself
    answer = functools.partial(_answer, questions=questions, parts=parts, ready=ready)
    what = f"predict {split.name} with {', '.join(m.name for m in models)}"
    for lines in spread(answer, list(models.items()), executor=executor, what=what):  # each writes its own files
        for line in lines:
            typer.echo(line)


def _answer(
    model: tuple[Path, Path], *, questions: Callable[[], Questions], parts: list[str], ready: Questions | None = None
) -> list[str]:
    """A model, given by its folder and where its predictions go, on every fold; what to say of stand-ins."""
    source, target = model
    notes: dict[str, list[tuple[str, ...]]] = {name: [] for name in parts}
    folds, controls = ready or questions()
    with recording("predict", target):
        for file, fold in folds.items():
            trained = _trained(source, file, fold)
            for name in parts:
                conditions = fold.conditions[name]
                inputs = {c.context: controls[c.context] for c in conditions}
                prediction = trained.predict(conditions, control_means=inputs)
                predictions.write(prediction, target / f"fold_{fold.fold}" / f"{name}.npz")
                notes[name] += prediction.notes
    return [line for name, said in notes.items() for line in standing_in(said, what=f"{target.name}, {name}")]


def _questions(split: Path, data: Path, *, on_disk: bool) -> Questions:
    """The folds of a split, and the control mean [gene] of each context."""
    cells = CellFile.open(data) if on_disk else opened(data)
    return {file: load_fold(file, cells) for file in split_files(split)}, control_means(cells)


def _models(model: Path, out: Path, *, named: Sequence[str] | None) -> dict[Path, Path]:
    """Folder of each model -> where its predictions go; of several, only the ``named``: others were run once."""
    if any(model.glob("fold_*")):
        return {model: out}
    inside = sorted(folder for folder in model.glob("*") if any(folder.glob("fold_*")))
    if not inside:
        raise UsageError(
            f"A model is a folder of fold_K/ directories that 'perturbcast train' wrote; {model} is none and holds "
            "none. Train first."
        )
    absent = sorted(set(named or ()) - {folder.name for folder in inside})
    if absent:
        raise UsageError(
            f"The models that run on a split are trained first; {model} lacks {', '.join(absent)}. Run 'dvc repro', or "
            "take them out of run.models."
        )
    return {folder: out / folder.name for folder in inside if named is None or folder.name in named}


def _trained(model: Path, file: Path, fold: Split) -> TrainedModel:
    directory = model / f"fold_{fold.fold}"
    trained = load_model(directory)
    if trained.split_hash != fold.hash:
        raise ValueError(
            f"A model answers the fold that it was trained on; {directory} belongs to split "
            f"{trained.split_hash[:12]}, {file} is {fold.hash[:12]}. Train on this split, or give the other one."
        )
    return trained
