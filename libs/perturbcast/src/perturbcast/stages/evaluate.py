"""Stage ``evaluate``: scores predictions of held-out conditions, or any pair of files."""

from __future__ import annotations

import dataclasses
import shlex
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer

from perturbcast.errors import UsageError
from perturbcast.evaluation.bootstrap import RESAMPLES
from perturbcast.evaluation.curves_file import curves_of
from perturbcast.evaluation.directory import write_directory
from perturbcast.evaluation.files import evaluate_files
from perturbcast.evaluation.held_out import Compared, evaluate_predictions, interpolation_weight, train_profile
from perturbcast.evaluation.printed import scores_summary
from perturbcast.evaluation.summary import Evaluation, summarise
from perturbcast.metrics import PANELS
from perturbcast.schema import CONTROL, PerturbationData, Prediction, Split
from perturbcast.stages.layout import PARTS, load_fold, open_data, split_files
from perturbcast.stages.progress import track
from perturbcast.stores import predictions

VERSIONS = ("perturbcast", "numpy", "scipy", "pandas")


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
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap, and of ceilings and degenerate predictors.")] = 0,
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
    given = [prediction] if isinstance(prediction, Path) else list(prediction)
    of_split = {"--split": split, "--data": data, "--part": part or None, "--validation-panel": validation_panel}
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
        provenance = _provenance(words, panel=panel, bounds=bounds, seed=seed)
        write_directory(evaluation, out, provenance={**provenance, "part": "files"})
        typer.echo(scores_summary({given[0].stem: evaluation}))
        return
    assert split is not None
    parts = part or list(PARTS)
    unknown = sorted(set(parts) - set(PARTS))
    if unknown:
        raise UsageError(f"A part to score is one of {', '.join(PARTS)}; got {', '.join(unknown)}.")
    job = _Job(
        split=split,
        predictions=_models(given),
        out=out,
        panels={name: validation_panel or panel if name == "validation" else panel for name in parts},
        bounds=bounds,
        seed=seed,
    )
    _evaluate_split(job, data)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Job:
    """What is asked of a split: predictions by folder name, and the panel of each part."""

    split: Path
    predictions: dict[str, Path]
    out: Path
    panels: dict[str, str]
    bounds: bool
    seed: int

    @property
    def name(self) -> str:
        return self.split.parent.name if self.split.is_file() else self.split.name

    def provenance(self, part: str, prediction: Path) -> dict[str, Any]:
        """The command that scores this prediction alone, to the same numbers."""
        options = [("--split", self.split), ("--prediction", prediction), ("--out", self.out), ("--part", part)]
        return _provenance(options, panel=self.panels[part], bounds=self.bounds, seed=self.seed)


def _models(given: list[Path]) -> dict[str, Path]:
    """Folder of predictions by its name, folders of several models opened."""
    found: dict[str, Path] = {}
    for path in given:
        inside = sorted(folder for folder in path.glob("*") if folder.is_dir())
        several = bool(inside) and not any(folder.name.startswith("fold_") for folder in inside)
        for folder in inside if several else [path]:
            if folder.name in found:
                raise UsageError(
                    f"Predictions of one pass have folder names of their own, which their scores are kept under; "
                    f"{found[folder.name]} and {folder} share {folder.name!r}. Rename one, or score them apart."
                )
            found[folder.name] = folder
    return found


def _evaluate_split(job: _Job, data: Path | None) -> None:
    """Score every model on every fold of every part, then write; nothing is written unless all could be scored."""
    files = split_files(job.split)
    cells = open_data(job.split, data)
    compared: dict[tuple[str, str], list[Compared]] = {}
    folds: dict[tuple[str, str], list[dict[str, Any]]] = {}
    seeds: dict[str, int | None] = {}
    kinds: dict[str, str] = {}
    strata: dict[str, str] = {}
    weights: dict[int, float] = {}
    what = f"evaluate {job.name} with {', '.join(job.predictions)}"
    for file in track(files, what):
        fold = load_fold(file, cells)
        profile = train_profile(cells, cells=fold.parts["train"], conditions=fold.conditions["train"])
        strata |= fold.strata
        if job.bounds:
            weights[fold.fold] = interpolation_weight(
                cells,
                cells=fold.parts["validation"],
                conditions=fold.conditions["validation"],
                train_mean=profile,
                seed=job.seed,
            )
        for part, panel in job.panels.items():
            answers = {}
            for model, folder in job.predictions.items():
                path = folder / file.stem / f"{part}.npz"
                answers[model] = predictions.read(path)
                _check(answers[model], fold, part=part, path=path)
                kinds[model], seeds[model] = answers[model].kind or folder.name, answers[model].seed
                folds.setdefault((part, model), []).append(_fold_record(fold, answers[model], part=part))
            of_models = evaluate_predictions(
                cells,
                answers,
                cells=fold.parts[part],
                train_mean=profile,
                panel_name=panel,
                bounds=job.bounds,
                weight=weights.get(fold.fold),
                seed=job.seed,
            )
            for model, one in of_models.items():
                compared.setdefault((part, model), []).append(one)
    written: dict[str, dict[str, Evaluation]] = {part: {} for part in job.panels}
    for (part, model), of_folds in compared.items():
        record = job.provenance(part, job.predictions[model]) | {
            "part": part,
            "split": job.name,
            "model": kinds[model],
            "model_seed": seeds[model],
            **_dataset_record(cells, fold),
            "folds": folds[part, model],
            "strata": strata,
            "interpolation_weights": [weights[key] for key in sorted(weights)],
        }
        evaluation = summarise([one.scored for one in of_folds], seed=job.seed)
        curves = curves_of([one.comparison for one in of_folds], strata=strata, axes=fold.ood_axes)
        write_directory(evaluation, job.out / part / job.name / model, provenance=record, curves=curves)
        written[part][model] = evaluation
    for part, evaluations in written.items():
        typer.echo(scores_summary(evaluations, title=f"{job.name}, {part}"))


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


def _provenance(options: list[tuple[str, Any]], *, panel: str, bounds: bool, seed: int) -> dict[str, Any]:
    words = [word for option, value in options for word in (option, str(value))]
    words += ["--panel", panel, "--bounds" if bounds else "--no-bounds", "--seed", str(seed)]
    return {
        "command": shlex.join(["perturbcast", "evaluate", *words]),
        "panel": panel,
        "bounds": bounds,
        "seed": seed,
        "bootstrap_resamples": RESAMPLES,
        "versions": {package: version(package) for package in VERSIONS},
    }
