"""Turns requests into predictions; knows models, names and limits, and nothing of gRPC.

A request becomes a plan, a plan becomes slices of conditions, slices of several requests are answered together by one
call of their model, and the rows of a plan's slices become its prediction. Axes: condition, gene, cell.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from perturbcast import schema
from perturbcast.calibration import calibrated_variance, generator_of, sample_cells
from perturbcast_client.messages import (
    ControlCells,
    CsrMatrix,
    ModelInfo,
    ModelRef,
    Prediction,
    PredictRequest,
    SeenInTraining,
)
from prediction_service.limits import Limits
from prediction_service.model_table import ModelTable, UnknownModelError
from prediction_service.plan import InvalidRequestError, Plan, make_plan
from prediction_service.served_model import ServedModel

__all__ = ["Engine", "InvalidRequestError", "Rows", "Slice", "UnknownModelError"]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Slice:
    """Conditions ``start`` to ``stop`` of a plan: what is answered as a whole."""

    plan: Plan
    start: int
    stop: int

    @property
    def conditions(self) -> tuple[schema.Condition, ...]:
        return self.plan.conditions[self.start : self.stop]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Rows:
    """The rows of one slice in what the model answered for the batch.

    Attributes:
        predicted: of the whole batch; it is not copied for each slice.
        start, stop: rows of the slice.
        model_s: how long the model took for the batch, seconds.
    """

    predicted: schema.Prediction
    start: int
    stop: int
    model_s: float


class Engine:
    """Answers for a set of models; safe to call from several threads.

    Args:
        models: in the order of preference; the default of a name is its ``champion``, else its first.
        limits: what one request may ask for.

    Raises:
        ValueError: no model, or two models answer to one name and version or alias.
    """

    def __init__(self, models: Sequence[ServedModel], *, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self._table = ModelTable(models)

    def serve(self, models: Sequence[ServedModel]) -> None:
        """Answer for these from now on; requests that have their plan are answered by the model they were given.

        Raises:
            ValueError: as when built; then the models stay as they were.
        """
        self._table = ModelTable(models)

    @property
    def served(self) -> tuple[ServedModel, ...]:
        """What is served now."""
        return self._table.models

    def models(self) -> tuple[ModelInfo, ...]:
        """Every model in full, in the order given."""
        return self._table.infos

    def describe(self, ref: ModelRef) -> ModelInfo:
        """One model in full.

        Raises:
            UnknownModelError: it is not served.
        """
        return self._table.find(ref)[1]

    def plan(self, request: PredictRequest) -> Plan:
        """Check a request against its model.

        Raises:
            UnknownModelError: the model is not served.
            InvalidRequestError, UnanswerableError, LimitError: as ``make_plan``.
        """
        served, info = self._table.find(request.model)
        return make_plan(request, served, info, limits=self.limits)

    def slices(self, plan: Plan, *, size: int) -> list[Slice]:
        """The plan in pieces of at most ``size`` conditions."""
        starts = range(0, len(plan.conditions), size)
        return [Slice(plan=plan, start=i, stop=min(i + size, len(plan.conditions))) for i in starts]

    def answer(self, slices: Sequence[Slice]) -> list[Rows | Exception]:
        """Rows for each slice of one model, or what was wrong with it: a bad slice fails alone."""
        answers: dict[int, Rows | Exception] = {}
        for group in _groups(slices):
            answers.update(zip(map(id, group), _answer_group(group), strict=True))
        return [answers[id(piece)] for piece in slices]

    def finish(self, plan: Plan, parts: Sequence[Rows]) -> Prediction:
        """The reply of a plan from the rows of all its slices, in order. Timings are left empty."""
        wanted, served = plan.request.wanted, plan.served
        delta = _joined(parts, "delta")
        half = (
            np.concatenate([part.predicted.intervals[plan.level][part.start : part.stop] for part in parts])
            if plan.level
            else None
        )
        return Prediction(
            model=served.name,
            version=served.version,
            fingerprint=served.model.fingerprint,
            genes_sha256=plan.info.genes_sha256,
            conditions=plan.request.conditions,
            delta=delta,
            seen=tuple(SeenInTraining.of(*row) for row in _joined(parts, "seen").tolist()),
            notes=tuple(notes for part in parts for notes in part.predicted.notes[part.start : part.stop]),
            controls=tuple("request" if c.context in plan.control_means else "stored" for c in plan.conditions),
            variance=_joined(parts, "variance") if wanted.variance else None,
            interval_level=plan.level,
            lower=None if half is None else delta - half,
            upper=None if half is None else delta + half,
            expression=_joined(parts, "mean") if wanted.expression else None,
            top_genes=_top_genes(delta, plan.info.genes, wanted.top_genes),
            ood_score=_ood_score(parts),
            cells=_cells(plan, parts) if wanted.cells else None,
            request_id=plan.request.request_id,
        )

    def predict(self, request: PredictRequest) -> Prediction:
        """Answer one request by itself, or refuse it whole.

        Raises:
            Exception: as ``plan``, or what the model raised.
        """
        plan = self.plan(request)
        (rows,) = self.answer(self.slices(plan, size=len(plan.conditions)))
        if isinstance(rows, Exception):
            raise rows
        return self.finish(plan, [rows])


def _groups(slices: Sequence[Slice]) -> list[list[Slice]]:
    """Slices that one call of their model can answer: no context has two different controls in it."""
    groups: list[tuple[dict[str, int], list[Slice]]] = []
    for piece in slices:
        plan = piece.plan
        sources = {c.context: id(plan) if c.context in plan.control_means else 0 for c in piece.conditions}
        for known, members in groups:
            if all(known.get(context, source) == source for context, source in sources.items()):
                known.update(sources)
                members.append(piece)
                break
        else:
            groups.append((sources, [piece]))
    return [members for _, members in groups]


def _answer_group(group: Sequence[Slice]) -> list[Rows | Exception]:
    conditions = [condition for piece in group for condition in piece.conditions]
    contexts = {condition.context for condition in conditions}
    means = {
        context: mean for piece in group for context, mean in piece.plan.control_means.items() if context in contexts
    }
    levels = _levels(group)
    started = time.perf_counter()
    try:
        predicted = group[0].plan.served.model.predict(conditions, control_means=means, levels=levels)
    except ConnectionError as error:  # the backend is away for all of them
        return [error] * len(group)
    except Exception as error:  # noqa: BLE001  # it belongs to one of the slices, and to no other
        return [error] if len(group) == 1 else [answer for piece in group for answer in _answer_group([piece])]
    model_s = time.perf_counter() - started
    ends = np.cumsum([len(piece.conditions) for piece in group]).tolist()
    return [
        Rows(predicted=predicted, start=stop - len(piece.conditions), stop=stop, model_s=model_s)
        for piece, stop in zip(group, ends, strict=True)
    ]


def _levels(group: Sequence[Slice]) -> set[float] | None:
    """Interval levels that somebody asked for; None for all, which the spread of sampled cells chooses from."""
    if any(piece.plan.request.wanted.cells for piece in group):
        return None
    return {piece.plan.level for piece in group if piece.plan.level}


def _joined(parts: Sequence[Rows], name: str) -> NDArray[np.float64]:
    """An array of the answer for the plan's rows; of one part it is a view."""
    arrays = [getattr(part.predicted, name)[part.start : part.stop] for part in parts]
    joined: NDArray[np.float64] = arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
    return joined


