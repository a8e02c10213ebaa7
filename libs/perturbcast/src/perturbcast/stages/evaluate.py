"""Stage ``evaluate``: scores predictions of held-out conditions, or any pair of files."""

from __future__ import annotations

import shlex
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer

from perturbcast.errors import UsageError
from perturbcast.evaluation.bootstrap import RESAMPLES
from perturbcast.evaluation.directory import write_directory
from perturbcast.evaluation.files import evaluate_files
from perturbcast.evaluation.held_out import evaluate_prediction, train_profile
from perturbcast.evaluation.scoring import Scored
from perturbcast.evaluation.summary import summarise
from perturbcast.metrics import PANELS
from perturbcast.schema import CONTROL, PerturbationData, Prediction, Split
from perturbcast.stages.layout import PARTS, load_fold, open_data, split_files
from perturbcast.stages.progress import track
from perturbcast.stores import predictions

VERSIONS = ("perturbcast", "numpy", "scipy", "pandas")


def command(
    prediction: Annotated[
        Path,
        typer.Option(help="What 'perturbcast predict' wrote (folder of fold_K/PART.npz), or predicted cells (.h5ad)."),
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
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap.")] = 0,
) -> None:
    """Score predictions: each metric with a bootstrap interval over conditions, floors and chance.

    Writes metrics.json (metric id -> value, interval, floor, chance, optimum, n, n_excluded),
    per_condition.csv (context, perturbation, metric_id, value) and provenance.json.

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
    of_split = {"--split": split, "--data": data, "--part": part or None}
    of_files = {
        "--truth": truth,
        "--perturbation-key": perturbation_key,
        "--context-key": context_key,
        "--control-label": control_label,
        "--train": train,
    }
    if (split is None) == (truth is None):
        raise UsageError("Scores need a truth: give --split (with a folder of predictions) or --truth (with a file).")
    foreign = [option for option, value in (of_split if split is None else of_files).items() if value is not None]
    if foreign:
        raise UsageError(
            f"{', '.join(foreign)} does not go with {'--truth' if split is None else '--split'}. Leave it out."
        )
    if truth is not None:
        evaluation = evaluate_files(
            truth,
            prediction,
            perturbation_key=perturbation_key or "perturbation",
            context_key=context_key,
            control_label=control_label or CONTROL,
            train=train,
            panel_name=panel,
            seed=seed,
        )
        given = [(option, value) for option, value in of_files.items() if value is not None]
        provenance = _provenance([*given, ("--prediction", prediction), ("--out", out)], panel=panel, seed=seed)
        write_directory(evaluation, out, provenance={**provenance, "part": "files"})
        return
    assert split is not None
    parts = part or list(PARTS)
    unknown = sorted(set(parts) - set(PARTS))
    if unknown:
        raise UsageError(f"A part to score is one of {', '.join(PARTS)}; got {', '.join(unknown)}.")
    _evaluate_split(split, prediction, out=out, data=data, parts=parts, panel=panel, seed=seed)


def _evaluate_split(
    split: Path, prediction: Path, *, out: Path, data: Path | None, parts: list[str], panel: str, seed: int
) -> None:
    """Score every fold of every part, then write; nothing is written unless all of it could be scored."""
    files = split_files(split)
    cells = open_data(split, data)
    name = split.parent.name if split.is_file() else split.name
    scored: dict[str, list[Scored]] = {part: [] for part in parts}
    folds: dict[str, list[dict[str, Any]]] = {part: [] for part in parts}
    strata: dict[str, str] = {}
    for file in track(files, f"evaluate {name} with {prediction.name}"):
        fold = load_fold(file, cells)
        profile = train_profile(cells, cells=fold.parts["train"], conditions=fold.conditions["train"])
        strata |= fold.strata
        for part in parts:
            path = prediction / file.stem / f"{part}.npz"
            predicted = predictions.read(path)
            _check(predicted, fold, part=part, path=path)
            barcodes = fold.parts[part]
            scored[part].append(
                evaluate_prediction(cells, predicted, cells=barcodes, train_mean=profile, panel_name=panel)
            )
            folds[part].append(_fold_record(fold, predicted, part=part))
    for part in parts:
        options = [("--split", split), ("--prediction", prediction), ("--out", out)]
        record = _provenance(options, panel=panel, seed=seed) | {
            "part": part,
            "split": name,
            "model": prediction.name,
            **_dataset_record(cells, fold),
            "folds": folds[part],
            "strata": strata,
        }
        directory = out / part / name / prediction.name
        write_directory(summarise(scored[part], seed=seed), directory, provenance=record)


def _check(predicted: Prediction, fold: Split, *, part: str, path: Path) -> None:
    wanted, given = set(fold.conditions[part]), set(predicted.conditions)
    if wanted != given:
        odd = sorted(map(str, wanted ^ given))
        raise ValueError(
            f"A prediction answers the conditions of its part, all and no other; {path} and the {part} part of fold "
            f"{fold.fold} differ in {len(odd)}: {', '.join(odd[:5])}. Run 'perturbcast predict' on this split again."
        )


def _fold_record(fold: Split, predicted: Prediction, *, part: str) -> dict[str, Any]:
    return {
        "fold": fold.fold,
        "held_out": fold.held_out,
        "split_sha256": fold.hash,
        "model_fingerprint": predicted.model,
        "conditions": {name: len(group) for name, group in fold.conditions.items()},
        "cells": len(fold.parts[part]),
        "warnings": list(fold.warnings),
    }


def _dataset_record(cells: PerturbationData, fold: Split) -> dict[str, Any]:
    return {
        "dataset": cells.dataset,
        "dataset_hash": cells.hash,
        "n_cells": len(cells.obs),
        "n_genes": len(cells.genes),
        "n_conditions": len(cells.conditions),
        "contexts": list(cells.contexts),
        "scale": cells.meta.get("scale"),
        "rule": fold.rule,
        "ood_axes": list(fold.ood_axes),
        "split_seed": fold.seed,
    }


def _provenance(options: list[tuple[str, Any]], *, panel: str, seed: int) -> dict[str, Any]:
    words = [word for option, value in options for word in (option, str(value))]
    return {
        "command": shlex.join(["perturbcast", "evaluate", *words, "--panel", panel, "--seed", str(seed)]),
        "panel": panel,
        "seed": seed,
        "bootstrap_resamples": RESAMPLES,
        "versions": {package: version(package) for package in VERSIONS},
    }
