"""What a request comes to on the model that was asked, or why it does not fit that model.

Requests have refused by themselves what is wrong whatever the model. Axes: condition, gene, cell.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from perturbcast import schema
from perturbcast.errors import UnanswerableError
from perturbcast.stores.gene_order import columns_by_name
from perturbcast_client.messages import ControlCells, ModelInfo, PredictRequest, Target, largest_expression
from prediction_service.limits import Limits
from prediction_service.served_model import ServedModel

__all__ = ["InvalidRequestError", "Plan", "make_plan"]

BYTES_PER_TOP_GENE = 32  # a name of usual length, a double, and their protobuf tags


class InvalidRequestError(ValueError):
    """The request does not fit the model; the message begins with the field."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """A request that the model can be asked.

    Attributes:
        request: as received.
        served: the model that answers, whatever is served by the time it does.
        info: its description.
        conditions: in the model's terms, in the order asked.
        level: the model's own interval level that was asked for, 0 for none.
        columns: the model's genes among those of the request's controls.
        control_means: context -> mean over its control cells [gene], of contexts that brought some.
        reply_bytes: what the reply comes to.
    """

    request: PredictRequest
    served: ServedModel
    info: ModelInfo
    conditions: tuple[schema.Condition, ...]
    level: float
    columns: NDArray[np.intp] | slice
    control_means: Mapping[str, NDArray[np.float64]]
    reply_bytes: int


def make_plan(request: PredictRequest, served: ServedModel, info: ModelInfo, *, limits: Limits) -> Plan:
    """Check a request against its model.

    Raises:
        InvalidRequestError: genes, controls, interval level, number of top genes or a label do not fit the model.
        UnanswerableError: a context without controls, a dose that the model has no input for.
        LimitError: too many conditions or cells, or too large a reply.
    """
    reply_bytes = _check_size(request, info, limits)
    columns = _columns(request, info)
    return Plan(
        request=request,
        served=served,
        info=info,
        conditions=_conditions(request, served, info),
        level=_interval_level(request.wanted.interval_level, info),
        columns=columns,
        control_means={
            cells.context: _mean(cells, field=f"controls[{i}].expression", columns=columns, info=info)
            for i, cells in enumerate(request.controls)
        },
        reply_bytes=reply_bytes,
    )


def _check_size(request: PredictRequest, info: ModelInfo, limits: Limits) -> int:
    wanted = request.wanted
    limits.check_conditions(len(request.conditions))
    limits.check_cells(sum(cells.shape[0] for cells in request.controls))
    if wanted.top_genes > info.gene_count:
        raise InvalidRequestError(
            f"wanted.top_genes: at most the model's {info.gene_count} genes; got {wanted.top_genes}. Ask for fewer."
        )
    tensors = 1 + wanted.variance + 2 * (wanted.interval_level > 0) + wanted.expression
    row = (tensors * 8 + wanted.cells * 4) * info.gene_count + wanted.top_genes * BYTES_PER_TOP_GENE
    size = len(request.conditions) * row
    limits.check_reply(size)
    return size


def _interval_level(asked: float, info: ModelInfo) -> float:
    if not asked:
        return 0.0
    for level in info.interval_levels:
        if math.isclose(level, asked, rel_tol=0, abs_tol=1e-9):
            return level
    offered = ", ".join(f"{level:g}" for level in info.interval_levels) or "none"
    raise InvalidRequestError(
        f"wanted.interval_level: a level that the model is calibrated for; got {asked:g}, offered: {offered}. "
        "Ask for one of these, or for variance."
    )


def _conditions(request: PredictRequest, served: ServedModel, info: ModelInfo) -> tuple[schema.Condition, ...]:
    given = {cells.context for cells in request.controls}
    conditions = []
    for i, asked in enumerate(request.conditions):
        field = f"conditions[{i}]"
        for target in asked.targets:
            if target.dose or target.kind or schema.DOSE in target.name:
                _check_given(target, served, field=f"{field}.targets")
        if asked.covariates:
            raise UnanswerableError(
                f"{field}.covariates: model {info.name!r} has no input for covariates; this condition came with "
                f"{', '.join(f'{name}={value}' for name, value in asked.covariates)}. Leave them out."
            )
        if asked.context not in given and asked.context not in info.contexts:
            stored = ", ".join(info.contexts) or "none"
            raise UnanswerableError(
                f"{field}.context: a prediction starts from control cells of its context; {asked.context!r} has none "
                f"in the request and none stored with model {info.name!r} (stored: {stored}). "
                "Send controls for it."
            )
        if request.wanted.cells and asked.context not in given and asked.context not in info.stored_cells:
            raise UnanswerableError(
                f"wanted.cells: sampled cells are control cells, moved; {asked.context!r} has none in the request, and "
                f"of it model {info.name!r} stores the mean only. Send controls for it."
            )
        try:
            conditions.append(schema.Condition(asked.perturbation, asked.context))
        except ValueError as error:
            raise InvalidRequestError(f"{field}.targets: {error}") from error
    return tuple(conditions)


def _check_given(target: Target, served: ServedModel, *, field: str) -> None:
    """Refuse what the model would leave aside in silence: a kind, and a dose where its training states none."""
    in_label = schema.dosed(target.name)[1]
    if target.dose and in_label is not None:
        raise InvalidRequestError(
            f"{field}: a target has one dose; {target.name!r} came with dose {target.dose:g} too. Give it once."
        )
    dose = target.dose or in_label
    if target.kind or (dose is not None and not served.knows_doses):
        what = f"kind {target.kind!r}" if target.kind else f"dose {dose:g}"
        raise UnanswerableError(
            f"{field}: model {served.name!r} has no input for {'kind' if target.kind else 'dose'} and answers as in "
            f"training; {target.name!r} came with {what}. Leave it empty."
        )


def _columns(request: PredictRequest, info: ModelInfo) -> NDArray[np.intp] | slice:
    if not request.genes:
        if request.genes_sha256 and request.genes_sha256 != info.genes_sha256:
            raise InvalidRequestError(
                f"genes_sha256: without genes it is that of the model's genes in its order, {info.genes_sha256}; got "
                f"{request.genes_sha256!r}. Send the gene list, or bring the columns into the model's order."
            )
        return slice(None)
    try:
        return columns_by_name(info.genes, request.genes)
    except ValueError as error:
        raise InvalidRequestError(f"genes: {error} GetModel with include_genes lists the model's.") from error


def _mean(
    cells: ControlCells, *, field: str, columns: NDArray[np.intp] | slice, info: ModelInfo
) -> NDArray[np.float64]:
    if isinstance(columns, slice) and cells.shape[1] != info.gene_count:  # before an array of that many columns is made
        raise InvalidRequestError(
            f"{field}: one column per gene of the model, {info.gene_count}; got {cells.shape[1]}. "
            "Send the columns that genes_sha256 stands for."
        )
    largest = largest_expression(info.scale)
    if cells.largest > largest:
        raise InvalidRequestError(
            f"{field}: {info.scale} is at most {largest:.4g}; the largest value of {cells.context!r} is "
            f"{cells.largest:g}. Normalise the cells as the model's training data."
        )
    return cells.mean()[columns]