def _ood_score(parts: Sequence[Rows]) -> NDArray[np.float64] | None:
    """Distances from what training held; None where the model gives none."""
    return None if any(part.predicted.ood_score is None for part in parts) else _joined(parts, "ood_score")


def _cells(plan: Plan, parts: Sequence[Rows]) -> NDArray[np.float32]:
    controls: dict[str, Any] = dict(plan.served.model.control_cells)
    controls |= {cells.context: _matrix(cells)[:, plan.columns] for cells in plan.request.controls}
    rows = [(part.predicted, row) for part in parts for row in range(part.start, part.stop)]
    count = plan.request.wanted.cells
    sampled = np.empty((len(rows), count, plan.info.gene_count), dtype=np.float32)
    for i, (condition, (predicted, row)) in enumerate(zip(plan.conditions, rows, strict=True)):
        widths = {level: half[row] for level, half in predicted.intervals.items()}
        sampled[i] = sample_cells(
            controls[condition.context],
            delta=predicted.delta[row],
            variance=calibrated_variance(predicted.variance[row], widths),
            count=count,
            generator=generator_of(condition, seed=plan.request.seed),
        )
    return sampled


def _matrix(cells: ControlCells) -> Any:
    """Control cells [cell, gene] as an array, or as scipy's CSR matrix where they came so."""
    x = cells.expression
    return sp.csr_matrix((x.data, x.indices, x.indptr), shape=x.shape) if isinstance(x, CsrMatrix) else x


def _top_genes(
    delta: NDArray[np.float64], genes: Sequence[str], count: int
) -> tuple[tuple[tuple[str, float], ...], ...]:
    if not count:
        return ()
    order = np.argsort(-np.abs(delta), axis=1, kind="stable")[:, :count]  # stable: ties in the model's gene order
    return tuple(tuple((genes[j], float(row[j])) for j in best) for row, best in zip(delta, order, strict=True))
