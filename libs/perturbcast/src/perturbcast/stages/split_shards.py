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
from perturbcast.evaluation.shard_file import read_parts, write_part
from perturbcast.evaluation.shard_means import Group, means_of
from perturbcast.evaluation.shards import Part, joined, shard_rows
from perturbcast.metrics import Truth, panel
from perturbcast.schema import Condition, PerturbationData, Prediction, Split, canonical_hash
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

__all__ = ["score_one_shard", "score_shards", "scores_of_shards"]

Computed = tuple[Mapping[str, np.ndarray], Mapping[str, Sequence[str]]]  # arrays and notes
Key = tuple[str, str, str]  # fold, part, what
Found = Mapping[Key, Sequence[Part]]
TRAIN_MEAN = "train_mean"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Piece:
    """A piece of work: shard ``number`` of ``of``, and what computes its arrays and notes."""

    number: int
    of: int
    compute: Callable[[], Computed]

    def part(self) -> Part:
        """Do it."""
        arrays, notes = self.compute()
        return Part(number=self.number, of=self.of, arrays=arrays, notes=notes)


Pieces = Mapping[Key, Sequence[Piece]]


def score_shards(job: Job, data: Path | None, *, shards: int, executor: str = "serial") -> list[FoldScores]:
    """``split_scores.score_folds`` with the conditions of each fold divided: to the same numbers.

    Args:
        job: what is asked.
        data: the dataset, where the pipeline does not keep it.
        shards: of each part of each fold; no more than it has conditions.
        executor: who works on the shards (see ``executors``).
    """
    plan = _Plan.of(job, data, shards=shards)
    known = plan.known(_work(plan.means(), executor=executor, what=f"means of {job.name}"))
    return plan.scores(known, _work(plan.cells(known), executor=executor, what=f"cells of {job.name}"))


def score_one_shard(job: Job, data: Path | None, *, shards: int, number: int, step: str) -> None:
    """One step of one shard of every fold and part, written below ``out/shards``: a task of an array job.

    Args:
        job, data, shards: as of ``score_shards``.
        number: of the shard, from 1.
        step: ``means``, or ``cells`` when the first step of all shards is there.
    """
    plan = _Plan.of(job, data, shards=shards, check=False)
    pieces = plan.means()
    if step == "cells":
        pieces = plan.cells(plan.known(plan.read(pieces)))
    for key, group in pieces.items():
        for piece in group:
            if piece.number == number:
                write_part(piece.part(), plan.folder(key), whole=plan.whole)


def scores_of_shards(job: Job, data: Path | None, *, shards: int) -> list[FoldScores]:
    """What both steps of every shard wrote, put together.

    Raises:
        ValueError: a shard is missing, or is of something else.
    """
    plan = _Plan.of(job, data, shards=shards)
    known = plan.known(plan.read(plan.means()))
    return plan.scores(known, plan.read(plan.cells(known)))


def _work(pieces: Pieces, *, executor: str, what: str) -> Found:
    """Every piece, worked on by whoever is free."""
    flat = [piece for group in pieces.values() for piece in group]
    results = iter(list(spread(Piece.part, flat, executor=executor, what=what, unit="pieces")) if flat else [])
    return {key: [next(results) for _ in group] for key, group in pieces.items()}


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Plan:
    """The pieces of a job, and where partial results lie.

    Attributes:
        whole: hash over what all numbers depend on.
    """

    job: Job
    file: Path
    shards: int
    cells_on_disk: CellFile
    folds: tuple[_Fold, ...]
    whole: str

    @classmethod
    def of(cls, job: Job, data: Path | None, *, shards: int, check: bool = True) -> _Plan:
        """Read labels and answers; with ``check`` the content of the dataset is held against its hash.

        Tasks of an array leave that to the one that puts their results together.
        """
        file = data_file(job.split, data)
        cells = _on_disk(file)
        if check:
            cells.check()
        for name in job.panels.values():
            check_unit(cells.meta, name)
        folds = tuple(_Fold.of(path, cells, job) for path in split_files(job.split))
        facts = {
            "dataset": cells.hash,
            "folds": [fold.fold.hash for fold in folds],
            "models": [
                [part, model, answer.model]
                for fold in folds
                for part, answers in fold.answers.items()
                for model, answer in answers.items()
            ],
            "panels": job.panels,
            "bounds": job.bounds,
            "seed": job.seed,
            "shards": shards,
        }
        return cls(job=job, file=file, shards=shards, cells_on_disk=cells, folds=folds, whole=canonical_hash(facts))

    def folder(self, key: Key) -> Path:
        """Where partial results of one step of one part of one fold lie."""
        return self.job.out.joinpath("shards", self.job.name, *key)

    def read(self, pieces: Pieces) -> Found:
        """What is there of ``pieces``; whoever puts them together says which are missing."""
        return {
            key: read_parts(self.folder(key), of=group[0].of, whole=self.whole)
            for key, group in pieces.items()
            if group
        }

    def means(self) -> Pieces:
        """The first step."""
        return {k: v for fold in self.folds for k, v in fold.means_pieces(self.file, shards=self.shards).items()}

    def known(self, means: Found) -> list[_Known]:
        """The folds with what the first step found."""
        return [fold.between(means, shards=self.shards) for fold in self.folds]

    def cells(self, known: Sequence[_Known]) -> Pieces:
        """The second step."""
        return {k: v for one in known for k, v in one.cells_pieces(self.file, shards=self.shards).items()}

    def scores(self, known: Sequence[_Known], cells: Found) -> list[FoldScores]:
        """Everything put together."""
        opened = self.cells_on_disk
        shape = len(opened.obs), len(opened.genes)
        nothing = sp.csr_matrix(shape, dtype=np.float32)  # type: ignore[arg-type]  # its stubs lack shapes
        # a record reads no more than labels
        labels = PerturbationData(x=nothing, genes=opened.genes, obs=opened.obs, meta=opened.meta)
        return [one.scores(cells, labels, shards=self.shards) for one in known]


