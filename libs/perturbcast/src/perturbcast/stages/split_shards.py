"""The part of stage ``evaluate`` that scores a split in shards of conditions, cells read from disk as they are needed.

Two steps, each spread over the workers: the means of all conditions (and the train mean of each fold), then the metrics
that look at cells; what needs all conditions is computed in between and at the end, in this process.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from perturbcast.evaluation.ceilings import best_weight
from perturbcast.evaluation.degenerate import Crowd, crowd_of
from perturbcast.evaluation.held_out import check_unit, train_profile
from perturbcast.evaluation.merged_shards import halves_from, merged, truth_from
from perturbcast.evaluation.shard_cells import Asked, cell_scores, of_cells
from perturbcast.evaluation.shard_means import Group, means_of
from perturbcast.evaluation.shards import Part, joined, shard_rows
from perturbcast.metrics import Truth, panel
from perturbcast.schema import Condition, PerturbationData, Prediction, Split
from perturbcast.stages.executors import spread
from perturbcast.stages.layout import data_file, load_fold, split_files
from perturbcast.stages.split_scores import (
    FoldScores,
    Job,
    ModelScores,
    check_answers,
    dataset_record,
    fold_record,
)
from perturbcast.stores import CellFile, predictions

__all__ = ["score_shards"]

Piece = Callable[[], Part]
Key = tuple[str, str, str]  # fold, part, what
TRAIN_MEAN = "train_mean"


def score_shards(job: Job, data: Path | None, *, shards: int, executor: str = "serial") -> list[FoldScores]:
    """``split_scores.score_folds`` with the conditions of each fold divided: to the same numbers.

    Args:
        job: what is asked.
        data: the dataset, where the pipeline does not keep it.
        shards: of each part of each fold; no more than it has conditions.
        executor: who works on the shards (see ``executors``).
    """
    file = data_file(job.split, data)
    cells = CellFile.open(file)
    for name in job.panels.values():
        check_unit(cells.meta, name)
    folds = [_Fold.of(path, cells, job) for path in split_files(job.split)]
    work = functools.partial(_work, executor=executor)
    first = {key: pieces for fold in folds for key, pieces in fold.means_pieces(file, shards=shards).items()}
    found = work(first, what=f"means of {job.name} in {shards} shards")
    known = [fold.between(found) for fold in folds]
    second = {key: pieces for one in known for key, pieces in one.cells_pieces(file, shards=shards).items()}
    scored = work(second, what=f"cells of {job.name} in {shards} shards")
    nothing = sp.csr_matrix((len(cells.obs), len(cells.genes)), dtype=np.float32)  # type: ignore[arg-type]  # its stubs lack shapes
    labels = PerturbationData(x=nothing, genes=cells.genes, obs=cells.obs, meta=cells.meta)  # a record reads no more
    return [one.scores(scored, labels) for one in known]


def _work(pieces: Mapping[Key, list[Piece]], *, executor: str, what: str) -> dict[Key, list[Part]]:
    """Every piece, worked on by whoever is free."""
    flat = [piece for group in pieces.values() for piece in group]
    results = iter(list(spread(_do, flat, executor=executor, what=what)) if flat else [])
    return {key: [next(results) for _ in group] for key, group in pieces.items()}


def _do(piece: Piece) -> Part:
    return piece()


def _on_disk(file: Path) -> CellFile:
    """Opened once by each worker; who gives out the work has compared its content with its hash."""
    return _opened(file.resolve(), file.stat().st_mtime_ns)


@functools.lru_cache(maxsize=1)
def _opened(file: Path, _changed: int) -> CellFile:
    return CellFile.open(file, check=False)


def _means(file: Path, groups: tuple[Group, ...], *, number: int, of: int, replicates: bool, seed: int) -> Part:
    arrays = means_of(_on_disk(file), groups, replicates=replicates, seed=seed)
    return Part(number=number, of=of, arrays=arrays)


def _train_mean(file: Path, cells: tuple[str, ...], conditions: tuple[Condition, ...]) -> Part:
    profile = train_profile(_on_disk(file), cells=cells, conditions=conditions)
    return Part(number=1, of=1, arrays={TRAIN_MEAN: profile[None]})


def _cells(file: Path, asked: Asked, *, panel_name: str, divisible: bool, number: int, of: int) -> Part:
    measures = of_cells(panel(panel_name), divisible=divisible)
    arrays, notes = cell_scores(_on_disk(file), asked, panel=measures)
    return Part(number=number, of=of, arrays=arrays, notes=notes)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Fold:
    """A fold, and what each model answers for each part."""

    stem: str
    fold: Split
    job: Job
    answers: Mapping[str, Mapping[str, Prediction]]
    genes: tuple[str, ...]

    @classmethod
    def of(cls, path: Path, cells: CellFile, job: Job) -> _Fold:
        fold = load_fold(path, cells)
        answers: dict[str, dict[str, Prediction]] = {part: {} for part in job.panels}
        for part, of_part in answers.items():
            for model, folder in job.predictions.items():
                file = folder / path.stem / f"{part}.npz"
                of_part[model] = predictions.read(file)
                check_answers(of_part[model], fold, part=part, path=file)
        return cls(stem=path.stem, fold=fold, job=job, answers=answers, genes=cells.genes)

    def groups(self, part: str, cells: CellFile) -> tuple[Group, ...]:
        """The conditions of a part in the order of the split, with their cells in its order."""
        table = cells.obs.loc[list(self.fold.parts[part]), ["perturbation", "context"]].astype(str)
        found: dict[tuple[str, str], list[str]] = {}
        for barcode, perturbation, context in table.itertuples(name=None):
            found.setdefault((perturbation, context), []).append(barcode)
        return tuple(
            Group(condition=c, cells=tuple(found.get((c.perturbation, c.context), ())))
            for c in self.fold.conditions[part]
        )

    def means_pieces(self, file: Path, *, shards: int) -> dict[Key, list[Piece]]:
        """The first step: the train mean in one piece, since it is one sum over cells, and shards of every part."""
        train = tuple(self.fold.parts["train"]), tuple(self.fold.conditions["train"])
        pieces: dict[Key, list[Piece]] = {
            (self.stem, "train", TRAIN_MEAN): [functools.partial(_train_mean, file, *train)]
        }
        validation = ("validation",) if self.job.bounds else ()  # the weight of a ceiling is chosen on it
        for part in dict.fromkeys((*self.job.panels, *validation)):
            groups = self.groups(part, _on_disk(file))
            rows = shard_rows(len(groups), shards=shards)
            of_part = functools.partial(_means, file, of=len(rows), replicates=self.job.bounds, seed=self.job.seed)
            pieces[self.stem, part, "means"] = [
                functools.partial(of_part, tuple(groups[k] for k in of_shard), number=number)
                for number, of_shard in enumerate(rows, start=1)
            ]
        return pieces

    def between(self, found: Mapping[Key, list[Part]]) -> _Known:
        """With what the first step found."""
        train_mean = joined(found[self.stem, "train", TRAIN_MEAN], what=f"the train mean of {self.stem}")[TRAIN_MEAN][0]
        means = {
            part: joined(parts, what=f"the {part} part of {self.stem}")
            for (stem, part, what), parts in found.items()
            if stem == self.stem and what == "means"
        }
        weight = None
        if self.job.bounds:
            of_part = means["validation"]
            truth = truth_from(
                of_part, conditions=self.fold.conditions["validation"], genes=self.genes, train_mean=train_mean
            )
            weight = best_weight(halves_from(of_part, truth), train_mean=train_mean)
        parts = {}
        for part, answers in self.answers.items():
            # scores are in the order of the first model's answers
            conditions = next(iter(answers.values())).conditions
            place = {condition: row for row, condition in enumerate(self.fold.conditions[part])}
            rows = np.array([place[condition] for condition in conditions])
            ordered = {name: array[rows] for name, array in means[part].items()}
            parts[part] = (
                ordered,
                truth_from(ordered, conditions=conditions, genes=self.genes, train_mean=train_mean),
            )
        return _Known(fold=self, parts=parts, train_mean=train_mean, weight=weight)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Known:
    """A fold whose means are known.

    Attributes:
        fold: the fold.
        parts: part -> means by name and the truth that they are, in the order of the answers.
        train_mean: [gene].
        weight: of the ceiling ``interpolated``.
    """

    fold: _Fold
    parts: Mapping[str, tuple[Mapping[str, np.ndarray], Truth]]
    train_mean: np.ndarray
    weight: float | None

    def cells_pieces(self, file: Path, *, shards: int) -> dict[Key, list[Piece]]:
        """The second step: shards for metrics of cells, and one piece for those that need all cells at once."""
        pieces: dict[Key, list[Piece]] = {}
        for part, name in self.fold.job.panels.items():
            if not any(measure.metric.needs == "cells" for measure in panel(name)):
                continue
            asked = self._asked(part, _on_disk(file))
            rows = shard_rows(len(asked.groups), shards=shards)
            of_part = functools.partial(_cells, file, panel_name=name)
            if of_cells(panel(name), divisible=True):
                pieces[self.fold.stem, part, "cells"] = [
                    functools.partial(of_part, asked.of(of_shard), divisible=True, number=number, of=len(rows))
                    for number, of_shard in enumerate(rows, start=1)
                ]
            if of_cells(panel(name), divisible=False):
                pieces[self.fold.stem, part, "all cells"] = [
                    functools.partial(of_part, asked, divisible=False, number=1, of=1)
                ]
        return pieces

    def _asked(self, part: str, cells: CellFile) -> Asked:
        _, truth = self.parts[part]
        known = {group.condition: group for group in self.fold.groups(part, cells)}
        groups = tuple(known[condition] for condition in truth.conditions)
        crowd: Crowd | None = None
        others = np.arange(len(groups))
        if self.fold.job.bounds:
            crowd = crowd_of(truth, keys=[str(condition) for condition in truth.conditions], seed=self.fold.job.seed)
            others = crowd.other
        return Asked(
            groups=groups,
            deltas={model: _delta(answer, truth) for model, answer in self.fold.answers[part].items()},
            train_mean=self.train_mean,
            crowd=crowd,
            handed=tuple(groups[k] for k in others),
            handed_mean=truth.mean[others],
            seed=self.fold.job.seed,
        )

    def scores(self, found: Mapping[Key, list[Part]], labels: PerturbationData) -> FoldScores:
        """Everything that the fold adds to the evaluations of its split."""
        job, fold = self.fold.job, self.fold.fold
        models: dict[tuple[str, str], ModelScores] = {}
        for part, answers in self.fold.answers.items():
            means, truth = self.parts[part]
            cells: dict[str, np.ndarray] = {}
            notes: dict[str, Sequence[str]] = {}
            for (stem, of_part, what), parts in found.items():
                if (stem, of_part) == (self.fold.stem, part):
                    cells |= joined(parts, what=f"the {what} of the {part} part of {stem}")
                    notes |= parts[0].notes
            scored = merged(
                means,
                truth,
                predictions=answers,
                cells=cells,
                notes=notes,
                panel=panel(job.panels[part]),
                bounds=job.bounds,
                weight=self.weight,
                seed=job.seed,
            )
            for model, one in scored.items():
                models[part, model] = ModelScores(
                    scored=one.scored,
                    comparison=one.comparison,
                    record=fold_record(fold, answers[model], part=part),
                    kind=answers[model].kind or job.predictions[model].name,
                    seed=answers[model].seed,
                )
        return FoldScores(
            models=models,
            weight=self.weight,
            strata=fold.strata,
            axes=fold.ood_axes,
            dataset=dataset_record(labels, fold),
        )


def _delta(answer: Prediction, truth: Truth) -> np.ndarray:
    """Predicted delta [condition, gene] in the order of the truth."""
    place = {condition: row for row, condition in enumerate(answer.conditions)}
    return answer.delta[np.array([place[condition] for condition in truth.conditions])]
