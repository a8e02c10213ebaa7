"""Stage ``split``: a dataset and a rule to frozen, hash-locked folds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from perturbcast import catalog, splits
from perturbcast.schema import Split
from perturbcast.stages.params import options
from perturbcast.stores import h5ad

CONTEXT_SETTINGS = {"allow_extra_args": True, "ignore_unknown_options": True}


def command(
    context: typer.Context,
    data: Annotated[Path, typer.Option(help="Imported dataset (.h5ad on the data contract).")],
    rule: Annotated[str, typer.Option(help="Split rule: a module of perturbcast/splits.")],
    out: Annotated[Path, typer.Option(help="Folder for fold_0.json, fold_1.json, ...")],
    seed: Annotated[int, typer.Option(min=0, help="Decides every draw.")] = 0,
) -> None:
    """Freeze a split: which cells are fitted, selected on, calibrated on and tested on.

    Parameters of the rule follow as options of their own, for example:

        perturbcast split --data artifacts/datasets/kang2018.h5ad --rule unseen_context
            --contexts "B cells,NK cells" --out artifacts/splits/kang-b-nk

        perturbcast split --data mine.h5ad --rule unseen_perturbation --folds 3 --validation 0.2 --out splits/mine

    Rules: unseen_context (--contexts), covariate_transfer (--covariate, --values), cross_dataset (--test,
    --min-shared-genes, --validation, --calibration; on a file of 'perturbcast merge'), each with
    --require-shared-perturbations true (drop what train lacks), false (keep it, the split is mixed) or fail;
    unseen_perturbation and unseen_combination (--folds, --validation, --calibration); in_distribution (--validation,
    --calibration, --test). A frozen split is never overwritten with other content.
    """
    config = catalog.configure("splits", rule, options(context.args))
    made = splits.make(h5ad.read(data), rule, config=config, seed=seed)
    for split in made:
        splits.freeze(split, out / f"fold_{split.fold}.json")
    say(made, out)


def say(made: Sequence[Split], out: Path) -> None:
    """What was frozen, and each warning once."""
    first = made[0]
    counts = ", ".join(f"{part} {len(first.conditions[part])}" for part in first.conditions)
    folds = f"{len(made)} fold{'' if len(made) == 1 else 's'}"
    typer.echo(f"{out}: {folds} of {first.rule} on {first.dataset}; conditions of fold 0: {counts}")
    for warning in sorted({warning for split in made for warning in split.warnings}):
        typer.echo(f"note: {warning}")
