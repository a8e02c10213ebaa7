"""Stage ``predict``: trained models answer the held-out conditions of their folds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from perturbcast.errors import UsageError
from perturbcast.stages.layout import PARTS, load_fold, open_data, split_files
from perturbcast.stages.progress import track
from perturbcast.stages.resources import recorded
from perturbcast.stores import control_means, predictions
from perturbcast.training import load_model


@recorded("predict")
def command(
    split: Annotated[Path, typer.Option(help="Split folder (all folds) or one fold_K.json.")],
    model: Annotated[Path, typer.Option(help="What 'perturbcast train' wrote: a folder of fold_K/ model directories.")],
    out: Annotated[Path, typer.Option(help="Folder for fold_K/{validation,test}.npz.")],
    part: Annotated[list[str] | None, typer.Option(help="validation or test; both if not given.")] = None,
    data: Annotated[
        Path | None, typer.Option(help="Dataset [default: artifacts/datasets/<dataset of the split>.h5ad]")
    ] = None,
) -> None:
    """Predict the delta, its variance and its intervals for the validation and test conditions of every fold.

    Control cells of each condition's context are the input; perturbed cells are not read.

        perturbcast predict --split splits/mine --model models/mine/linear --out predictions/mine/linear
    """
    parts = part or list(PARTS)
    unknown = sorted(set(parts) - set(PARTS))
    if unknown:
        raise UsageError(f"A part to predict is one of {', '.join(PARTS)}; got {', '.join(unknown)}.")
    cells = open_data(split, data)
    controls = control_means(cells)
    for file in track(split_files(split), f"predict {split.name} with {model.name}"):
        fold = load_fold(file, cells)
        trained = load_model(model / f"fold_{fold.fold}")
        if trained.split_hash != fold.hash:
            raise ValueError(
                f"A model answers the fold that it was trained on; {model / f'fold_{fold.fold}'} belongs to split "
                f"{trained.split_hash[:12]}, {file} is {fold.hash[:12]}. Train on this split, or give the other one."
            )
        for name in parts:
            conditions = fold.conditions[name]
            inputs = {c.context: controls[c.context] for c in conditions}
            answer = trained.predict(conditions, control_means=inputs)
            predictions.write(answer, out / f"fold_{fold.fold}" / f"{name}.npz")
