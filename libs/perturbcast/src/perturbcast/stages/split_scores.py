"""The part of stage ``evaluate`` that scores the models of a split, all folds and parts, in one pass.

Imported when a split is scored: a pair of files needs neither splits and datasets nor what reads them.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import typer

from perturbcast.errors import UsageError
from perturbcast.evaluation.curves_file import curves_of
from perturbcast.evaluation.directory import write_directory
from perturbcast.evaluation.held_out import Compared, evaluate_predictions, interpolation_weight, train_profile
from perturbcast.evaluation.printed import scores_summary
from perturbcast.evaluation.summary import Evaluation, summarise
from perturbcast.schema import PerturbationData, Prediction, Split
from perturbcast.stages.evaluation_record import provenance_of
from perturbcast.stages.layout import load_fold, open_data, split_files
from perturbcast.stages.progress import track
from perturbcast.stores import predictions

__all__ = ["Job", "evaluate_split", "models_in"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
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
        return provenance_of(options, panel=self.panels[part], bounds=self.bounds, seed=self.seed)


def models_in(given: list[Path]) -> dict[str, Path]:
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


def evaluate_split(job: Job, data: Path | None) -> None:
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
        "matched_by_batch": "batch" in cells.obs,
        "rule": fold.rule,
        "ood_axes": list(fold.ood_axes),
        "split_seed": fold.seed,
    }
