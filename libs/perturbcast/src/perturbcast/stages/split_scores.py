"""The part of stage ``evaluate`` that scores the models of a split, all folds and parts, in one pass.

Imported when a split is scored: a pair of files needs neither splits and datasets nor what reads them.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from perturbcast.errors import UsageError
from perturbcast.evaluation.curves_file import curves_of
from perturbcast.evaluation.directory import write_directory
from perturbcast.evaluation.held_out import evaluate_predictions, interpolation_weight, train_profile
from perturbcast.evaluation.printed import scores_summary
from perturbcast.evaluation.scoring import Scored
from perturbcast.evaluation.summary import Evaluation, summarise
from perturbcast.metrics import Comparison
from perturbcast.schema import PerturbationData, Prediction, Split
from perturbcast.stages.evaluation_record import provenance_of
from perturbcast.stages.executors import spread
from perturbcast.stages.layout import data_file, load_fold, opened, split_files
from perturbcast.stores import predictions

__all__ = [
    "FoldScores",
    "Job",
    "ModelScores",
    "check_answers",
    "dataset_record",
    "fold_record",
    "models_in",
    "score_folds",
    "write_scores",
]


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


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelScores:
    """One model on one part of one fold.

    Attributes:
        scored: its values.
        comparison: means, intervals and variances beside the truth; no cells, so that it can be sent.
        record: of the fold, for the provenance.
        kind: the model's name in params.yaml.
        seed: of its training.
    """

    scored: Scored
    comparison: Comparison
    record: Mapping[str, Any]
    kind: str
    seed: int | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class FoldScores:
    """Everything that one fold adds to the evaluations of a split.

    Attributes:
        models: (part, model) -> its scores.
        weight: of the ceiling ``interpolated``; None where bounds are not scored.
        strata: labels of its conditions.
        axes: what is new at test time.
        dataset: record for the provenance.
    """

    models: Mapping[tuple[str, str], ModelScores]
    weight: float | None
    strata: Mapping[str, str]
    axes: tuple[str, ...]
    dataset: Mapping[str, Any]


def score_folds(job: Job, data: Path | None, *, executor: str = "serial") -> list[FoldScores]:
    """Score every model on every fold of every part, a fold at a time.

    Args:
        job: what is asked.
        data: the dataset, where the pipeline does not keep it.
        executor: who scores the folds (see ``executors``).
    """
    what = f"evaluate {job.name} with {', '.join(job.predictions)}"
    score_fold = functools.partial(_score_fold, job=job, data=data_file(job.split, data))
    return list(spread(score_fold, split_files(job.split), executor=executor, what=what))


def write_scores(job: Job, folds: Sequence[FoldScores]) -> None:
    """Pool the folds and write; nothing is written unless all could be scored."""
    strata = {key: label for fold in folds for key, label in fold.strata.items()}
    written: dict[str, dict[str, Evaluation]] = {part: {} for part in job.panels}
    for part, model in folds[0].models:
        of_folds = [fold.models[part, model] for fold in folds]
        record = job.provenance(part, job.predictions[model]) | {
            "part": part,
            "split": job.name,
            "model": of_folds[-1].kind,
            "model_seed": of_folds[-1].seed,
            **folds[-1].dataset,
            "folds": [one.record for one in of_folds],
            "strata": strata,
            "interpolation_weights": [fold.weight for fold in folds if fold.weight is not None],
        }
        evaluation = summarise([one.scored for one in of_folds], seed=job.seed)
        curves = curves_of([one.comparison for one in of_folds], strata=strata, axes=folds[-1].axes)
        write_directory(evaluation, job.out / part / job.name / model, provenance=record, curves=curves)
        written[part][model] = evaluation
    for part, evaluations in written.items():
        typer.echo(scores_summary(evaluations, title=f"{job.name}, {part}"))


def _score_fold(file: Path, *, job: Job, data: Path) -> FoldScores:
    """Every model on every part of a fold."""
    cells = opened(data)
    fold = load_fold(file, cells)
    profile = train_profile(cells, cells=fold.parts["train"], conditions=fold.conditions["train"])
    weight = None
    if job.bounds:
        weight = interpolation_weight(
            cells,
            cells=fold.parts["validation"],
            conditions=fold.conditions["validation"],
            train_mean=profile,
            seed=job.seed,
        )
    found: dict[tuple[str, str], ModelScores] = {}
    for part, panel in job.panels.items():
        answers = {}
        for model, folder in job.predictions.items():
            path = folder / file.stem / f"{part}.npz"
            answers[model] = predictions.read(path)
            check_answers(answers[model], fold, part=part, path=path)
        of_models = evaluate_predictions(
            cells,
            answers,
            cells=fold.parts[part],
            train_mean=profile,
            panel_name=panel,
            bounds=job.bounds,
            weight=weight,
            seed=job.seed,
        )
        for model, one in of_models.items():
            truth = dataclasses.replace(one.comparison.truth, cells=None, control_cells=None)
            found[part, model] = ModelScores(
                scored=one.scored,
                comparison=dataclasses.replace(one.comparison, truth=truth, cells=None),
                record=fold_record(fold, answers[model], part=part),
                kind=answers[model].kind or job.predictions[model].name,
                seed=answers[model].seed,
            )
    dataset = dataset_record(cells, fold)
    return FoldScores(models=found, weight=weight, strata=fold.strata, axes=fold.ood_axes, dataset=dataset)


def check_answers(predicted: Prediction, fold: Split, *, part: str, path: Path) -> None:
    wanted, given = set(fold.conditions[part]), set(predicted.conditions)
    if wanted != given:
        odd = sorted(map(str, wanted ^ given))
        raise ValueError(
            f"A prediction answers the conditions of its part, all and no other; {path} and the {part} part of fold "
            f"{fold.fold} differ in {len(odd)}: {', '.join(odd[:5])}. Run 'perturbcast predict' on this split again."
        )


def fold_record(fold: Split, predicted: Prediction, *, part: str) -> dict[str, Any]:
    return {
        "fold": fold.fold,
        "held_out": fold.held_out,
        "split_sha256": fold.hash,
        "model_fingerprint": predicted.model,
        "conditions": {name: len(group) for name, group in fold.conditions.items()},
        "cells": len(fold.parts[part]),
        "warnings": list(fold.warnings),
    }


def dataset_record(cells: PerturbationData, fold: Split) -> dict[str, Any]:
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
