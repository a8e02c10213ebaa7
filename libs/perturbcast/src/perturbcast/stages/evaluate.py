"""Stage ``evaluate``: scores predictions of held-out conditions, or any pair of files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from perturbcast.errors import UsageError
from perturbcast.evaluation.directory import write_directory
from perturbcast.evaluation.files import evaluate_files
from perturbcast.evaluation.printed import scores_summary
from perturbcast.metrics import PANELS
from perturbcast.schema import CONTROL
from perturbcast.stages.evaluation_record import provenance_of
from perturbcast.stages.executors import Executor


def command(
    prediction: Annotated[
        list[Path],
        typer.Option(
            help="What 'perturbcast predict' wrote (folder of fold_K/PART.npz), or a folder of such folders, one per "
            "model; repeat it for more. Or predicted cells (.h5ad)."
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(help="Folder for the scores: PART/SPLIT/MODEL/ below it, or the three files themselves."),
    ],
    split: Annotated[Path | None, typer.Option(help="Split folder (all folds) or one fold_K.json.")] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Dataset of the split [default: artifacts/datasets/<dataset of the split>.h5ad]."),
    ] = None,
    part: Annotated[list[str] | None, typer.Option(help="validation or test; both if not given.")] = None,
    truth: Annotated[Path | None, typer.Option(help="Measured cells (.h5ad), instead of a split.")] = None,
    perturbation_key: Annotated[
        str | None, typer.Option(help="obs column of the perturbation [default: perturbation].")
    ] = None,
    context_key: Annotated[
        str | None, typer.Option(help="obs column of cell type, line or donor [default: one context].")
    ] = None,
    control_label: Annotated[str | None, typer.Option(help="Label of control cells [default: control].")] = None,
    train: Annotated[
        Path | None, typer.Option(help="Cells that the model was fitted on (.h5ad), for the floor train_mean.")
    ] = None,
    panel: Annotated[
        str,
        typer.Option(help=f"Named set of metrics: {', '.join(PANELS)}, or all of them in one pass by 'all'."),
    ] = "spine",
    validation_panel: Annotated[
        str | None, typer.Option(help="Another set of metrics for the validation part [default: that of --panel].")
    ] = None,
    bounds: Annotated[
        bool,
        typer.Option(help="Score ceilings and degenerate predictors too; floors and chance are there in any case."),
    ] = True,
    seed: Annotated[
        int, typer.Option(min=0, help="Seed of the bootstrap, and of ceilings and degenerate predictors.")
    ] = 0,
    executor: Executor = "serial",
    shards: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Divide the conditions of each fold into this many shards, and read cells from disk as they are "
            "needed: the same bytes, and a dataset may be larger than memory. Folds are the pieces if not given.",
        ),
    ] = None,
    shard: Annotated[
        int | None,
        typer.Option(min=1, help="Work on this shard alone and leave what it finds in OUT/shards: a task of an array."),
    ] = None,
    step: Annotated[
        Literal["means", "cells", "merge"] | None,
        typer.Option(help="Of shards as array tasks: means of every --shard, then cells of every --shard, then merge."),
    ] = None,
) -> None:
    """Score predictions: each metric with a bootstrap interval over conditions, floors, chance and ceilings.

    Writes metrics.json (metric id -> value, interval, floor, chance, ceiling, share_of_range, degenerate, optimum, n,
    n_excluded), per_condition.csv (context, perturbation, metric_id, value), provenance.json and, of a split,
    curves.json. Several models on one split are scored in one pass: the truth is looked at once.

    Held-out conditions of a split, all folds pooled, every condition counted once:

        perturbcast evaluate --split artifacts/splits/kang2018-unseen_context \\
            --prediction artifacts/predictions/kang2018-unseen_context/linear --out artifacts/evaluations

    Any pair of files with the same conditions and genes:

        perturbcast evaluate --truth real.h5ad --prediction pred.h5ad --perturbation-key target_gene \\
            --context-key cell_type --control-label non-targeting --out scores

    Panels of the references (perturbench, scperturbench, celleval, systema, gears) hold their metrics under their
    own names, to the digit ('perturbcast parity' shows it). A condition for which a metric is undefined is left
    out of its mean and counted; a metric without any value is null, with the reason in its notes.
    """
    _check_shards(shards, shard, step, executor)
    given = [prediction] if isinstance(prediction, Path) else list(prediction)
    of_split = {"--split": split, "--data": data, "--part": part or None, "--validation-panel": validation_panel}
    of_split |= {"--executor": None if executor == "serial" else executor}
    of_files = {
        "--truth": truth,
        "--perturbation-key": perturbation_key,
        "--context-key": context_key,
        "--control-label": control_label,
        "--train": train,
    }
    if (split is None) == (truth is None):
        raise UsageError("Scores need a truth: give --split (with a folder of predictions) or --truth (with a file).")
    of_shards = {"--shards": shards, "--shard": shard, "--step": step}
    of_split |= {option: None if value is None else str(value) for option, value in of_shards.items()}
    foreign = [option for option, value in (of_split if split is None else of_files).items() if value is not None]
    if foreign:
        raise UsageError(
            f"{', '.join(foreign)} does not go with {'--truth' if split is None else '--split'}. Leave it out."
        )
    if truth is not None:
        if len(given) > 1:
            raise UsageError(f"A pair of files has one prediction; {len(given)} were given. Score them one by one.")
        evaluation = evaluate_files(
            truth,
            given[0],
            perturbation_key=perturbation_key or "perturbation",
            context_key=context_key,
            control_label=control_label or CONTROL,
            train=train,
            panel_name=panel,
            bounds=bounds,
            seed=seed,
        )
        words = [(option, value) for option, value in of_files.items() if value is not None]
        words += [("--prediction", given[0]), ("--out", out)]
        provenance = provenance_of(words, panel=panel, bounds=bounds, seed=seed)
        write_directory(evaluation, out, provenance={**provenance, "part": "files"})
        typer.echo(scores_summary({given[0].stem: evaluation}))
        return
    assert split is not None
    from perturbcast.stages.layout import PARTS
    from perturbcast.stages.split_scores import Job, models_in, score_folds, write_scores

    parts = part or list(PARTS)
    unknown = sorted(set(parts) - set(PARTS))
    if unknown:
        raise UsageError(f"A part to score is one of {', '.join(PARTS)}; got {', '.join(unknown)}.")
    job = Job(
        split=split,
        predictions=models_in(given),
        out=out,
        panels={name: validation_panel or panel if name == "validation" else panel for name in parts},
        bounds=bounds,
        seed=seed,
    )
    if shards is None:
        folds = score_folds(job, data, executor=executor)
    else:
        from perturbcast.stages.split_shards import score_one_shard, score_shards, scores_of_shards

        if shard is not None and step in ("means", "cells"):
            score_one_shard(job, data, shards=shards, number=shard, step=step)
            return
        together = step == "merge"
        folds = (
            scores_of_shards(job, data, shards=shards)
            if together
            else score_shards(job, data, shards=shards, executor=executor)
        )
    write_scores(job, folds)


def _check_shards(shards: int | None, shard: int | None, step: str | None, executor: str) -> None:
    if (shard is None) != (step in (None, "merge")) or (step is not None and shards is None):
        raise UsageError(
            "A task of an array works on one step of one shard: --shards N --shard K --step means, then the same with "
            "--step cells, and once --shards N --step merge. Give all of them, or --shards alone."
        )
    if shards is not None and shard is not None and shard > shards:
        raise UsageError(f"A shard is one of --shards {shards}, counted from 1; --shard is {shard}.")
    if step is not None and executor != "serial":
        raise UsageError(f"A task of an array works in its own process; leave --executor {executor} out.")