def _on_disk(file: Path) -> CellFile:
    """Opened once by each process; whoever gives out the work has compared its content with its hash."""
    return _opened(file.resolve(), file.stat().st_mtime_ns)


@functools.lru_cache(maxsize=1)
def _opened(file: Path, _changed: int) -> CellFile:
    return CellFile.open(file, check=False)


def _means(file: Path, groups: tuple[Group, ...], *, replicates: bool, seed: int) -> Computed:
    return means_of(_on_disk(file), groups, replicates=replicates, seed=seed), {}


def _train_mean(file: Path, cells: tuple[str, ...], conditions: tuple[Condition, ...]) -> Computed:
    return {TRAIN_MEAN: train_profile(_on_disk(file), cells=cells, conditions=conditions)[None]}, {}


def _cells(file: Path, asked: Asked, *, panel_name: str, divisible: bool) -> Computed:
    return cell_scores(_on_disk(file), asked, panel=of_cells(panel(panel_name), divisible=divisible))


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
        profile = functools.partial(_train_mean, file, *train)
        pieces: dict[Key, list[Piece]] = {(self.stem, "train", TRAIN_MEAN): [Piece(number=1, of=1, compute=profile)]}
        for part in self._parts():
            groups = self.groups(part, _on_disk(file))
            rows = shard_rows(len(groups), shards=shards)
            of_part = functools.partial(_means, file, replicates=self.job.bounds, seed=self.job.seed)
            pieces[self.stem, part, "means"] = [
                Piece(
                    number=number, of=len(rows), compute=functools.partial(of_part, tuple(groups[k] for k in of_shard))
                )
                for number, of_shard in enumerate(rows, start=1)
            ]
        return pieces

    def _parts(self) -> list[str]:
        """Those that are scored, and the one that the weight of a ceiling is chosen on."""
        return list(dict.fromkeys((*self.job.panels, *(("validation",) if self.job.bounds else ()))))

    def between(self, found: Found, *, shards: int) -> _Known:
        """With what the first step found."""
        profile = joined(found[self.stem, "train", TRAIN_MEAN], of=1, what=f"the train mean of {self.stem}")
        train_mean = profile[TRAIN_MEAN][0]
        means = {
            part: joined(
                found[self.stem, part, "means"],
                of=min(shards, len(self.fold.conditions[part])),
                what=f"the {part} part of {self.stem} (step means)",
            )
            for part in self._parts()
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
                    Piece(
                        number=number,
                        of=len(rows),
                        compute=functools.partial(of_part, asked.of(of_shard), divisible=True),
                    )
                    for number, of_shard in enumerate(rows, start=1)
                ]
            if of_cells(panel(name), divisible=False):
                whole = functools.partial(of_part, asked, divisible=False)
                pieces[self.fold.stem, part, "all_cells"] = [Piece(number=1, of=1, compute=whole)]
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

    def scores(self, found: Found, labels: PerturbationData, *, shards: int) -> FoldScores:
        """Everything that the fold adds to the evaluations of its split."""
        job, fold = self.fold.job, self.fold.fold
        models: dict[tuple[str, str], ModelScores] = {}
        for part, answers in self.fold.answers.items():
            means, truth = self.parts[part]
            cells: dict[str, np.ndarray] = {}
            notes: dict[str, Sequence[str]] = {}
            for (stem, of_part, step), parts in found.items():
                if (stem, of_part) == (self.fold.stem, part):
                    of = 1 if step == "all_cells" else min(shards, len(truth.conditions))
                    cells |= joined(parts, of=of, what=f"the {part} part of {stem} (step cells)")
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
