"""numpy and messages <-> protobuf, strict in both directions; the only importer of generated code.

``parse`` turns bytes into a protobuf message, ``decode_*`` a message into what a user sees, ``encode_*`` the reverse.
Decoding allocates nothing for tensors: the arrays are read-only views of the bytes received.
A refusal is a ``ValueError`` that begins with the path of the field, ``controls[0].expression: ...``.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import struct
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
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
    "read_prediction",
]

ALIGNMENT = 8  # bytes, of the longest numbers
SHORT = 128  # characters of a condition that is kept for when it comes again
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
_TENSORS = {
    pb.PredictResponse.DESCRIPTOR.fields_by_name[name].number: name
    for name in ("delta", "variance", "lower", "upper", "expression", "cells")
}
_SOURCES = {"stored": pb.CONTROL_SOURCE_STORED, "request": pb.CONTROL_SOURCE_REQUEST}
_SOURCE_NAMES: dict[int, str] = {number: name for name, number in _SOURCES.items()}


class _within:  # a context manager, written out: it is entered for each part of a message
    """Puts the path of a field before a refusal."""

    __slots__ = ("_field",)

    def __init__(self, field: str) -> None:
        self._field = field

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, ValueError):
            raise ValueError(f"{self._field}.{error}") from error


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


def _tensor_field(number: int, array: NDArray[Any], *, at: int) -> list[bytes | memoryview]:
    """A tensor as field ``number`` at byte ``at`` of a message: the parts to be joined, its data not copied."""
    dtype = _WIRE_DTYPES[array.dtype.newbyteorder("=")]
    data = np.ascontiguousarray(array, dtype=_DTYPES[dtype]).reshape(-1).view(np.uint8).data
    return [_tensor_head(number, dtype, array.shape, len(data), at % ALIGNMENT), data]


@functools.lru_cache(maxsize=1024)  # a server has one number of genes, and few sizes of requests
def _tensor_head(number: int, dtype: int, shape: tuple[int, ...], size: int, at: int) -> bytes:
    """What stands before the ``size`` bytes of a tensor's data.

    The data begin at a multiple of 8, so that whoever reads the message can use them where they lie: the varint of
    dtype is as many bytes longer than it need be.
    """
    axes = pb.Tensor(shape=shape).SerializeToString()
    data_head = _varint(pb.Tensor.DATA_FIELD_NUMBER << 3 | 2) + _varint(size)
    for longer in range(ALIGNMENT):
        inner = _varint(pb.Tensor.DTYPE_FIELD_NUMBER << 3) + _varint(dtype, longer=longer) + axes + data_head
        head = _varint(number << 3 | 2) + _varint(len(inner) + size) + inner
        if (at + len(head)) % ALIGNMENT == 0:
            break
    return head


def _varint(value: int, *, longer: int = 0) -> bytes:
    """A number as protobuf writes it, in ``longer`` bytes more than it takes."""
    groups = [value >> shift & 0x7F for shift in range(0, max(value.bit_length(), 1), 7)] + [0] * longer
    return bytes([*(group | 0x80 for group in groups[:-1]), groups[-1]])


def _tag(message: type[Message], field: str, *, kind: int = 2) -> bytes:
    """What stands before a field of a message: its number, and how its length is told (2: by the bytes that follow)."""
    return _varint(message.DESCRIPTOR.fields_by_name[field].number << 3 | kind)


def _sized(data: bytes) -> bytes:
    """Bytes behind their length."""
    return (_SIZES[len(data)] if len(data) < len(_SIZES) else _varint(len(data))) + data


_FIXED = {1: 8, 5: 4}  # bytes of the kinds of fields that have one length
_SIZES = tuple(map(_varint, range(256)))
_ROW = _tag(pb.PredictResponse, "conditions")
_ROW_CONDITION = _tag(pb.ConditionPrediction, "condition")
_ROW_SCORE = _tag(pb.ConditionPrediction, "ood_score", kind=1)
_CONDITION_TARGET = _tag(pb.Condition, "targets")
_CONDITION_CONTEXT = _tag(pb.Condition, "context")
_TARGET_NAME = _tag(pb.Target, "name")


def _split(message: bytes | memoryview, numbers: Iterable[int]) -> tuple[bytes, dict[int, memoryview]]:
    """What a serialised message holds beside some of its length-delimited fields, and where those lie in it.

    Raises:
        ValueError: it is cut, it holds groups, or one of the fields comes twice; protobuf knows what to make of that.
    """
    view, wanted = memoryview(message), frozenset(numbers)
    rest: list[memoryview] = []
    found: dict[int, memoryview] = {}
    at = kept = 0
    while at < len(view):
        begin = at
        key, at = _read_varint(view, at)
        stop = at + _FIXED.get(key & 7, len(view))
        if key & 7 == 2:
            length, at = _read_varint(view, at)
            stop = at + length
        elif key & 7 == 0:
            _, stop = _read_varint(view, at)
        if stop > len(view) or key >> 3 in found:
            raise ValueError(f"The fields of a message end within it, and once; field {key >> 3} does not.")
        if key & 7 == 2 and key >> 3 in wanted:
            found[key >> 3] = view[at:stop]
            rest.append(view[kept:begin])
            kept = stop
        at = stop
    return b"".join([*rest, view[kept:]]), found


def _read_varint(view: memoryview, at: int) -> tuple[int, int]:
    """A number and where it ends."""
    if at < len(view) and view[at] < 0x80:  # as most are
        return view[at], at + 1
    value = shift = 0
    while at < len(view) and shift < 64:
        byte = view[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
    raise ValueError("A varint has at most 10 bytes, the last below 128; one does not end.")


def decode_tensor(
    tensor: pb.Tensor,
    *,
    dtypes: Iterable[int] = tuple(_DTYPES),
    ndim: int | None = None,
    data: bytes | memoryview | None = None,
) -> NDArray[Any]:
    """A read-only array over the tensor's bytes (a copy on a big-endian machine, or where they are not aligned).

    Args:
        tensor: as received.
        data: its bytes, where they do not lie in it.
        dtypes: wire numbers of the dtypes that are allowed here.
        ndim: number of axes that is required here.

    Raises:
        ValueError: the dtype is unspecified, unknown or not allowed here, the shape is negative or has another number
            of axes, the byte length is not that of the shape, or a BOOL is neither 0 nor 1.
    """
    if tensor.dtype not in (allowed := tuple(dtypes)):
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
    data = tensor.data if data is None else data  # protobuf copies it each time that it is read
    if len(data) != needed:
        raise ValueError(
            f"data: shape {list(shape)} of {dtype.name} is {needed} bytes; got {len(data)}. "
            "Send the whole array, row-major, without padding."
        )
    if tensor.dtype == pb.Tensor.BOOL and (np.frombuffer(data, dtype=np.uint8) > 1).any():
        raise ValueError("data: a BOOL is one byte, 0 or 1; got another value. Convert the array to booleans.")
    array = np.frombuffer(data, dtype=dtype).reshape(shape)
    usable = array.dtype.isnative and array.flags.aligned
    native: NDArray[Any] = array if usable else np.require(array, dtype.newbyteorder("="), "A")
    native.flags.writeable = False
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
    message = pb.Condition(targets=targets, context=condition.context)
    if condition.covariates:
        message.covariates.update(condition.covariates)
    return message


def _decode_condition(message: pb.Condition) -> Condition:
    """Conditions come by the thousand, and again and again: a usual one that is known is not built and checked anew."""
    context, asked = message.context, message.targets
    if len(asked) == 1 and not message.covariates:
        one = asked[0]
        name, kind = one.name, one.kind
        if len(name) + len(kind) + len(context) <= SHORT:
            return _known_condition(((name, one.dose, kind),), context)
    return _condition(((t.name, t.dose, t.kind) for t in asked), context, tuple(message.covariates.items()))


def _condition(
    asked: Iterable[tuple[str, float, str]], context: str, covariates: tuple[tuple[str, str], ...] = ()
) -> Condition:
    targets: list[Target] = []
    try:  # not _within: it is entered for each condition
        for target in asked:
            targets.append(Target(*target))  # noqa: PERF401  # counted below
    except ValueError as error:
        raise ValueError(f"targets[{len(targets)}].{error}") from error
    return Condition(targets=tuple(targets), context=context, covariates=covariates)


_known_condition = functools.lru_cache(maxsize=4096)(_condition)


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
    conditions: list[Condition] = []
    controls = []
    try:
        for condition in message.conditions:
            conditions.append(_decode_condition(condition))  # noqa: PERF401  # counted below
    except ValueError as error:
        raise ValueError(f"conditions[{len(conditions)}].{error}") from error
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


def encode_prediction(prediction: Prediction, *, timings_ms: Mapping[str, float] | None = None) -> bytes:
    """The reply as bytes; absent arrays stay absent.

    Tensors are most of it. They are written behind the rest, which is protobuf too, so that they are copied once.

    Args:
        prediction: what is told.
        timings_ms: those of the prediction where they are known only now.
    """
    top_genes = prediction.top_genes or ((),) * len(prediction.conditions)
    scores = [None] * len(prediction.conditions) if prediction.ood_score is None else prediction.ood_score.tolist()
    rows = map(_row, prediction.conditions, prediction.seen, prediction.notes, top_genes, prediction.controls, scores)
    head = _head(prediction, prediction.timings_ms if timings_ms is None else timings_ms)
    parts: list[bytes | memoryview] = [head.SerializeToString(), *rows]
    at = sum(map(len, parts))
    for number, name in _TENSORS.items():
        array = getattr(prediction, name)
        if array is not None:
            field = _tensor_field(number, array, at=at)
            parts += field
            at += sum(map(len, field))
    return b"".join(parts)


def _head(prediction: Prediction, timings_ms: Mapping[str, float]) -> pb.PredictResponse:
    return pb.PredictResponse(
        model_name=prediction.model,
        model_version=prediction.version,
        fingerprint=prediction.fingerprint,
        genes_sha256=prediction.genes_sha256,
        interval_level=prediction.interval_level,
        request_id=prediction.request_id,
        timings_ms=timings_ms,
    )


def _row(
    condition: Condition,
    seen: SeenInTraining,
    notes: Sequence[str],
    top_genes: Sequence[tuple[str, float]],
    source: str,
    score: float | None,
) -> bytes:
    """One of ``conditions`` of a reply, written out: there are thousands, and protobuf takes three times as long."""
    row = _ROW_CONDITION + _sized(_condition_bytes(condition)) + _row_facts(seen, source)
    if score is not None:
        row += _ROW_SCORE + struct.pack("<d", score)
    if notes or top_genes:
        top = [pb.TopGene(gene=gene, delta=delta) for gene, delta in top_genes]
        row += pb.ConditionPrediction(notes=notes, top_genes=top).SerializeToString()
    return _ROW + _sized(row)


def _condition_bytes(condition: Condition) -> bytes:
    target = condition.targets[0]
    if len(condition.targets) > 1 or condition.covariates or target.dose or target.kind:
        return _encode_condition(condition).SerializeToString()
    name = _TARGET_NAME + _sized(target.name.encode())
    return _CONDITION_TARGET + _sized(name) + _CONDITION_CONTEXT + _sized(condition.context.encode())


@functools.lru_cache(maxsize=16)  # there are no others
def _row_facts(seen: SeenInTraining, source: str) -> bytes:
    message = pb.SeenInTraining(perturbation=seen.perturbation, context=seen.context, pair=seen.pair)
    return pb.ConditionPrediction(seen_in_training=message, controls=_SOURCES[source]).SerializeToString()


def read_prediction(reply: bytes) -> Prediction:
    """The reply as arrays that lie in it: protobuf would copy a tensor as it parses it, and again as it is read.

    Raises:
        ValueError: the bytes are no reply, or one that breaks the contract; begins with the field.
    """
    try:
        rest, fields = _split(reply, _TENSORS)
        tensors = {_TENSORS[number]: _split(field, (pb.Tensor.DATA_FIELD_NUMBER,)) for number, field in fields.items()}
    except ValueError:  # written in a way that only protobuf reads, if anything does
        return decode_prediction(parse(pb.PredictResponse, reply))
    message = parse(pb.PredictResponse, rest)
    return decode_prediction(
        message,
        tensors={
            name: (parse(pb.Tensor, head), data.get(pb.Tensor.DATA_FIELD_NUMBER, b""))
            for name, (head, data) in tensors.items()
        },
    )


def decode_prediction(
    message: pb.PredictResponse, *, tensors: Mapping[str, tuple[pb.Tensor, bytes | memoryview]] | None = None
) -> Prediction:
    """The reply as read-only arrays.

    Args:
        message: the reply.
        tensors: by field, those that were taken out of it, and their data.

    Raises:
        ValueError: the reply breaks the contract; begins with the field.
    """

    def tensor(name: str, *, dtype: int = pb.Tensor.FLOAT64, ndim: int = 2) -> NDArray[Any] | None:
        taken = (tensors or {}).get(name) or ((getattr(message, name), None) if message.HasField(name) else None)
        if taken is None:
            return None
        with _within(name):
            return decode_tensor(taken[0], dtypes=(dtype,), ndim=ndim, data=taken[1])

    delta = tensor("delta")
    if delta is None:
        raise ValueError("delta: every reply holds the mean delta; this one does not.")
    rows = list(message.conditions)
    conditions: list[Condition] = []
    sources: list[str] = []
    try:
        for row in rows:
            conditions.append(_decode_condition(row.condition))
            if row.controls not in _SOURCE_NAMES:
                raise ValueError(f"controls: one of {', '.join(_SOURCES)}; got {row.controls}.")
            sources.append(_SOURCE_NAMES[row.controls])
    except ValueError as error:
        raise ValueError(f"conditions[{len(sources)}].{error}") from error
    seen = [row.seen_in_training for row in rows]
    top_genes = tuple(tuple((top.gene, top.delta) for top in row.top_genes) if row.top_genes else () for row in rows)
    return Prediction(
        model=message.model_name,
        version=message.model_version,
        fingerprint=message.fingerprint,
        genes_sha256=message.genes_sha256,
        conditions=tuple(conditions),
        delta=delta,
        seen=tuple(SeenInTraining.of(s.perturbation, s.context, s.pair) for s in seen),
        notes=tuple(tuple(row.notes) if row.notes else () for row in rows),
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
