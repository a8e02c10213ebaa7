"""Stage ``split``: a dataset and a rule to frozen, hash-locked folds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from perturbcast import catalog, splits
from perturbcast.stages.params import options
from perturbcast.stores import h5ad

CONTEXT_SETTINGS = {"allow_extra_args": True, "ignore_unknown_options": True}


def command(
    context: typer.Context,
    data: Annotated[Path, typer.Option(help="Imported dataset (.h5ad on the data contract).")],
    rule: Annotated[str, typer.Option(help="Split rule: a module of perturbcast/splits.")],
    out: Annotated[Path, typer.Option(help="Folder for fold_0.json, fold_1.json, ...")],
    seed: Annotated[int, typer.Option(help="Decides every draw.")] = 0,
) -> None:
    """Freeze a split: which cells are fitted, selected on, calibrated on and tested on.

    Parameters of the rule follow as options of their own, for example:

        perturbcast split --data artifacts/datasets/kang2018.h5ad --rule unseen_context
            --contexts "B cells,NK cells" --out artifacts/splits/kang-b-nk

        perturbcast split --data mine.h5ad --rule unseen_perturbation --folds 3 --validation 0.2 --out splits/mine

    Rules: unseen_context (--contexts, --require-shared-perturbations), unseen_perturbation (--folds,
    --validation, --calibration), unseen_combination (the same), in_distribution (--validation, --calibration,
    --test). A frozen split is never overwritten with other content.
    """
    config = catalog.configure("splits", rule, options(context.args))
    cells = h5ad.read(data)
    made = splits.make(cells, rule, config=config, seed=seed)
    for split in made:
        splits.freeze(split, out / f"fold_{split.fold}.json")
    counts = ", ".join(f"{part} {len(made[0].conditions[part])}" for part in made[0].conditions)
    typer.echo(f"{out}: {len(made)} folds of {rule} on {cells.dataset}; conditions of fold 0: {counts}")
    for warning in sorted({warning for split in made for warning in split.warnings}):
        typer.echo(f"note: {warning}")
