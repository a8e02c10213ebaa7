"""numpy and messages <-> protobuf, strict in both directions; the only importer of generated code.

``parse`` turns bytes into a protobuf message, ``decode_*`` a message into what a user sees, ``encode_*`` the reverse.
Decoding allocates nothing for tensors: the arrays are read-only views of the bytes received.
A refusal is a ``ValueError`` that begins with the path of the field, ``controls[0].expression: ...``.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError, Message
from numpy.typing import NDArray

from perturbcast_client.messages import (
    Condition,
    ControlCells,
    CsrMatrix,
    ModelInfo,
    ModelRef,
    Prediction,
    PredictRequest,
    SeenInTraining,
    Target,
    Wanted,
)
from perturbcast_client.wire.v1 import prediction_pb2 as pb

__all__ = [
    "GET_MODEL",
    "LIST_MODELS",
    "MAX_MESSAGE_BYTES",
    "PREDICT",
    "PREDICT_STREAM",
    "SERVICE",
    "Method",
    "decode_get_model",
    "decode_model",
    "decode_models",
    "decode_prediction",
    "decode_request",
    "decode_tensor",
    "encode_get_model",
    "encode_list_models",
    "encode_model",
    "encode_models",
    "encode_prediction",
    "encode_request",
    "encode_tensor",
    "parse",
]

MAX_MESSAGE_BYTES = 64 * 2**20  # default of both sides; gRPC's own is 4 MiB
SERVICE = pb.DESCRIPTOR.services_by_name["PredictionService"].full_name


@dataclasses.dataclass(frozen=True)
class Method:
    """A method of the service and the messages that it takes and gives."""

    name: str
    request: type[Message]
    response: type[Message]

    @property
    def path(self) -> str:
        """The full name on the wire, ``/perturbcast.prediction.v1.PredictionService/Predict``."""
        return f"/{SERVICE}/{self.name}"


LIST_MODELS = Method("ListModels", pb.ListModelsRequest, pb.ListModelsResponse)
GET_MODEL = Method("GetModel", pb.GetModelRequest, pb.GetModelResponse)
PREDICT = Method("Predict", pb.PredictRequest, pb.PredictResponse)
PREDICT_STREAM = Method("PredictStream", pb.PredictRequest, pb.PredictResponse)

_DTYPES: dict[pb.Tensor.DType, np.dtype[Any]] = {
    pb.Tensor.FLOAT32: np.dtype("<f4"),
    pb.Tensor.FLOAT64: np.dtype("<f8"),
    pb.Tensor.INT32: np.dtype("<i4"),
    pb.Tensor.INT64: np.dtype("<i8"),
    pb.Tensor.BOOL: np.dtype("?"),
}
_WIRE_DTYPES = {dtype.newbyteorder("="): number for number, dtype in _DTYPES.items()}
_EXPRESSION = (pb.Tensor.FLOAT32, pb.Tensor.FLOAT64)
_INTEGERS = (pb.Tensor.INT32, pb.Tensor.INT64)
_SOURCES = {"stored": pb.CONTROL_SOURCE_STORED, "request": pb.CONTROL_SOURCE_REQUEST}
_SOURCE_NAMES: dict[int, str] = {number: name for name, number in _SOURCES.items()}


@contextlib.contextmanager
def _within(field: str) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{field}.{error}") from error


# Tensors


def encode_tensor(array: NDArray[Any]) -> pb.Tensor:
    """The array as little-endian row-major bytes.

    Raises:
        ValueError: its dtype does not travel.
    """
    number = _WIRE_DTYPES.get(array.dtype.newbyteorder("="))
    if number is None:
        travels = ", ".join(dtype.name for dtype in _DTYPES.values())
        raise ValueError(f"dtype: tensors are {travels}; got {array.dtype}. Convert the array first.")
    # one copy at most: tobytes() writes row-major whatever the layout of the array is
    return pb.Tensor(dtype=number, shape=array.shape, data=array.astype(_DTYPES[number], copy=False).tobytes())


def decode_tensor(
    tensor: pb.Tensor, *, dtypes: Iterable[int] = tuple(_DTYPES), ndim: int | None = None
) -> NDArray[Any]:
    """A read-only array over the tensor's bytes (a copy on a big-endian machine).

    Args:
        tensor: as received.
        dtypes: wire numbers of the dtypes that are allowed here.
        ndim: number of axes that is required here.

    Raises:
        ValueError: the dtype is unspecified, unknown or not allowed here, the shape is negative or has another number
            of axes, the byte length is not that of the shape, or a BOOL is neither 0 nor 1.
    """
    allowed = tuple(dtypes)
    if tensor.dtype not in allowed:
        known = {number: name for name, number in pb.Tensor.DType.items()}
        raise ValueError(
            f"dtype: one of {', '.join(known[number] for number in allowed)}; got "
            f"{known.get(tensor.dtype, tensor.dtype)}. Set the dtype of the bytes sent."
        )
    shape = tuple(tensor.shape)
    if any(length < 0 for length in shape) or (ndim is not None and len(shape) != ndim):
        axes = "lengths that are not negative" if ndim is None else f"{ndim} axes of lengths that are not negative"
        raise ValueError(f"shape: {axes}; got {list(shape)}. Set the shape of the array sent.")
    dtype = _DTYPES[tensor.dtype]
    needed = math.prod(shape) * dtype.itemsize
    if len(tensor.data) != needed:
        raise ValueError(
            f"data: shape {list(shape)} of {dtype.name} is {needed} bytes; got {len(tensor.data)}. "
            "Send the whole array, row-major, without padding."
        )
    if tensor.dtype == pb.Tensor.BOOL and (np.frombuffer(tensor.data, dtype=np.uint8) > 1).any():
        raise ValueError("data: a BOOL is one byte, 0 or 1; got another value. Convert the array to booleans.")
    array = np.frombuffer(tensor.data, dtype=dtype).reshape(shape)
    native: NDArray[Any] = array.astype(dtype.newbyteorder("="), copy=False)
    return native


def parse(kind: type[Message], data: bytes) -> Any:
    """The protobuf message in ``data``.

    Raises:
        ValueError: the bytes are no such message (a broken field, a string that is not UTF-8).
    """
    try:
        return kind.FromString(data)
    except DecodeError as error:
        raise ValueError(
            f"{kind.DESCRIPTOR.name}: the bytes are a protobuf message; these {len(data)} are not ({error}). "
            "Build it with the published .proto."
        ) from error


# Requests


def _encode_ref(ref: ModelRef) -> pb.ModelRef:
    message = pb.ModelRef(name=ref.name)
    if ref.version:
        message.version = ref.version
    if ref.alias:
        message.alias = ref.alias
    return message


def _decode_ref(message: pb.ModelRef) -> ModelRef:
    with _within("model"):
        return ModelRef(name=message.name, version=message.version, alias=message.alias)


def _encode_condition(condition: Condition) -> pb.Condition:
    targets = [pb.Target(name=t.name, dose=t.dose, kind=t.kind) for t in condition.targets]
    return pb.Condition(targets=targets, context=condition.context, covariates=dict(condition.covariates))


def _decode_condition(message: pb.Condition) -> Condition:
    targets = []
    for i, target in enumerate(message.targets):
        with _within(f"targets[{i}]"):
            targets.append(Target(name=target.name, dose=target.dose, kind=target.kind))
    return Condition(targets=tuple(targets), context=message.context, covariates=tuple(message.covariates.items()))


def encode_request(request: PredictRequest) -> pb.PredictRequest:
    """The message of ``Predict`` and ``PredictStream``."""
    return pb.PredictRequest(
        model=_encode_ref(request.model),
        conditions=[_encode_condition(condition) for condition in request.conditions],
        controls=[_encode_cells(cells) for cells in request.controls],
        genes=request.genes,
        genes_sha256=request.genes_sha256,
        wanted=pb.Wanted(**vars(request.wanted)),
        request_id=request.request_id,
        seed=request.seed,
    )


def _encode_cells(cells: ControlCells) -> pb.ControlCells:
    x = cells.expression
    if not isinstance(x, CsrMatrix):
        return pb.ControlCells(context=cells.context, expression=encode_tensor(x))
    parts = {name: encode_tensor(getattr(x, name)) for name in ("indptr", "indices", "data")}
    return pb.ControlCells(context=cells.context, csr=pb.CsrMatrix(rows=x.shape[0], columns=x.shape[1], **parts))


def _decode_cells(message: pb.ControlCells) -> ControlCells:
    if message.HasField("csr") and message.HasField("expression"):
        raise ValueError("csr: cells come as expression or as csr; this entry has both. Send one of them.")
    if not message.HasField("csr"):
        with _within("expression"):
            dense = decode_tensor(message.expression, dtypes=_EXPRESSION, ndim=2)
        return ControlCells(context=message.context, expression=dense)
    parts = {}
    with _within("csr"):
        for name, dtypes in (("indptr", _INTEGERS), ("indices", _INTEGERS), ("data", _EXPRESSION)):
            with _within(name):
                parts[name] = decode_tensor(getattr(message.csr, name), dtypes=dtypes, ndim=1)
        matrix = CsrMatrix(shape=(message.csr.rows, message.csr.columns), **parts)
    return ControlCells(context=message.context, expression=matrix)


def decode_request(message: pb.PredictRequest) -> PredictRequest:
    """The request with every check that needs no model.

    Raises:
        ValueError: begins with the field.
    """
    conditions, controls = [], []
    for i, condition in enumerate(message.conditions):
        with _within(f"conditions[{i}]"):
            conditions.append(_decode_condition(condition))
    for i, cells in enumerate(message.controls):
        with _within(f"controls[{i}]"):
            controls.append(_decode_cells(cells))
    with _within("wanted"):
        wanted = Wanted(
            variance=message.wanted.variance,
            interval_level=message.wanted.interval_level,
            expression=message.wanted.expression,
            top_genes=message.wanted.top_genes,
            cells=message.wanted.cells,
        )
    return PredictRequest(
        model=_decode_ref(message.model),
        conditions=tuple(conditions),
        controls=tuple(controls),
        genes=tuple(message.genes),
        genes_sha256=message.genes_sha256,
        wanted=wanted,
        request_id=message.request_id,
        seed=message.seed,
    )


# Predictions


def encode_prediction(prediction: Prediction) -> pb.PredictResponse:
    """The reply; absent arrays stay absent."""
    names = ("delta", "variance", "lower", "upper", "expression", "cells")
    arrays = {name: getattr(prediction, name) for name in names}
    top_genes = prediction.top_genes or ((),) * len(prediction.conditions)
    scores = [None] * len(prediction.conditions) if prediction.ood_score is None else prediction.ood_score.tolist()
    rows = zip(prediction.conditions, prediction.seen, prediction.notes, top_genes, prediction.controls, scores)
    return pb.PredictResponse(
        model_name=prediction.model,
        model_version=prediction.version,
        fingerprint=prediction.fingerprint,
        genes_sha256=prediction.genes_sha256,
        conditions=[
            pb.ConditionPrediction(
                condition=_encode_condition(condition),
                seen_in_training=pb.SeenInTraining(
                    perturbation=seen.perturbation, context=seen.context, pair=seen.pair
                ),
                notes=notes,
                top_genes=[pb.TopGene(gene=gene, delta=delta) for gene, delta in top],
                controls=_SOURCES[source],
                ood_score=score,
            )
            for condition, seen, notes, top, source, score in rows
        ],
        interval_level=prediction.interval_level,
        request_id=prediction.request_id,
        timings_ms=prediction.timings_ms,
        **{name: encode_tensor(array) for name, array in arrays.items() if array is not None},
    )


def decode_prediction(message: pb.PredictResponse) -> Prediction:
    """The reply as read-only arrays.

    Raises:
        ValueError: the reply breaks the contract; begins with the field.
    """

    def tensor(name: str, *, dtype: int = pb.Tensor.FLOAT64, ndim: int = 2) -> NDArray[Any] | None:
        if not message.HasField(name):
            return None
        with _within(name):
            return decode_tensor(getattr(message, name), dtypes=(dtype,), ndim=ndim)

    delta = tensor("delta")
    if delta is None:
        raise ValueError("delta: every reply holds the mean delta; this one does not.")
    conditions, sources = [], []
    for i, row in enumerate(message.conditions):
        with _within(f"conditions[{i}]"):
            conditions.append(_decode_condition(row.condition))
            if row.controls not in _SOURCE_NAMES:
                raise ValueError(f"controls: one of {', '.join(_SOURCES)}; got {row.controls}.")
            sources.append(_SOURCE_NAMES[row.controls])
    seen = [row.seen_in_training for row in message.conditions]
    top_genes = tuple(tuple((top.gene, top.delta) for top in row.top_genes) for row in message.conditions)
    return Prediction(
        model=message.model_name,
        version=message.model_version,
        fingerprint=message.fingerprint,
        genes_sha256=message.genes_sha256,
        conditions=tuple(conditions),
        delta=delta,
        seen=tuple(SeenInTraining(perturbation=s.perturbation, context=s.context, pair=s.pair) for s in seen),
        notes=tuple(tuple(row.notes) for row in message.conditions),
        controls=tuple(sources),
        variance=tensor("variance"),
        interval_level=message.interval_level,
        lower=tensor("lower"),
        upper=tensor("upper"),
        expression=tensor("expression"),
        top_genes=top_genes if any(top_genes) else (),
        ood_score=_scores(message),
        cells=tensor("cells", dtype=pb.Tensor.FLOAT32, ndim=3),
        request_id=message.request_id,
        timings_ms=dict(message.timings_ms),
    )


def _scores(message: pb.PredictResponse) -> NDArray[np.float64] | None:
    given = {row.HasField("ood_score") for row in message.conditions}
    if given == {True, False}:
        raise ValueError("conditions: every one has an ood_score, or none has; some have.")
    return np.array([row.ood_score for row in message.conditions]) if given == {True} else None


# Models


def encode_list_models() -> pb.ListModelsRequest:
    """The message of ``ListModels``."""
    return pb.ListModelsRequest()


def encode_get_model(ref: ModelRef, *, include_genes: bool) -> pb.GetModelRequest:
    """The message of ``GetModel``."""
    return pb.GetModelRequest(model=_encode_ref(ref), include_genes=include_genes)


def decode_get_model(message: pb.GetModelRequest) -> tuple[ModelRef, bool]:
    """Which model, and whether its genes are wanted.

    Raises:
        ValueError: the name is empty.
    """
    return _decode_ref(message.model), message.include_genes


def encode_models(models: Iterable[ModelInfo]) -> pb.ListModelsResponse:
    """The reply of ``ListModels``, without genes, contexts, perturbations and stored cells."""
    left_out: dict[str, Any] = {"genes": (), "contexts": (), "perturbations": (), "stored_cells": {}}
    short = (dataclasses.replace(model, **left_out) for model in models)
    return pb.ListModelsResponse(models=[_encode_model(model) for model in short])


def decode_models(message: pb.ListModelsResponse) -> tuple[ModelInfo, ...]:
    """The models of a server, in its order."""
    return tuple(_decode_model(model) for model in message.models)


def encode_model(model: ModelInfo, *, include_genes: bool) -> pb.GetModelResponse:
    """The reply of ``GetModel``."""
    shown = model if include_genes else dataclasses.replace(model, genes=())
    return pb.GetModelResponse(model=_encode_model(shown))


def decode_model(message: pb.GetModelResponse) -> ModelInfo:
    """One model in full."""
    return _decode_model(message.model)


def _encode_model(model: ModelInfo) -> pb.ModelInfo:
    return pb.ModelInfo(**vars(model))  # the fields of both have the same names


def _decode_model(message: pb.ModelInfo) -> ModelInfo:
    return ModelInfo(
        name=message.name,
        version=message.version,
        aliases=tuple(message.aliases),
        kind=message.kind,
        dataset=message.dataset,
        dataset_hash=message.dataset_hash,
        split=message.split,
        fingerprint=message.fingerprint,
        scale=message.scale,
        gene_count=message.gene_count,
        genes_sha256=message.genes_sha256,
        genes=tuple(message.genes),
        contexts=tuple(message.contexts),
        perturbations=tuple(message.perturbations),
        inputs=tuple(message.inputs),
        validation_metrics=dict(message.validation_metrics),
        interval_levels=tuple(message.interval_levels),
        stored_cells=dict(message.stored_cells),
    )
